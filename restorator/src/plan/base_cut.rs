//! The checkpoints and ceilings of all partitions, each pair read at one moment: the base cut `c` without any lock (R1), or
//! the cut under a range's lock (R3).

use std::collections::BTreeMap;

use futures_util::future::{TryFutureExt, try_join};
use stitch_common::checkpoint::{Checkpoint, StoredCheckpoint};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::EventLog;
use stitch_common::range::RangeId;
use stitch_protocol::checkpoint_node;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::quiescence::InDoubt;
use crate::rule;
use stitch_common::ports::Backends;
use stitch_common::scope::Scope;

/// The checkpoint and the ceiling of every partition that Kafka or ZooKeeper has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BaseCut {
    partitions: BTreeMap<Partition, Option<StoredCheckpoint>>,
}

impl BaseCut {
    pub(crate) async fn read<B: Backends>(context: &RestoreContext<'_, B>) -> Result<Self, Error> {
        let kafka = context.log.partitions().map_err(Error::from);
        let zookeeper = checkpoint_node::read_checkpoints(context.session).map_err(Error::from);
        let (kafka, zookeeper) = try_join(kafka, zookeeper).await?;
        Ok(Self::new(kafka, zookeeper))
    }

    /// Reads what ZooKeeper has now, as new as any write that it has acknowledged to any member.
    pub(crate) async fn read_current<B: Backends>(
        context: &RestoreContext<'_, B>,
    ) -> Result<Self, Error> {
        let zookeeper = checkpoint_node::read_current(context.session).await?;
        Ok(Self::new([], zookeeper))
    }

    /// Reads the cut, then the in-doubt markers of these ranges and the dead members. Never before the cut: a request whose
    /// outcome becomes unknown between the two reads would be in neither.
    pub(crate) async fn read_with_in_doubt<B: Backends>(
        context: &RestoreContext<'_, B>,
        ranges: impl Iterator<Item = RangeId>,
    ) -> Result<(Self, InDoubt), Error> {
        if rule::markers_are_read_after_the_cut() {
            let cut = Self::read(context).await?;
            Ok((cut, InDoubt::read(context, ranges).await?))
        } else {
            let in_doubt = InDoubt::read(context, ranges).await?;
            Ok((Self::read(context).await?, in_doubt))
        }
    }

    /// From the partitions of Kafka and the checkpoints of ZooKeeper.
    pub(crate) fn new(
        kafka: impl IntoIterator<Item = Partition>,
        zookeeper: impl IntoIterator<Item = (Partition, Option<StoredCheckpoint>)>,
    ) -> Self {
        let mut partitions: BTreeMap<_, _> = kafka
            .into_iter()
            .map(|partition| (partition, None))
            .collect();
        partitions.extend(zookeeper);
        Self { partitions }
    }

    pub(crate) fn partitions(&self) -> Vec<Partition> {
        self.partitions.keys().copied().collect()
    }

    /// Every partition, and its checkpoint if it has one.
    pub(crate) fn checkpoints(&self) -> impl Iterator<Item = (&Partition, Option<&Checkpoint>)> {
        let partitions = self.partitions.iter();
        partitions.map(|(partition, stored)| (partition, stored.as_ref().map(|it| &it.progress)))
    }

    /// Partitions without a checkpoint: nothing of them was counted, or the checkpoint is lost.
    pub(crate) fn without_checkpoint(&self) -> impl Iterator<Item = Partition> + '_ {
        let partitions = self.partitions.iter();
        let without = partitions.filter(|(_, checkpoint)| checkpoint.is_none());
        without.map(|(partition, _)| *partition)
    }

    /// The offsets of `range`; 0 in a partition without a checkpoint.
    pub(crate) fn of(&self, range: RangeId) -> Offsets {
        self.offsets(|stored| stored.progress.of(range))
    }

    /// The ceilings of `range`; 0 in a partition without a checkpoint, of which nothing can have been begun.
    pub(crate) fn ceilings(&self, range: RangeId) -> Offsets {
        self.offsets(|stored| stored.ceiling.of(range, &stored.progress))
    }

    /// Per partition, the lowest offset of any range in scope.
    pub(crate) fn lowest(&self, scope: &Scope) -> Offsets {
        self.offsets(|stored| {
            let offsets = scope.ranges().map(|range| stored.progress.of(range));
            offsets.min().unwrap_or_default()
        })
    }

    /// Per partition, the highest offset of any range in scope.
    pub(crate) fn highest(&self, scope: &Scope) -> Offsets {
        self.offsets(|stored| {
            let offsets = scope.ranges().map(|range| stored.progress.of(range));
            offsets.max().unwrap_or_default()
        })
    }

    fn offsets(&self, of: impl Fn(&StoredCheckpoint) -> Offset) -> Offsets {
        let offsets = self.partitions.iter().map(|(partition, stored)| {
            let offset = stored.as_ref().map(&of).unwrap_or_default();
            (*partition, offset)
        });
        Offsets(offsets.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::checkpoint::Ceiling;
    use stitch_common::scope::RangeSet;
    use stitch_testkit::samples::{everything, offsets, stored_checkpoint};

    #[test]
    fn partitions_that_only_kafka_or_only_zookeeper_has_are_part_of_the_cut() {
        let zookeeper = [
            (Partition(1), Some(stored_checkpoint(3, 4))),
            (Partition(7), None),
        ];
        let cut = BaseCut::new([Partition(0), Partition(1)], zookeeper);
        assert_eq!(cut.partitions(), [Partition(0), Partition(1), Partition(7)]);
        assert_eq!(
            cut.without_checkpoint().collect::<Vec<_>>(),
            [Partition(0), Partition(7)]
        );
        assert_eq!(cut.of(RangeId(1)), offsets(&[(0, 0), (1, 4), (7, 0)]));
    }

    #[test]
    fn without_a_checkpoint_nothing_was_begun_and_after_a_hand_over_nothing_above_it() {
        let mut open = stored_checkpoint(3, 4);
        open.ceiling = Ceiling::At(Offset(9));
        let zookeeper = [
            (Partition(1), Some(stored_checkpoint(3, 4))),
            (Partition(2), Some(open)),
        ];
        let cut = BaseCut::new([Partition(0)], zookeeper);
        assert_eq!(cut.ceilings(RangeId(0)), offsets(&[(0, 0), (1, 3), (2, 9)]));
        assert_eq!(cut.ceilings(RangeId(1)), offsets(&[(0, 0), (1, 4), (2, 9)]));
    }

    #[test]
    fn lowest_and_highest_are_those_of_the_ranges_in_scope() {
        let zookeeper = [
            (Partition(0), Some(stored_checkpoint(3, 9))),
            (Partition(1), Some(stored_checkpoint(8, 2))),
        ];
        let cut = BaseCut::new([], zookeeper);
        assert_eq!(cut.lowest(&everything()), offsets(&[(0, 3), (1, 2)]));
        assert_eq!(cut.highest(&everything()), offsets(&[(0, 9), (1, 8)]));
        let mut second = everything();
        second.ranges = RangeSet::interval(RangeId(1), RangeId(1));
        assert_eq!(cut.lowest(&second), offsets(&[(0, 9), (1, 2)]));
    }
}
