//! The rules of counting, each a question about values. The machine asks them before it does anything; the exhaustive
//! model of the protocol (`model/`) asks the same ones in every state that it reaches.

use stitch_common::checkpoint::Checkpoint;
use stitch_common::mutation::{Rule, out};
use stitch_common::offset::Offset;
use stitch_common::outcome::Outcome;

use super::acks::AckTracker;
use super::partition::PartitionState;
use super::range::LockState;

/// Whether an event at `offset` is counted here: a range that resumed above it has answered it already (rule P7).
#[must_use]
pub fn is_counted(resumed: Offset, offset: Offset) -> bool {
    resumed <= offset || out(Rule::ResumeAtCheckpoint)
}

/// Whether a range's lock lets its increments be sent (rule P2).
pub(crate) fn may_send(lock: LockState) -> bool {
    lock.is_held() || out(Rule::SharedLock)
}

/// Whether a part may be sent (rules P1, P2, P6): only with the locks of its range and of its partition; and where one
/// of them is to be given back, only what `must_finish` because a later event was begun.
#[must_use]
pub fn may_begin(
    lock: LockState,
    stage: Option<PartitionState>,
    must_finish: impl FnOnce() -> bool,
) -> bool {
    let counted = stage.is_some_and(PartitionState::holds_lock);
    let yielding = lock.is_yielding() && !out(Rule::BeginNothing);
    let finishing = yielding || stage.is_some_and(PartitionState::is_handing_over);
    may_send(lock) && counted && (!finishing || must_finish())
}

/// Whether a batch of this outcome may be sent again (rule P4): only if it was certainly not applied.
pub(crate) fn may_send_again(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Applied => false,
        Outcome::NotApplied(_) | Outcome::Refused(_) => true,
        Outcome::Unknown(_) => out(Rule::NeverAgain),
    }
}

/// Whether an unknown outcome is acknowledged only once an in-doubt marker is written (rule P5).
pub(crate) fn needs_marker() -> bool {
    !out(Rule::Marked)
}

/// Whether a marker that is being written covers outcomes that become unknown meanwhile (rule P5): it may be written
/// before they were sent, so they wait for another one.
pub(crate) fn joins_marker_in_flight() -> bool {
    out(Rule::MarkedAfter)
}

/// How far one range of one partition is answered (rule P5): to the first event that is not, or to where its events
/// were taken in; never below where it resumed.
#[must_use]
pub fn answered(track: Option<&AckTracker>, taken_in: Offset, resumed: Offset) -> Offset {
    if out(Rule::Acknowledged) {
        return taken_in.max(resumed);
    }
    let answered = track.map_or(taken_in, |track| track.progress(taken_in));
    answered.max(resumed)
}

/// Whether nothing that was begun in a range is unanswered (rule P6). `at_rest` says that neither a batch nor a mark is
/// on its way.
#[must_use]
pub fn is_settled<'a>(at_rest: bool, tracks: impl IntoIterator<Item = &'a AckTracker>) -> bool {
    if out(Rule::DrainedFirst) {
        return true;
    }
    at_rest && tracks.into_iter().all(AckTracker::is_settled)
}

/// Whether progress that stands in ZooKeeper at `written` tells of all that was begun (rule P6): only then the range may
/// be given back.
#[must_use]
pub fn is_told(track: &AckTracker, written: Offset) -> bool {
    written >= track.behind() || out(Rule::WrittenFirst)
}

/// Whether a revocation request makes a range yield (rule P6).
pub(crate) fn yields_when_asked(lock: LockState) -> bool {
    lock == LockState::Held && !out(Rule::Yield)
}

/// Whether a drained partition may go to another process (rule P1): only once its last checkpoint is written.
pub(crate) fn may_hand_over(written: &Checkpoint, last: &Checkpoint) -> bool {
    written == last || out(Rule::HandOver)
}

/// Whether a member that leaves something in doubt keeps its entries in the queues of ranges (rule P8): they must not
/// be granted to others before its dead member node says so, and both come with the end of the session.
pub(crate) fn keeps_locks_in_doubt() -> bool {
    !out(Rule::KeepPlaces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use stitch_common::clock::Moment;

    const NEVER: Moment = Moment::new(Duration::MAX);
    const YIELDING: LockState = LockState::Yielding { give_up: NEVER };
    const HANDING_OVER: PartitionState = PartitionState::Draining { give_up: NEVER };

    #[test]
    fn a_part_is_begun_with_both_locks_and_while_letting_go_only_if_it_must_be_finished() {
        let may = |lock, stage, must| may_begin(lock, stage, || must);
        assert!(may(LockState::Held, Some(PartitionState::Counting), false));
        for lock in [LockState::Idle, LockState::Queued, LockState::Releasing] {
            assert!(!may(lock, Some(PartitionState::Counting), true), "{lock:?}");
        }
        for stage in [
            None,
            Some(PartitionState::Acquiring),
            Some(PartitionState::Releasing),
        ] {
            assert!(!may(LockState::Held, stage, true), "{stage:?}");
        }
        for (lock, stage) in [
            (YIELDING, PartitionState::Counting),
            (LockState::Held, HANDING_OVER),
            (YIELDING, HANDING_OVER),
        ] {
            assert!(!may(lock, Some(stage), false), "{lock:?} {stage:?}");
            assert!(may(lock, Some(stage), true), "{lock:?} {stage:?}");
        }
    }

    #[test]
    fn progress_never_stands_below_where_the_range_resumed() {
        let mut track = AckTracker::default();
        assert_eq!(answered(None, Offset(3), Offset(7)), Offset(7));
        track.ingest(Offset(8), 1);
        assert_eq!(answered(Some(&track), Offset(9), Offset(7)), Offset(8));
        assert!(is_counted(Offset(8), Offset(8)) && !is_counted(Offset(9), Offset(8)));
    }

    #[test]
    fn a_range_is_told_of_once_progress_stands_behind_all_that_was_begun() {
        let mut track = AckTracker::default();
        let place = track.ingest(Offset(4), 1);
        track.sent(place);
        assert!(!is_settled(true, [&track]) && is_told(&track, Offset(0)));
        track.applied(place);
        assert!(is_settled(true, [&track]) && !is_settled(false, [&track]));
        assert!(!is_told(&track, Offset(4)) && is_told(&track, Offset(5)));
    }
}
