//! Kafka's retention: the log loses its beginning.

use std::rc::Rc;

use stitch_common::offset::{Offset, Partition};

use super::Run;
use crate::history::LogDeletion;

/// Records that are neither in the archive nor in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    partition: Partition,
    from: Offset,
    to: Offset,
}

impl Gap {
    /// Whether a refusal names it.
    pub(super) fn is_named_by(&self, message: &str) -> bool {
        let Self {
            partition,
            from,
            to,
        } = self;
        message.contains(&format!(
            "a gap between offset {from} and offset {to} of partition {partition}"
        ))
    }
}

impl Run {
    /// Deletes the beginning of the log at the moments of the history.
    pub(super) async fn delete_log(self: Rc<Self>) {
        let world = &self.world;
        for LogDeletion { at, unarchived } in self.history.deletions.clone() {
            world.executor.until(at).await;
            if self.faults_over.has_fired() {
                return;
            }
            let partitions: Vec<_> = world.kafka.log.borrow().partitions().collect();
            for partition in partitions {
                let counted = self.counted(partition);
                let kept = if unarchived {
                    counted
                } else {
                    self.readable_elsewhere(partition)
                };
                world.delete_log_below(partition, counted.min(kept));
            }
        }
    }

    /// Up to where a partition is counted in every range.
    fn counted(&self, partition: Partition) -> Offset {
        let ranges = self.world.bits.ranges();
        let counted = ranges.map(|range| self.world.checkpoint_of(partition.0, range.0));
        counted.min().unwrap_or_default()
    }

    /// Up to where a restoration needs nothing of the log: it begins with totals, and goes on in the archive.
    fn readable_elsewhere(&self, partition: Partition) -> Offset {
        let state = self.world.archive.borrow();
        let base = if self.history.totals {
            state.highest_cut(partition, |partition| self.counted(partition))
        } else {
            Offset(0)
        };
        let origin = state.origin(partition).filter(|origin| *origin <= base);
        match origin {
            Some(_) => base.max(state.complete_to(partition)),
            None => base,
        }
    }

    /// The gaps that a restoration has to refuse now.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let log = self.world.kafka.log.borrow();
        let gap = |partition| {
            let (from, begin) = (self.readable_elsewhere(partition), log.begin(partition));
            let origin = self.world.archive.borrow().origin(partition);
            let origin = origin.filter(|origin| *origin > from);
            let to = origin.map_or(begin, |origin| origin.min(begin));
            (from < begin).then_some(Gap {
                partition,
                from,
                to,
            })
        };
        log.partitions().filter_map(gap).collect()
    }
}
