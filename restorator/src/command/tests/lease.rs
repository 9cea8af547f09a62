//! What a restorator may still do while its lease is in doubt, and what it leaves behind (P3, P8, R8).

use stitch_common::output::{Exit, Report};
use stitch_common::range::RangeId;
use stitch_control::restoration_record::{RangeOutcome, RestorationState};

use super::{next, restored};
use crate::testing::cassandra::Fate;
use crate::testing::world::Fake;

/// P3: a lost session ends everything that has an effect.
#[test]
fn nothing_is_sent_after_the_session_is_lost() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    // Dirty, so that it is read under the lock.
    fake.produce("a");
    fake.before("read plays/a", Fake::lose_sessions);
    let report = restored(&fake);
    assert_eq!((report.exit(), fake.times("increment")), (Exit::Failed, 0));
    assert!(
        report.notes.iter().any(|note| note.contains("dead member")),
        "{:?}",
        report.notes
    );
}

/// P3: a lost connection ends the sending at once, although the session may survive.
#[test]
fn nothing_is_sent_while_the_connection_is_lost() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates.borrow_mut().push_back(Fate::NotApplied);
    fake.before("increment", Fake::cut_off);
    let report = restored(&fake);
    let failure = report.error().unwrap();
    assert!(failure.message.contains("lease"), "{failure}");
    assert_eq!((fake.times("increment"), fake.held("a")), (1, 5));
    assert_eq!(report.exit(), Exit::Failed);
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
