//! What makes counts uncertain: everything in ZooKeeper that says that counts of a range may be wrong, or may still
//! become wrong by what has been sent already. Every reader decides by this: the API, `status`, `--doubtful`.
//!
//! A pending backfill concerns one counter alone. Whoever removes one sign has recorded the next one before, so at no moment
//! there is none. A snapshot is not one moment: dead members, in-doubt markers, partitions and doubts are read in this
//! order, in which they follow each other.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use stitch_common::cell::CounterName;
use stitch_common::checkpoint::Checkpoint;
use stitch_common::offset::Offset;
use stitch_common::range::RangeId;

use crate::backfill::Backfill;
use crate::checkpoint_node::PartitionSnapshot;
use crate::doubt::{Doubt, DoubtCause};

/// A reason why counts of a range are uncertain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UncertaintyCause {
    /// A member is dead, and its last requests may still be in flight, to any range.
    DeadMember,
    /// An in-doubt marker: a request to the range may still be in flight.
    InDoubtMarker,
    /// A member ended early, and events that it may have applied wait for a successor, which will record a doubt.
    PendingTakeover,
    /// A counter was added, and its past is not counted yet.
    PendingBackfill,
    /// A doubt.
    Doubt(DoubtCause),
}

impl UncertaintyCause {
    /// How many there are.
    pub const COUNT: usize = 4 + DoubtCause::EVERY.len();

    /// Every cause.
    pub fn every() -> impl Iterator<Item = Self> {
        let doubts = DoubtCause::EVERY.into_iter().map(Self::Doubt);
        let signs = [
            Self::DeadMember,
            Self::InDoubtMarker,
            Self::PendingTakeover,
            Self::PendingBackfill,
        ];
        signs.into_iter().chain(doubts)
    }

    /// The stable name, in JSON and on pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeadMember => "dead-member",
            Self::InDoubtMarker => "in-doubt-marker",
            Self::PendingTakeover => "takeover-pending",
            Self::PendingBackfill => "backfill-pending",
            Self::Doubt(cause) => cause.name(),
        }
    }
}

/// Everything that is known against the counts of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uncertainty {
    /// Whether a member is dead.
    pub has_dead_members: bool,
    /// The ranges with an in-doubt marker.
    pub marked: BTreeSet<RangeId>,
    /// Partitions with events that a former owner may have applied and for which no doubt is recorded yet: the checkpoint,
    /// and the offset below which they lie.
    pub pending: Vec<(Checkpoint, Offset)>,
    /// The doubts, by range.
    pub doubts: BTreeMap<RangeId, Vec<Doubt>>,
    /// The pending backfills. They concern no counter but their own.
    pub backfills: Vec<Backfill>,
}

impl Uncertainty {
    /// Puts together what was read, in this order, of dead members, in-doubt markers, partitions and doubts. There are no
    /// pending backfills in it: these may be read at any time, since nothing follows them.
    #[must_use]
    pub fn new(
        dead_members: usize,
        marked: impl IntoIterator<Item = RangeId>,
        partitions: impl IntoIterator<Item = PartitionSnapshot>,
        doubts: impl IntoIterator<Item = Doubt>,
    ) -> Self {
        let mut by_range = BTreeMap::<RangeId, Vec<Doubt>>::new();
        for doubt in doubts {
            by_range.entry(doubt.range).or_default().push(doubt);
        }
        let pending = partitions.into_iter().filter_map(|partition| {
            let (checkpoint, end) = partition.pending_takeover()?;
            Some((checkpoint.clone(), end))
        });
        Self {
            pending: pending.collect(),
            has_dead_members: dead_members > 0,
            marked: marked.into_iter().collect(),
            doubts: by_range,
            backfills: Vec::new(),
        }
    }

    /// Why counts of every counter in `range` are uncertain, each with the time since when if that is recorded.
    pub fn causes(
        &self,
        range: RangeId,
    ) -> impl Iterator<Item = (UncertaintyCause, Option<DateTime<Utc>>)> {
        let dead_member = self
            .has_dead_members
            .then_some(UncertaintyCause::DeadMember);
        let marker = self
            .marked
            .contains(&range)
            .then_some(UncertaintyCause::InDoubtMarker);
        let is_pending = |(checkpoint, end): &(Checkpoint, Offset)| checkpoint.of(range) < *end;
        let pending = self.pending.iter().any(is_pending);
        let pending = pending.then_some(UncertaintyCause::PendingTakeover);
        let doubts = self.doubts.get(&range).into_iter().flatten();
        let doubts = doubts.map(|doubt| (UncertaintyCause::Doubt(doubt.cause), Some(doubt.since)));
        let signs = dead_member.into_iter().chain(marker).chain(pending);
        signs.map(|cause| (cause, None)).chain(doubts)
    }

    /// Since when the counters that `of` chooses lack their past in `range`; `None` if none of them does.
    pub fn backfill_since(
        &self,
        range: RangeId,
        of: impl Fn(&CounterName) -> bool,
    ) -> Option<DateTime<Utc>> {
        let pending = self.backfills.iter().filter(|pending| of(&pending.counter));
        let pending = pending.filter(|pending| pending.record.ranges.contains(range));
        pending.map(|pending| pending.record.since).min()
    }

