//! The rules of counting, each a question about values. The machine asks them before it does anything; the exhaustive
//! model of the protocol (`model/`) asks the same ones in every state that it reaches.

use stitch_common::mutation::{Rule, out};
use stitch_common::offset::Offset;

use super::acks::AckTracker;
use super::partition::PartitionState;
use super::range::LockState;

/// Whether an event at `offset` is counted here: a range that resumed above it has answered it already (rule P7).
#[must_use]
pub fn is_counted(resumed: Offset, offset: Offset) -> bool {
    resumed <= offset || out(Rule::ResumeAtCheckpoint)
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
    (lock.is_held() || out(Rule::SharedLock)) && counted && (!finishing || must_finish())
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
