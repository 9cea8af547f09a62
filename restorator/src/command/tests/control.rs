//! Operators control a restoration while it runs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::cell::CounterName;
use stitch_common::clock::Clock;
use stitch_common::output::{Exit, Report};
use stitch_common::ports::ZooKeeper;
use stitch_common::user_error::UserError;
use stitch_control::control_node::{self, ControlError};
use stitch_control::control_record::{
    ControlCommand, ControlRecord, ControlRequest, CorrectionRate,
};
use stitch_control::restoration_record::RestorationState;
use stitch_protocol::NamespaceSession;
use stitch_protocol::path::Paths;

use super::{fails_with, restored, run_beside, run_options_beside};
use crate::options::{Limits, PlanSource};
use crate::report::run::RangeEnd;
use crate::testing::world::Fake;

/// Carries out a command as ann@desk.
async fn issue(fake: &Fake, command: ControlCommand) -> Result<ControlRecord, ControlError> {
    let session = fake.connect().await.unwrap();
    let session = NamespaceSession::new(session, fake.clock.clone(), Paths::new("n"));
    let request = ControlRequest {
        by: "ann@desk".to_owned(),
        at: fake.clock.wall(),
        reason: "load".to_owned(),
    };
    control_node::issue(&session, command, request, None).await
}

/// Waits until a node exists whose path contains `part`.
async fn until_exists(fake: &Fake, part: &str) {
    while !fake.exists(part) {
        fake.changes.next().await;
    }
}

fn later(fake: &Fake, seconds: u64) -> DateTime<Utc> {
    fake.clock.wall() + Duration::from_secs(seconds)
}

/// One range with a cell that is never at rest, so that it is corrected under the lock.
fn busy() -> Fake {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.hold("a", 5);
    fake.produce("a");
    fake
}

