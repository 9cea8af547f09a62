//! Checkpoint of every partition, read at one moment: the base cut `c` without any lock (R1), the cut under a range's
//! lock (R3).

use std::collections::BTreeMap;

use futures_util::future::{TryFutureExt, try_join};
use stitch_common::checkpoint::Checkpoint;
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

/// Checkpoint of every partition that Kafka or ZooKeeper knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BaseCut {
    partitions: BTreeMap<Partition, Option<Checkpoint>>,
}

impl BaseCut {
    /// Reads it.
    ///
    /// # Errors
    /// A server could not be asked.
    pub(crate) async fn read<B: Backends>(context: &RestoreContext<'_, B>) -> Result<Self, Error> {
        let kafka = context.log.partitions().map_err(Error::from);
        let keeper = checkpoint_node::read_all(context.session).map_err(Error::from);
        let (kafka, keeper) = try_join(kafka, keeper).await?;
        let written = keeper.into_iter().map(|state| {
            (
                state.partition,
                state.progress.map(|written| written.progress),
            )
        });
        Ok(Self::new(kafka, written))
    }

    /// Reads it, and then the marks of these ranges and the tombstones. Never before: a request that becomes unknown
    /// between the two would be seen by neither.
    ///
    /// # Errors
    /// A server could not be asked.
    pub(crate) async fn and_in_doubt<B: Backends>(
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

    /// From what Kafka and what ZooKeeper knows.
    #[must_use]
    pub(crate) fn new(
        kafka: impl IntoIterator<Item = Partition>,
        keeper: impl IntoIterator<Item = (Partition, Option<Checkpoint>)>,
    ) -> Self {
        let mut partitions: BTreeMap<_, _> = kafka
            .into_iter()
            .map(|partition| (partition, None))
            .collect();
        partitions.extend(keeper);
        Self { partitions }
    }

    /// Every partition.
    #[must_use]
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        self.partitions.keys().copied().collect()
    }

    /// Every partition and its progress, if it has any.
    pub(crate) fn progress(&self) -> impl Iterator<Item = (&Partition, Option<&Checkpoint>)> {
        let partitions = self.partitions.iter();
        partitions.map(|(partition, progress)| (partition, progress.as_ref()))
    }

    /// Partitions without progress: of these nothing was counted, or their progress is lost.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = Partition> + '_ {
        let lacking = self
            .partitions
            .iter()
            .filter(|(_, progress)| progress.is_none());
        lacking.map(|(partition, _)| *partition)
    }

    /// Where `range` stands; a partition without progress at 0.
    #[must_use]
    pub(crate) fn of(&self, range: RangeId) -> Offsets {
        self.offsets(|progress| progress.of(range))
    }

    /// The lowest place of any range in scope, partition by partition.
    #[must_use]
    pub(crate) fn lowest(&self, scope: &Scope) -> Offsets {
        let lowest = |progress: &Checkpoint| scope.ranges().map(|range| progress.of(range)).min();
        self.offsets(|progress| lowest(progress).unwrap_or_default())
    }

    /// The highest place of any range in scope, partition by partition.
    #[must_use]
    pub(crate) fn highest(&self, scope: &Scope) -> Offsets {
        let highest = |progress: &Checkpoint| scope.ranges().map(|range| progress.of(range)).max();
        self.offsets(|progress| highest(progress).unwrap_or_default())
    }

    fn offsets(&self, of: impl Fn(&Checkpoint) -> Offset) -> Offsets {
        let offset = |progress: &Option<Checkpoint>| progress.as_ref().map(&of).unwrap_or_default();
        let offsets = self.partitions.iter();
        Offsets(
            offsets
                .map(|(partition, progress)| (*partition, offset(progress)))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_testkit::samples::{BITS, everything, offsets};

    fn progress(a: i64, b: i64) -> Checkpoint {
        Checkpoint::from_ranges(BITS, |range| Offset(if range.0 == 0 { a } else { b }))
    }

    #[test]
    fn a_partition_that_only_kafka_or_only_zookeeper_knows_is_part_of_the_cut() {
        let keeper = [(Partition(1), Some(progress(3, 4))), (Partition(7), None)];
        let cut = BaseCut::new([Partition(0), Partition(1)], keeper);
        assert_eq!(cut.partitions(), [Partition(0), Partition(1), Partition(7)]);
        assert_eq!(
            cut.lacking().collect::<Vec<_>>(),
            [Partition(0), Partition(7)]
        );
        assert_eq!(cut.of(RangeId(1)), offsets(&[(0, 0), (1, 4), (7, 0)]));
    }

    #[test]
    fn the_log_is_read_from_where_the_last_range_in_scope_stands() {
        let keeper = [
            (Partition(0), Some(progress(3, 9))),
            (Partition(1), Some(progress(8, 2))),
        ];
        let cut = BaseCut::new([], keeper);
        assert_eq!(cut.lowest(&everything()), offsets(&[(0, 3), (1, 2)]));
        assert_eq!(cut.highest(&everything()), offsets(&[(0, 9), (1, 8)]));
        let mut second = everything();
        second.first = RangeId(1);
        assert_eq!(cut.lowest(&second), offsets(&[(0, 9), (1, 2)]));
    }
}
