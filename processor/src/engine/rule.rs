//! The rules of counting, each a question about values. The engine asks them before it acts; the exhaustive model of the
//! protocol (`model/`) asks the same ones in every state that it reaches.
//!
//! This is the only file of the processor in which a rule can be removed ([`stitch_common::mutation`]).

use stitch_common::checkpoint::{Ceiling, Checkpoint};
use stitch_common::mutation::{Rule, out};
use stitch_common::offset::Offset;
use stitch_common::outcome::Outcome;
use stitch_common::range::RangeBits;

use super::acks::AckTracker;
use super::partition::PartitionState;
use super::range::LockState;

/// Whether an event at `offset` is counted: a range that resumed above it has acknowledged it already (rule P7).
#[must_use]
pub fn is_counted(resumed: Offset, offset: Offset) -> bool {
    resumed <= offset || out(Rule::ResumeAtCheckpoint)
}

/// Whether a range's lock allows sending its increments (rule P2).
pub(crate) fn may_send(lock: LockState) -> bool {
    lock.is_held() || out(Rule::SharedLock)
}

/// Whether a contribution may be sent (rules P1, P2, P6): only with the locks of its range and of its partition. Where
/// one of them is to be released, only one that `must_finish` because a later event was begun.
#[must_use]
pub fn may_begin(
    lock: LockState,
    partition: Option<PartitionState>,
    must_finish: impl FnOnce() -> bool,
) -> bool {
    let owned = partition.is_some_and(PartitionState::holds_lock);
    let yielding = lock.is_yielding() && !out(Rule::BeginNothing);
    let finishing = yielding || partition.is_some_and(PartitionState::is_draining);
    may_send(lock) && owned && (!finishing || must_finish())
}

/// Whether the next turn of a range may begin (rule P6): not while it yields, so that no turn of it is begun afterwards before
/// the one before is finished.
pub(crate) fn may_begin_turn(lock: LockState) -> bool {
    !lock.is_yielding() || out(Rule::BeginNothing)
}

/// Whether an event at `offset` may be begun with this ceiling in ZooKeeper (rule P9).
#[must_use]
pub fn is_below_ceiling(offset: Offset, ceiling: Ceiling) -> bool {
    offset < ceiling.acknowledged() || out(Rule::BelowCeiling)
}

/// The ceiling of a partition that is handed over with everything acknowledged that this member has begun (rule P9):
/// nothing is begun beyond the checkpoint. Unless a former owner may have begun events that are not counted again yet: then
/// the ceiling stays, because nothing else says so.
#[must_use]
pub fn last_ceiling(last: &Checkpoint, found: Ceiling, bits: RangeBits) -> Ceiling {
    match found {
        Ceiling::At(found) if last.lowest(bits) < found => {
            Ceiling::At(found.max(last.highest(bits)))
        }
        Ceiling::At(_) | Ceiling::AtCheckpoint => Ceiling::AtCheckpoint,
    }
}

/// Whether a batch may be sent again after this outcome (rule P4): only if it was certainly not applied.
pub(crate) fn may_send_again(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Applied => false,
        Outcome::NotApplied(_) | Outcome::Refused(_) | Outcome::Unauthorized(_) => true,
        Outcome::Unknown(_) => out(Rule::NeverResend),
    }
}

/// Whether an unknown outcome is acknowledged only once an in-doubt marker is written (rule P5).
pub(crate) fn needs_marker() -> bool {
    !out(Rule::MarkerBeforeAck)
}

/// Whether an event at `offset` may have been applied by a former owner that did not say so: then a doubt of its range is
/// recorded before it is begun. `found` is the ceiling that the partition had when it was locked.
#[must_use]
pub fn is_taken_over(offset: Offset, found: Ceiling) -> bool {
    offset < found.acknowledged() && !out(Rule::DoubtBeforeTakeover)
}

/// Whether increments that were given up are acknowledged only once a doubt of their range is recorded (rule P5).
pub(crate) fn needs_doubt() -> bool {
    !out(Rule::DoubtBeforeGivenUp)
}

/// Whether a marker that is being written covers outcomes that become unknown meanwhile (rule P5). It does not: their
/// requests may have been sent after it was written.
pub(crate) fn joins_marker_in_flight() -> bool {
    out(Rule::MarkerCoversOwn)
}

/// The checkpoint of one range of one partition (rule P5): the first unacknowledged event, or the offset up to which
/// its events are ingested; never below the offset where it resumed.
#[must_use]
pub fn checkpoint(acks: Option<&AckTracker>, ingested_end: Offset, resumed: Offset) -> Offset {
    if out(Rule::Acknowledged) {
        return ingested_end.max(resumed);
    }
    let acknowledged = acks.map_or(ingested_end, |acks| acks.checkpoint(ingested_end));
    acknowledged.max(resumed)
}

/// Whether the checkpoint stays below an event that was set aside (rule P5).
pub(crate) fn remembers_set_aside() -> bool {
    !out(Rule::SetAside)
}

/// Whether a revocation request makes a range yield (rule P6).
pub(crate) fn yields_when_asked(lock: LockState) -> bool {
    lock == LockState::Held && !out(Rule::Yield)
}

