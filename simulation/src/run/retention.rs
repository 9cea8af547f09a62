//! Kafka's retention: the log loses its beginning.

use std::collections::BTreeMap;
use std::rc::Rc;

use stitch_common::offset::{Offset, Partition};

use super::Run;
use crate::history::LogDeletion;

/// A cut of totals.
type Cut = BTreeMap<Partition, Offset>;

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
            let base = self.base();
            for partition in partitions {
                let counted = self.counted(partition);
                let kept = if unarchived {
                    counted
                } else {
                    self.readable_elsewhere(&base, partition)
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

    /// The cut that a restoration begins with: the one with most records, of those behind which every record can be read.
    fn base(&self) -> Cut {
        if !self.history.totals {
            return Cut::new();
        }
        let cuts = self.world.archive.borrow();
        let cuts = cuts.usable_cuts(|partition| self.counted(partition));
        let log = self.world.kafka.log.borrow();
        let is_whole = |cut: &&Cut| {
            let mut partitions = log.partitions();
            partitions
                .all(|partition| self.readable_elsewhere(cut, partition) >= log.begin(partition))
        };
        let whole = cuts.iter().rfind(is_whole);
        whole.or(cuts.last()).cloned().unwrap_or_default()
    }

    /// Up to where a restoration needs nothing of the log: it begins with totals, and goes on in the archive.
    fn readable_elsewhere(&self, base: &Cut, partition: Partition) -> Offset {
        let state = self.world.archive.borrow();
        let base = base.get(&partition).copied().unwrap_or_default();
        let origin = state.origin(partition).filter(|origin| *origin <= base);
        match origin {
            Some(_) => base.max(state.complete_to(partition)),
            None => base,
        }
    }

    /// The gaps that a restoration has to refuse now.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let (base, log) = (self.base(), self.world.kafka.log.borrow());
        let gap = |partition| {
            let from = self.readable_elsewhere(&base, partition);
            let begin = log.begin(partition);
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
