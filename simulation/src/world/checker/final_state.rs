//! What must hold at the end of a history, once faults have ended.

use stitch_common::checkpoint::Ceiling;
use stitch_common::offset::Offset;

use super::{Finding, Kind};
use crate::world::World;

impl World {
    /// Whether the checkpoints have reached the end of the log.
    pub(crate) fn is_caught_up(&self) -> bool {
        let log = self.kafka.log.borrow();
        log.partitions().all(|partition| {
            let end = log.end(partition);
            let mut ranges = self.bits.ranges();
            ranges.all(|range| self.checkpoint_of(partition.0, range.0) >= end)
        })
    }

    /// Checks that drift before the last restoration has a cause.
    pub(crate) fn check_drift_is_explained(&self) {
        self.check_counts(Kind::Unexplained, |cause| cause.is_none());
    }

    /// Checks that every cell equals the total of the whole log.
    pub(crate) fn check_counts_are_right(&self) {
        self.check_counts(Kind::WrongCount, |_| true);
    }

    fn check_counts(&self, kind: Kind, is_violation: impl Fn(Option<&str>) -> bool) {
        let checker = self.checker.borrow();
        let table = self.cluster.table.borrow();
        let mut wrong = None;
        for (index, checked) in checker.cells.iter().enumerate() {
            let expected = checker.expected(index, |_| Offset(i64::MAX));
            let count = table.count(&checked.cell).0;
            if count != expected && is_violation(checked.cause) {
                wrong = Some(format!(
                    "{} holds {count} instead of {expected}",
                    checked.cell
                ));
            }
        }
        drop((checker, table));
        if let Some(what) = wrong {
            self.report(Finding::new(kind, what));
        }
    }

    /// Checks that no process has left a node in ZooKeeper, that every rejected record was copied, and that every partition was
    /// handed over with nothing begun beyond its checkpoint. Without a restoration, in-doubt markers
    /// stay, and the dead members that left them.
    pub(crate) fn check_nothing_is_left(&self, was_restored: bool) {
        let tree = self.zookeeper.tree.borrow();
        let transient = [
            "/alive/",
            "/suspended",
            "/lock-",
            "__READ__",
            "__WRIT__",
            "/revocations/",
        ];
        let in_doubt = ["/members/", "/in-doubt-"];
        let in_doubt = in_doubt.into_iter().filter(|_| was_restored);
        let transient = transient.into_iter().chain(in_doubt);
        let left = tree
            .paths()
            .find(|path| transient.clone().any(|part| path.contains(part)));
        let left = left.map(|path| format!("{path} is left behind"));
        drop(tree);
        let checker = self.checker.borrow();
        let dead_letters = self.kafka.dead_letters.borrow();
        let rejected = checker.records.iter().filter(|(_, event)| event.is_none());
        let uncopied = rejected
            .map(|(position, _)| position)
            .find(|position| !dead_letters.contains(position))
            .map(|(partition, offset)| {
                format!(
                    "the rejected record at offset {offset} of partition {partition} was not copied"
                )
            });
        drop(checker);
        let checkpoints = self.checkpoints.borrow();
        let open = checkpoints
            .iter()
            .find(|(_, it)| it.ceiling != Ceiling::AtCheckpoint);
        let open = open.map(|(partition, it)| {
            format!(
                "partition {partition} was handed over with its ceiling {:?}",
                it.ceiling
            )
        });
        drop(checkpoints);
        if let Some(what) = left.or(uncopied).or(open) {
            self.report(Finding::new(Kind::LeftOver, what));
        }
    }
}