/// Whether everything begun in a range is acknowledged (rule P6). `is_quiet` says that neither a batch nor a marker is
/// in flight.
#[must_use]
pub fn is_drained<'a>(is_quiet: bool, acks: impl IntoIterator<Item = &'a AckTracker>) -> bool {
    if out(Rule::DrainedFirst) {
        return true;
    }
    is_quiet && acks.into_iter().all(AckTracker::is_drained)
}

/// Whether the `written` checkpoint covers everything begun (rule P6): only then may the range be released.
#[must_use]
pub fn is_checkpointed(acks: &AckTracker, written: Offset) -> bool {
    written >= acks.begun_end() || out(Rule::WrittenFirst)
}

/// Whether a drained partition may be handed over (rule P1): only once its `last` checkpoint and ceiling are written, also
/// where it is `suspended` and this process will acquire it again.
pub(crate) fn may_hand_over(
    written: (&Checkpoint, Ceiling),
    last: (&Checkpoint, Ceiling),
    suspended: bool,
) -> bool {
    written == last || out(Rule::HandOver) || suspended && out(Rule::SuspendDrained)
}

/// Whether a member whose work has failed, although its session lives, drains like a stop before it ends (rule P8).
pub(crate) fn drains_after_failure() -> bool {
    !out(Rule::DrainAfterFailure)
}

/// Whether a member that leaves something in doubt keeps its entries in the queues of ranges until its session ends
/// (rule P8). Otherwise others could be granted a range before a dead member shows that requests may be in flight.
pub(crate) fn keeps_locks_in_doubt() -> bool {
    !out(Rule::KeepLockEntries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::acks::TurnNumber;
    use std::time::Duration;
    use stitch_common::clock::Moment;
    use stitch_common::range::RangeId;

    const NEVER: Moment = Moment::new(Duration::MAX);
    const YIELDING: LockState = LockState::Yielding { give_up: NEVER };
    const DRAINING: PartitionState = PartitionState::Draining { give_up: NEVER };

    #[test]
    fn a_contribution_is_begun_with_both_locks_and_while_draining_only_if_it_must_be_finished() {
        let may = |lock, partition, must| may_begin(lock, partition, || must);
        assert!(may(LockState::Held, Some(PartitionState::Counting), false));
        for lock in [LockState::Idle, LockState::Queued, LockState::Releasing] {
            assert!(!may(lock, Some(PartitionState::Counting), true), "{lock:?}");
        }
        for partition in [
            None,
            Some(PartitionState::Acquiring),
            Some(PartitionState::Releasing),
        ] {
            assert!(!may(LockState::Held, partition, true), "{partition:?}");
        }
        for (lock, partition) in [
            (YIELDING, PartitionState::Counting),
            (LockState::Held, DRAINING),
            (YIELDING, DRAINING),
        ] {
            assert!(!may(lock, Some(partition), false), "{lock:?} {partition:?}");
            assert!(may(lock, Some(partition), true), "{lock:?} {partition:?}");
        }
    }

    #[test]
    fn the_checkpoint_is_never_below_the_offset_where_the_range_resumed() {
        let mut acks = AckTracker::default();
        assert_eq!(checkpoint(None, Offset(3), Offset(7)), Offset(7));
        acks.ingest(TurnNumber(0), Offset(8));
        acks.add_contribution(TurnNumber(0));
        assert_eq!(checkpoint(Some(&acks), Offset(9), Offset(7)), Offset(8));
        assert!(is_counted(Offset(8), Offset(8)) && !is_counted(Offset(9), Offset(8)));
    }

    #[test]
    fn a_hand_over_leaves_the_ceiling_where_a_former_owner_may_have_begun_more() {
        let bits = RangeBits::new(1).unwrap();
        let of = |range: RangeId| Offset(if range.0 == 0 { 5 } else { 9 });
        let last = Checkpoint::from_ranges(bits, of);
        for (found, left) in [
            (Ceiling::AtCheckpoint, Ceiling::AtCheckpoint),
            (Ceiling::At(Offset(5)), Ceiling::AtCheckpoint),
            (Ceiling::At(Offset(6)), Ceiling::At(Offset(9))),
            (Ceiling::At(Offset(12)), Ceiling::At(Offset(12))),
        ] {
            assert_eq!(last_ceiling(&last, found, bits), left, "{found:?}");
        }
    }

    #[test]
    fn an_event_is_begun_only_below_the_ceiling() {
        assert!(is_below_ceiling(Offset(4), Ceiling::At(Offset(5))));
        assert!(!is_below_ceiling(Offset(5), Ceiling::At(Offset(5))));
        assert!(!is_below_ceiling(Offset(0), Ceiling::AtCheckpoint));
    }

    #[test]
    fn a_range_is_checkpointed_once_the_checkpoint_is_behind_everything_begun() {
        let mut acks = AckTracker::default();
        let turn = TurnNumber(0);
        acks.ingest(turn, Offset(4));
        acks.add_contribution(turn);
        acks.send(turn);
        assert!(!is_drained(true, [&acks]) && is_checkpointed(&acks, Offset(0)));
        acks.ack(turn);
        assert!(is_drained(true, [&acks]) && !is_drained(false, [&acks]));
        assert!(!is_checkpointed(&acks, Offset(4)) && is_checkpointed(&acks, Offset(5)));
    }
}
