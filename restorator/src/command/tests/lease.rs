//! What a restorator may still do while its standing as a member is in doubt, and what it leaves behind (P3, P8, R8).

use stitch_common::output::{Exit, Report};
use stitch_common::range::RangeId;
use stitch_protocol::restoration::{RangeOutcome, RestorationState};

use super::{next, restored};
use crate::testing::store::Fate;
use crate::testing::world::Fake;

/// P3: a lost session ends everything that has an effect.
#[test]
fn nothing_is_sent_after_the_session_is_lost() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.before("read plays/a", Fake::lose_sessions);
    let report = restored(&fake);
    assert_eq!((report.exit(), fake.times("increment")), (Exit::Failed, 0));
    assert!(
        report.notes.iter().any(|note| note.contains("tombstone")),
        "{:?}",
        report.notes
    );
}

/// P3: a connection that is lost ends the sending at once, though the session may live on.
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

/// R8: with anything unsettled a mark is left, and only then the lock goes.
#[test]
fn what_is_unsettled_is_marked_before_the_lock_goes() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates.borrow_mut().push_back(Fate::UnknownLost);
    fake.before("increment", |fake| fake.silent.set(true));
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Failed);
    assert!(fake.exists("/ranges/0/in-doubt-0000000000000001-"));
    assert!(
        !fake.exists("/members/"),
        "the mark says all that is to say"
    );
    assert!(!fake.exists("__WRIT__"));
    let trace = fake.trace();
    let marked = next(&trace, "create /ranges/0/in-doubt-", 0);
    let released = next(&trace, "delete /ranges/0/_c_", 0);
    assert!(marked < released, "{trace:#?}");
}

/// R8, P8: what could not be marked keeps the member as a tombstone, so that the next run waits for a calm.
#[test]
fn what_is_unsettled_and_cannot_be_marked_stays_as_a_tombstone() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates.borrow_mut().push_back(Fate::UnknownLost);
    fake.refuse("/in-doubt-");
    fake.before("increment", |fake| fake.silent.set(true));
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Failed);
    assert!(fake.exists("/members/0000000000000001"));
    assert!(
        report.notes.iter().any(|note| note.contains("tombstone")),
        "{:?}",
        report.notes
    );
}

/// R8: the outcome of every range and of the whole is recorded, whatever it was.
#[test]
fn how_it_ended_is_recorded() {
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
    let given_back = record.ranges.get(&RangeId(0));
    assert!(
        matches!(given_back, Some(RangeOutcome::Unverified { why }) if why.contains("yielded")),
        "{given_back:?}"
    );
}