    /// Whether nothing is known against the counts of `range`, of whichever counter.
    #[must_use]
    pub fn is_certain(&self, range: RangeId) -> bool {
        self.causes(range).next().is_none() && self.backfill_since(range, |_| true).is_none()
    }
}

impl PartitionSnapshot {
    /// The checkpoint, and the offset below which a former owner may have applied events beyond it; `None` if there are
    /// none, or doubts say so already.
    #[must_use]
    pub fn pending_takeover(&self) -> Option<(&Checkpoint, Offset)> {
        let stored = self.checkpoint.as_ref()?;
        let end = stored.uncounted_end(self.holder.as_ref());
        let is_pending = stored.progress.is_below(end);
        is_pending.then_some((&stored.progress, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backfill::BackfillRecord;
    use stitch_common::checkpoint::{Ceiling, StoredCheckpoint, Writer};
    use stitch_common::member::MemberId;
    use stitch_common::offset::Partition;
    use stitch_common::range::RangeBits;

    /// Counted below 5 in range 0 and below 9 in range 1; begun below 7 by member 1, who had found a ceiling of 6.
    fn partition(holder: Option<i64>) -> PartitionSnapshot {
        let bits = RangeBits::new(1).unwrap();
        let of = |range: RangeId| Offset(if range.0 == 0 { 5 } else { 9 });
        let stored = StoredCheckpoint {
            progress: Checkpoint::from_ranges(bits, of),
            ceiling: Ceiling::At(Offset(10)),
            inherited: Ceiling::At(Offset(6)),
            writer: Some(Writer {
                member: MemberId::new(1, 0),
                sequence: 1,
            }),
        };
        PartitionSnapshot {
            partition: Partition(0),
            checkpoint: Some(stored),
            holder: holder.map(|session| MemberId::new(session, 0)),
            suspension: None,
        }
    }

    #[test]
    fn what_was_begun_is_uncertain_while_its_partition_has_no_owner_or_a_new_one() {
        let certain = |holder| {
            let uncertainty = Uncertainty::new(0, [], [partition(holder)], []);
            [0, 1].map(|range| uncertainty.is_certain(RangeId(range)))
        };
        assert_eq!(certain(None), [false, false]);
        assert_eq!(
            certain(Some(2)),
            [false, false],
            "it has written nothing yet"
        );
        assert_eq!(certain(Some(1)), [false, true], "it records doubts up to 6");
    }

    #[test]
    fn dead_members_concern_every_range_and_markers_their_own() {
        let mut uncertainty = Uncertainty::new(0, [RangeId(1)], [], []);
        let causes = |of: &Uncertainty, range| of.causes(RangeId(range)).collect::<Vec<_>>();
        assert_eq!(causes(&uncertainty, 0), []);
        assert!(uncertainty.is_certain(RangeId(0)) && !uncertainty.is_certain(RangeId(1)));
        let marker = (UncertaintyCause::InDoubtMarker, None);
        assert_eq!(causes(&uncertainty, 1), [marker]);
        uncertainty.has_dead_members = true;
        let dead = (UncertaintyCause::DeadMember, None);
        assert_eq!(causes(&uncertainty, 0), [dead]);
        assert_eq!(causes(&uncertainty, 1), [dead, marker]);
        assert_eq!(UncertaintyCause::every().count(), UncertaintyCause::COUNT);
    }

    #[test]
    fn a_pending_backfill_concerns_its_counter_in_the_ranges_that_are_left() {
        let added = |name: &str, range, seconds| Backfill {
            counter: CounterName(name.into()),
            record: BackfillRecord {
                since: DateTime::from_timestamp(seconds, 0).unwrap(),
                ranges: [RangeId(range)].into_iter().collect(),
            },
        };
        let uncertainty = Uncertainty {
            backfills: vec![
                added("likes", 1, 20),
                added("skips", 1, 10),
                added("skips", 2, 10),
            ],
            ..Uncertainty::default()
        };
        let certain = [0, 1, 2].map(|range| uncertainty.is_certain(RangeId(range)));
        assert_eq!(certain, [true, false, false]);
        let since = |range, name: &str| {
            let since = uncertainty.backfill_since(RangeId(range), |of| &*of.0 == name);
            since.map(|since| since.timestamp())
        };
        assert_eq!(since(1, "likes"), Some(20));
        assert_eq!(since(2, "likes"), None, "restored there");
        assert_eq!(since(2, "skips"), Some(10));
        assert_eq!(since(1, "plays"), None, "no counter of them");
        let of_any = uncertainty.backfill_since(RangeId(1), |_| true);
        assert_eq!(of_any.map(|since| since.timestamp()), Some(10));
        assert_eq!(
            uncertainty.causes(RangeId(1)).count(),
            0,
            "no cause of all counters"
        );
    }
}
