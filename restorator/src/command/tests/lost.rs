//! A lost session does not throw an audit away: the command goes on as a new member. A range that was locked begins again.

use stitch_common::output::{Exit, Report};
use stitch_common::range::RangeId;
use stitch_control::restoration_record::{RangeOutcome, RestorationState};

use super::{restored, run_beside};
use crate::testing::world::Fake;

/// Steps without a lock, as the trace names them.
const STEPS: [&str; 5] = [
    "list /members",
    "get /partitions/0/checkpoint",
    "ends asked",
    "scan",
    "list /ranges/0",
];

/// The session of a member is lost at this step.
fn lose_at(fake: &Fake, step: &'static str) {
    fake.before("multi", move |fake| {
        fake.before(step, Fake::lose_sessions);
    });
}

#[test]
fn an_audit_goes_on_after_its_session_is_lost() {
    for step in STEPS {
        let fake = Fake::with_plays(&["a", "b"]);
        fake.hold("a", 5);
        lose_at(&fake, step);
        let report = fake.plan(None).unwrap();
        assert_eq!((report.cells.judged, report.cells.wrong), (2, 1), "{step}");
        assert_eq!(report.exit(), Exit::DriftFound, "{step}");
        assert_eq!(fake.times("scan"), 32, "{step}: the table is read once");
        assert_eq!(fake.times("connect"), 2, "{step}");
    }
}

#[test]
fn an_audit_goes_on_while_it_converges() {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.before("scan", |fake| {
        fake.produce("a");
        fake.hold("a", 9);
        fake.before("get /partitions/0/checkpoint", |fake| {
            fake.lose_sessions();
            fake.progress(3);
        });
    });
    let report = fake.plan(None).unwrap();
    assert_eq!(
        (
            report.cells.judged,
            report.cells.wrong,
            report.cells.unjudged
        ),
        (2, 1, 0)
    );
    assert_eq!(fake.times("scan"), 32);
}

/// The member that was lost is a dead member: what it may have sent is waited out before cells are read.
#[test]
fn requests_are_waited_out_once_more_if_the_session_is_lost_before_the_scan() {
    let fake = Fake::with_plays(&["a"]);
    fake.dead_member();
    fake.before("probe", Fake::lose_sessions);
    fake.before("scan", |fake| {
        assert!(!fake.exists("00000000000003e8"), "waited out, and removed");
        assert!(fake.times("probe") > 10);
    });
    let report = fake.plan(None).unwrap();
    assert_eq!(report.exit(), Exit::Success);
}

#[test]
fn a_session_that_cannot_be_opened_at_once_is_waited_for() {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.hold("a", 5);
    fake.before("scan", |fake| {
        fake.lose_sessions();
        fake.open_no_session(30);
    });
    let report = fake.plan(None).unwrap();
    assert_eq!((report.cells.wrong, fake.times("scan")), (1, 32));
    assert!(fake.clock.seconds() > 200, "for as long as it takes");
    let fake = Fake::with_plays(&["a"]);
    fake.before("scan", |fake| {
        fake.lose_sessions();
        fake.open_no_session(u32::MAX);
    });
    let failure = fake.plan(None).unwrap_err();
    assert!(failure.message.contains("no server answers"), "{failure}");
    assert!(fake.clock.seconds() < 2 * 3600, "but not for ever");
}

/// Nothing was read yet, and the addresses may be wrong.
#[test]
fn a_server_that_is_away_at_the_start_is_waited_for_a_moment() {
    let fake = Fake::with_plays(&["a"]);
    fake.open_no_session(5);
    assert_eq!(fake.plan(None).unwrap().exit(), Exit::Success);
    let fake = Fake::with_plays(&["a"]);
    fake.open_no_session(u32::MAX);
    let failure = fake.plan(None).unwrap_err();
    assert!(failure.message.contains("no server answers"), "{failure}");
    assert!(fake.clock.seconds() < 20, "{}", fake.clock.seconds());
}

/// The table is looked at once more when everything was read.
#[test]
fn an_audit_is_not_given_up_because_cassandra_is_away_at_its_end() {
    for (times, is_done) in [(5, true), (u32::MAX, false)] {
        let fake = Fake::with_plays(&["a", "b"]);
        fake.before("scan", move |fake| fake.nodes.table_away.set(times));
        let report = fake.plan(None);
        assert_eq!(report.is_ok(), is_done, "{report:?}");
        assert_eq!(fake.times("scan"), 32, "the table is read once");
        assert!(fake.clock.seconds() < 200, "{}", fake.clock.seconds());
    }
}

/// A node that starts again is away for a minute: what was read for hours is not given up for that.
#[test]
fn an_audit_and_a_range_wait_for_nodes_that_are_away() {
    for (away, is_done) in [(40, true), (400, false)] {
        let fake = Fake::with_plays(&["a", "b"]);
        fake.hold("a", 5);
        fake.before("scan", move |fake| {
            fake.nodes.away_until.set(fake.clock.seconds() + away);
        });
        let report = fake.run(crate::options::Limits::default());
        match report {
            Ok(report) => assert_eq!((report.outcome(), is_done), ("verified", true)),
            Err(failure) => {
                assert!(
                    !is_done && failure.message.contains("replicas"),
                    "{failure}"
                );
                assert!(fake.clock.seconds() < 200, "{}", fake.clock.seconds());
            }
        }
    }
}