#[test]
fn a_pause_gives_a_locked_range_back_and_the_restoration_goes_on_when_resumed() {
    let fake = busy();
    // A holder that does not yield: the lock is waited for.
    let holder = fake.shared_lock();
    let script = async || {
        until_exists(&fake, "/revocations/0").await;
        issue(&fake, ControlCommand::Pause).await.unwrap();
        fake.clock.sleep(Duration::from_secs(1)).await;
        assert!(!fake.exists("__WRIT__"), "it is given back");
        let locks = fake.times("__WRIT__");
        fake.clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(fake.times("__WRIT__"), locks, "nothing is locked meanwhile");
        assert!(fake.exists("/restorations/lock-"), "it keeps its own lock");
        fake.remove(&holder);
        issue(&fake, ControlCommand::Resume).await.unwrap();
    };
    let report = run_beside(&fake, script).unwrap();
    assert_eq!(report.outcome(), "verified");
    assert_eq!((fake.held("a"), fake.held("b")), (1, 1));
    let record = fake.recorded();
    let commands = record.control.iter().map(|event| event.command.as_str());
    assert_eq!(commands.collect::<Vec<_>>(), ["pause", "resume"]);
    assert_eq!(record.control[0].request.as_ref().unwrap().reason, "load");
    let journal = std::fs::read_dir(fake.journal()).unwrap().next().unwrap();
    let journal = std::fs::read_to_string(journal.unwrap().path()).unwrap();
    assert!(
        journal.contains(r#""command":"pause","request":{"by":"ann@desk""#),
        "{journal}"
    );
}

#[test]
fn a_paused_restoration_is_recorded_as_paused_and_resume_without_one_is_refused() {
    let fake = busy();
    let script = async || {
        until_exists(&fake, "/restorations/2").await;
        issue(&fake, ControlCommand::Pause).await.unwrap();
        fake.clock.sleep(Duration::from_secs(60)).await;
        let session = fake.connect().await.unwrap();
        let session = NamespaceSession::new(session, fake.clock.clone(), Paths::new("n"));
        let records = stitch_control::restoration_record::records(&session).await;
        assert_eq!(records.unwrap()[0].state, RestorationState::Paused);
        issue(&fake, ControlCommand::Resume).await.unwrap();
    };
    assert_eq!(run_beside(&fake, script).unwrap().outcome(), "verified");
    let refused = fake.clock.run(issue(&fake, ControlCommand::Resume));
    let message = UserError::from(refused.unwrap_err()).message;
    assert_eq!(message, "neither a pause nor a hold is in force");
}

/// Which cells a cut has passed since they were judged is forgotten once that is much, and all of the range is judged again.
#[test]
fn cells_that_change_while_a_restoration_is_paused_need_not_fit_into_memory() {
    const BYTES: usize = 200_000;
    let fake = Fake::with(&["a"], "bits = 3", |config| {
        config.restorator.memory_bytes_max = BYTES;
    });
    fake.hold("a", 7);
    fake.scan_takes.set(Duration::from_secs(1));
    let script = async || {
        until_exists(&fake, "/restorations/2").await;
        fake.clock.sleep(Duration::from_secs(2)).await;
        issue(&fake, ControlCommand::Pause).await.unwrap();
        fake.clock.sleep(Duration::from_secs(10)).await;
        for round in 0..60 {
            for number in 0..100 {
                let key = format!("new-{round}-{number}");
                fake.produce(&key);
                fake.hold(&key, 1);
            }
            fake.progress(fake.end());
            fake.clock.sleep(Duration::from_secs(5)).await;
        }
        issue(&fake, ControlCommand::Resume).await.unwrap();
    };
    let report = run_beside(&fake, script).unwrap();
    let outcome = (report.outcome(), report.cells.corrected, fake.held("a"));
    assert_eq!(outcome, ("verified", 1, 1), "{:?}", report.error());
    let counters = usize::try_from(fake.end()).unwrap();
    assert!(counters * 160 > 4 * BYTES, "more than fits: {counters}");
}

const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Four ranges, restored one after the other, with wrong cells in each; a correction takes seconds.
fn all_wrong() -> Fake {
    let fake = Fake::with(&KEYS, "bits = 2", |config| {
        config.restorator.ranges_in_flight_max = 1;
    });
    KEYS.iter().for_each(|key| fake.hold(key, 5));
    fake.increment_takes.set(Duration::from_secs(2));
    fake
}

fn abort_once_corrections_are_sent(fake: &Fake) -> impl AsyncFnOnce() {
    async || {
        while fake.times("increment") == 0 {
            fake.clock.sleep(Duration::from_millis(100)).await;
        }
        issue(fake, ControlCommand::Abort).await.unwrap();
    }
}

#[test]
fn an_abort_ends_with_its_own_exit_code_and_leaves_the_ranges_that_were_not_begun() {
    let fake = all_wrong();
    let report = run_beside(&fake, abort_once_corrections_are_sent(&fake)).unwrap();
    assert_eq!((report.outcome(), report.exit().code()), ("aborted", 4));
    assert_eq!(report.aborted.as_ref().unwrap().by, "ann@desk");
    fails_with(&report, "an operator aborted the restoration");
    let not_begun = report.ranges.iter();
    let not_begun = not_begun.filter(|range| range.outcome == RangeEnd::NotBegun);
    assert_eq!((report.ranges.len(), not_begun.count()), (4, 3));
    let record = fake.recorded();
    assert_eq!(record.state, RestorationState::Aborted);
    assert!(record.ranges.len() <= 1 && record.ended.is_some());
    for key in KEYS {
        assert!([1, 5].contains(&fake.held(key)), "{key}");
    }
    assert!(!fake.exists("__WRIT__") && !fake.exists("/members/"));
    assert_eq!(restored(&fake).outcome(), "verified");
}

/// A scope that is narrower than ranges records no doubt before it corrects: what it leaves is recorded when it ends.
#[test]
fn an_abort_leaves_doubts_of_the_wrong_cells_that_a_narrow_scope_has_found() {
    let fake = all_wrong();
    let mut options = fake.run_now(Limits::default());
    let PlanSource::Now(scope) = &mut options.source else {
        panic!("it runs at once");
    };
    scope.counter = Some(CounterName("plays".into()));
    let report = run_options_beside(&fake, &options, abort_once_corrections_are_sent(&fake));
    let report = report.unwrap();
    let ranges = report.ranges.iter();
    let left: Vec<_> = ranges
        .filter(|range| range.outcome == RangeEnd::NotBegun)
        .map(|range| range.range)
        .collect();
    assert_eq!((report.outcome(), left.len()), ("aborted", 3));
    for range in left {
        assert!(fake.exists(&format!("/doubts/{range}-unverified")));
    }
}

#[test]
fn an_abort_of_a_paused_audit_changes_nothing() {
    let fake = busy();
    let script = async || {
        until_exists(&fake, "/restorations/2").await;
        issue(&fake, ControlCommand::Pause).await.unwrap();
        fake.clock.sleep(Duration::from_secs(60)).await;
        issue(&fake, ControlCommand::Abort).await.unwrap();
    };
    let report = run_beside(&fake, script).unwrap();
    assert_eq!(
        (report.outcome(), report.exit()),
        ("aborted", Exit::Aborted)
    );
    assert_eq!((fake.times("increment"), fake.held("a")), (0, 5));
    assert_eq!(report.ranges[0].outcome, RangeEnd::NotBegun);
}

#[test]
fn a_hold_refuses_new_restorations_by_name_until_it_ends() {
    let fake = busy();
    let hold = ControlCommand::HoldUntil(later(&fake, 600));
    fake.clock.run(issue(&fake, hold)).unwrap();
    let error = fake.run(Limits::default()).unwrap_err();
    assert!(
        error
            .message
            .contains("held until 2023-11-14T22:23:20Z, by ann@desk")
    );
    assert!(error.message.contains("load") && error.help.contains("resume"));
    assert_eq!(fake.times("__WRIT__"), 0, "before any lock");
    assert!(fake.plan(None).is_ok(), "an audit changes nothing");
    fake.clock.run(fake.clock.sleep(Duration::from_secs(601)));
    assert_eq!(restored(&fake).outcome(), "verified");
}

#[test]
fn a_hold_pauses_the_restoration_that_runs_until_it_ends_by_itself() {
    let fake = busy();
    let script = async || {
        until_exists(&fake, "/restorations/2").await;
        let hold = ControlCommand::HoldUntil(later(&fake, 600));
        issue(&fake, hold).await.unwrap();
    };
    let report = run_beside(&fake, script).unwrap();
    assert_eq!(report.outcome(), "verified");
    assert!(fake.clock.seconds() >= 600, "{}", fake.clock.seconds());
    let control = fake.recorded().control;
    assert_eq!(control.last().unwrap().command, "hold ended");
}

#[test]
fn a_throttle_spreads_corrections_over_time_and_can_be_lifted() {
    let keys: Vec<String> = (0..40).map(|key| key.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let takes = |commands: &[ControlCommand]| {
        let fake = Fake::with_plays(&keys);
        keys.iter().for_each(|key| fake.hold(key, 5));
        fake.scan_takes.set(Duration::from_secs(1));
        let script = async || {
            until_exists(&fake, "/restorations/2").await;
            for command in commands {
                issue(&fake, *command).await.unwrap();
                fake.clock.sleep(Duration::from_secs(3)).await;
            }
        };
        assert_eq!(run_beside(&fake, script).unwrap().outcome(), "verified");
        keys.iter().for_each(|key| assert_eq!(fake.held(key), 1));
        fake.clock.seconds()
    };
    let slow = ControlCommand::Throttle(Some(CorrectionRate(4)));
    let (at_once, throttled) = (takes(&[]), takes(&[slow]));
    assert!(throttled >= at_once + 9, "{at_once} s and {throttled} s");
    let lifted = takes(&[slow, ControlCommand::Throttle(None)]);
    assert!(lifted < throttled, "{lifted} s and {throttled} s");
}

#[test]
fn an_audit_leaves_a_record_of_what_it_has_found_in_each_range() {
    let fake = Fake::with(&["a", "b", "c", "d"], "bits = 1", |_| {});
    fake.hold("a", 5);
    fake.plan(None).unwrap();
    let read = async {
        let session = fake.connect().await.unwrap();
        let session = NamespaceSession::new(session, fake.clock.clone(), Paths::new("n"));
        stitch_control::audit_record::records(&session).await
    };
    let records = fake.clock.run(read).unwrap();
    let [record] = &*records else {
        panic!("{records:?}");
    };
    let found = record.found();
    assert_eq!((found.judged, found.wrong, found.unjudged), (4, 1, 0));
    assert_eq!((record.ranges.len(), record.auditor.process_id), (2, 7));
    restored(&fake);
    let found = fake.recorded().found.unwrap();
    assert_eq!((found.judged, found.wrong), (4, 1));
}
