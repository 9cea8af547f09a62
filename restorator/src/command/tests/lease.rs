//! What a restorator may still do while its lease is in doubt, and what it leaves behind (P3, P8, R8).

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::output::{Exit, Report};
use stitch_common::range::RangeId;
use stitch_control::restoration_record::{RangeOutcome, RestorationState};

use super::{next, restored, run_beside};
use crate::testing::cassandra::Fate;
use crate::testing::world::Fake;

/// P3: a lost session ends everything that has an effect. The next member sends it, once nothing is in flight any more.
#[test]
fn nothing_is_sent_after_the_session_is_lost() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    // Dirty, so that it is read under the lock.
    fake.produce("a");
    fake.before("read plays/a", |fake| {
        fake.lose_sessions();
        fake.before("connect", |fake| {
            assert_eq!(fake.times("increment"), 0);
        });
    });
    let report = restored(&fake);
    assert_eq!((report.exit(), fake.held("a")), (Exit::Success, 1));
    let trace = fake.trace();
    let joined = next(&trace, "connect", next(&trace, "connect", 0) + 1);
    let waited = next(&trace, "probe", joined);
    let sent = next(&trace, "increment", waited);
    assert_eq!(fake.times("increment"), 1, "{sent}");
    assert!(
        report.notes.iter().any(|note| note.contains("dead member")),
        "{:?}",
        report.notes
    );
}

/// P3: a lost connection ends the sending at once, although the session may survive. If it does, the range begins again.
#[test]
fn nothing_is_sent_while_the_connection_is_lost() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates.borrow_mut().push_back(Fate::NotApplied);
    fake.before("increment", Fake::cut_off);
    let script = async || {
        fake.clock.sleep(Duration::from_secs(600)).await;
        assert_eq!((fake.times("increment"), fake.held("a")), (1, 5));
        fake.connect_again();
    };
    let report = run_beside(&fake, script).unwrap();
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 1));
    assert_eq!((fake.times("increment"), fake.held("a")), (2, 1));
    assert_eq!(fake.times("connect"), 1, "it is still the same member");
}

/// Without a marker only the end of the member tells that its corrections have to be waited out before the range begins again.
#[test]
fn corrections_in_doubt_without_a_marker_are_waited_out_before_the_range_begins_again() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates.borrow_mut().push_back(Fate::UnknownApplied);
    fake.before("create /ranges/0/in-doubt-", Fake::cut_off);
    let script = async || {
        fake.clock.sleep(Duration::from_secs(60)).await;
        fake.connect_again();
    };
    let report = run_beside(&fake, script).unwrap();
    assert_eq!((report.outcome(), fake.held("a")), ("verified", 1));
    let trace = fake.trace();
    let sent = next(&trace, "increment", 0);
    let joined = next(&trace, "connect", sent);
    let waited = next(&trace, "probe", joined);
    next(&trace, "scan", waited);
}

/// A range is not tried for ever: what loses sessions again and again is for the operator to find.
#[test]
fn a_range_that_loses_its_session_again_and_again_stays_unverified() {
    fn lose(fake: &Fake) {
        fake.before("read plays/a", lose);
        fake.lose_sessions();
    }
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.produce("a");
    fake.before("read plays/a", lose);
    let report = restored(&fake);
    assert_eq!((report.exit(), fake.held("a")), (Exit::Failed, 5));
    assert_eq!((fake.times("increment"), fake.times("connect")), (0, 4));
    let failure = report.error().unwrap();
    assert!(failure.message.contains("session"), "{failure}");
}

/// R8: with corrections in doubt, a marker is created, and only then the lock is released.
#[test]
fn corrections_in_doubt_leave_a_marker_before_the_lock_is_released() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.produce("a");
    fake.fates.borrow_mut().push_back(Fate::UnknownLost);
    fake.before("increment", |fake| fake.silent.set(true));
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Failed);
    assert!(fake.exists("/ranges/0/in-doubt-0000000000000001-0000000000000000-"));
    assert!(!fake.exists("/members/"), "the marker is enough");
    assert!(!fake.exists("__WRIT__"));
    let trace = fake.trace();
    let marker = next(&trace, "create /ranges/0/in-doubt-", 0);
    let released = next(&trace, "delete /ranges/0/_c_", 0);
    assert!(marker < released, "{trace:#?}");
}

/// R8, P8: if the marker cannot be created, the member remains as a dead member, so that the next run awaits quiescence.
#[test]
fn corrections_in_doubt_without_a_marker_leave_a_dead_member() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates.borrow_mut().push_back(Fate::UnknownLost);
    fake.refuse("/in-doubt-");
    fake.before("increment", |fake| fake.silent.set(true));
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Failed);
    assert!(fake.exists("/members/0000000000000001-0000000000000000"));
    assert!(
        report.notes.iter().any(|note| note.contains("dead member")),
        "{:?}",
        report.notes
    );
}

/// R8: the outcome of every range and of the whole is recorded, whatever it is.
#[test]
fn every_outcome_is_recorded() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    restored(&fake);
    let record = fake.recorded();
    assert_eq!(record.state, RestorationState::Verified);
    assert!(record.ended.is_some());
    let verified = record.ranges.get(&RangeId(0));
    assert!(
        matches!(verified, Some(RangeOutcome::Verified { corrected: 1, .. })),
        "{verified:?}"
    );
    let fake = Fake::with_plays(&["a"]);
    fake.shared_lock();
    restored(&fake);
    let record = fake.recorded();
    assert_eq!(record.state, RestorationState::Unverified);
    let released = record.ranges.get(&RangeId(0));
    assert!(
        matches!(released, Some(RangeOutcome::Unverified { why }) if why.contains("yielded")),
        "{released:?}"
    );
}