/// Supervisors kill a process that does not heed a stop within half a minute, and it would stay behind as a dead member.
#[test]
fn a_stop_is_heeded_while_the_restorator_joins() {
    let fake = Fake::with_plays(&["a"]);
    fake.nodes
        .connecting_takes
        .set(std::time::Duration::from_secs(600));
    let script = async || {
        while !fake.exists("/members/") {
            fake.changes.next().await;
        }
        fake.stop.cancel();
    };
    let failure = run_beside(&fake, script).unwrap_err();
    assert!(failure.message.contains("signal"), "{failure}");
    assert!(fake.clock.seconds() < 30, "{}", fake.clock.seconds());
    assert!(!fake.exists("/members/"), "and it has left");
}

#[test]
fn a_stop_ends_the_wait_for_a_session() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("scan", |fake| {
        fake.lose_sessions();
        fake.open_no_session(u32::MAX);
        fake.before("connect", |fake| fake.stop.cancel());
    });
    let failure = fake.plan(None).unwrap_err();
    assert!(failure.message.contains("signal"), "{failure}");
    assert!(fake.clock.seconds() < 60);
}

#[test]
fn an_audit_by_other_definitions_is_of_no_use() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("scan", |fake| {
        fake.lose_sessions();
        fake.redefine();
    });
    let failure = fake.plan(None).unwrap_err();
    assert!(
        failure.message.contains("definition was changed"),
        "{failure}"
    );
}

#[test]
fn a_run_whose_session_is_lost_in_the_audit_verifies_everything() {
    for step in STEPS {
        let fake = Fake::with(&["a", "b"], "bits = 1", |_| {});
        fake.hold("a", 5);
        lose_at(&fake, step);
        let report = restored(&fake);
        assert_eq!(
            (report.outcome(), report.cells.corrected),
            ("verified", 1),
            "{step}"
        );
        assert_eq!(
            std::fs::read_dir(fake.journal()).unwrap().count(),
            1,
            "{step}"
        );
        assert_eq!(fake.times("connect"), 2, "{step}");
        assert_eq!(fake.recorded().state, RestorationState::Verified);
        assert!(
            !fake.exists("__WRIT__") && !fake.exists("/restorations/_c_"),
            "{step}"
        );
    }
}

/// Also the range that was locked: its part begins again, after what was sent is waited out.
#[test]
fn a_range_whose_lock_is_lost_begins_again_and_the_next_is_restored() {
    let keys: Vec<String> = (0..40).map(|number| format!("{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let fake = Fake::with(&keys, "bits = 1", |config| {
        config.restorator.ranges_in_flight_max = 1;
    });
    keys.iter().for_each(|key| fake.hold(key, 5));
    fake.before("create /revocations/", Fake::lose_sessions);
    let report = restored(&fake);
    assert_eq!(report.outcome(), "verified");
    assert_eq!(
        fake.times("scan"),
        2 * 32,
        "all ranges, then the one that began again"
    );
    assert_eq!((report.cells.judged, report.cells.corrected), (40, 40));
    let record = fake.recorded();
    assert_eq!(record.state, RestorationState::Verified);
    for range in [RangeId(0), RangeId(1)] {
        let outcome = &record.ranges[&range];
        assert!(
            matches!(outcome, RangeOutcome::Verified { .. }),
            "{outcome:?}"
        );
    }
    assert!(keys.iter().all(|key| fake.held(key) == 1));
    assert!(!fake.exists("__WRIT__") && !fake.exists("/restorations/_c_"));
}

/// Barriers are awaited when ZooKeeper is in trouble.
#[test]
fn a_range_begins_again_if_its_session_is_lost_while_requests_are_waited_out() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.before("create /revocations/", |fake| {
        fake.dead_member();
        fake.before("probe", |fake| {
            // The barrier asks it in vain before anything else notices.
            fake.before("list /alive", Fake::lose_sessions);
        });
    });
    let report = restored(&fake);
    assert_eq!(report.outcome(), "verified", "{:?}", report.error());
    assert_eq!((fake.times("connect"), fake.held("a")), (2, 1));
    assert!(!fake.exists("00000000000003e8"), "waited out, and removed");
}

/// It would hold up the range's events for as long as the other ranges take.
#[test]
fn a_lock_that_cannot_be_released_ends_with_its_session_and_the_work_goes_on() {
    let keys: Vec<String> = (0..40).map(|number| format!("{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let fake = Fake::with(&keys, "bits = 1", |config| {
        config.restorator.ranges_in_flight_max = 1;
    });
    keys.iter().for_each(|key| fake.hold(key, 5));
    fake.before("delete /ranges/0/_c_", |fake| fake.refuse("/ranges/0/_c_"));
    fake.before("create /ranges/1/_c_", |fake| {
        assert!(!fake.exists("/ranges/0/_c_"), "range 0 is still locked");
    });
    let report = restored(&fake);
    assert_eq!(report.outcome(), "verified");
    assert_eq!((fake.times("scan"), fake.times("connect")), (32, 2));
    assert!(keys.iter().all(|key| fake.held(key) == 1));
}

/// Another restoration may have begun meanwhile: then this one ends.
#[test]
fn a_run_that_finds_another_one_after_its_session_was_lost_ends() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.before("scan", |fake| {
        fake.lose_sessions();
        fake.restoration_lock();
    });
    let failure = fake.run(crate::options::Limits::default()).unwrap_err();
    assert!(failure.message.contains("already runs"), "{failure}");
    assert_eq!(fake.times("increment"), 0);
}
