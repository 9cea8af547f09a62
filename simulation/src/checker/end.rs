//! The end of a history: what must hold once faults have stopped.

use super::{Finding, Kind};
use crate::world::World;

impl World {
    /// Whether every event of the log is counted, as far as progress says.
    pub(crate) fn is_caught_up(&self) -> bool {
        let count = self.topic.records.borrow().len();
        (0..count).all(|partition| {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            let end = self.end_of(partition);
            self.bits
                .ranges()
                .all(|range| self.progress_of(number, range.0).0 >= end)
        })
    }

    /// Drift before the last restoration has a cause that was seen.
    pub(crate) fn drift_is_explained(&self) {
        let checker = self.checker.borrow();
        let cells = self.cluster.cells.borrow();
        let mut unexplained = None;
        for (index, known) in checker.cells.iter().enumerate() {
            let expected = checker.expected(index, |_| stitch_common::offset::Offset(i64::MAX));
            let truth = cells.truth(&known.cell).0;
            if truth != expected && known.cause.is_none() {
                unexplained = Some(format!(
                    "{} holds {truth} instead of {expected}",
                    known.cell
                ));
            }
        }
        drop((checker, cells));
        if let Some(what) = unexplained {
            self.find(Finding::new(Kind::Unexplained, what));
        }
    }

    /// Every cell holds what the whole log adds up to.
    pub(crate) fn counts_are_right(&self) {
        let checker = self.checker.borrow();
        let cells = self.cluster.cells.borrow();
        let mut wrong = None;
        for (index, known) in checker.cells.iter().enumerate() {
            let expected = checker.expected(index, |_| stitch_common::offset::Offset(i64::MAX));
            let truth = cells.truth(&known.cell).0;
            if truth != expected {
                wrong = Some(format!(
                    "{} holds {truth} instead of {expected}",
                    known.cell
                ));
            }
        }
        drop((checker, cells));
        if let Some(what) = wrong {
            self.find(Finding::new(Kind::WrongCount, what));
        }
    }

    /// Nothing is left in ZooKeeper that belongs to a process, and every rejected record was copied away.
    pub(crate) fn nothing_is_left(&self) {
        let tree = self.keeper.tree.borrow();
        let markers = [
            "/members/",
            "/lock-",
            "__READ__",
            "__WRIT__",
            "/revocations/",
            "/in-doubt-",
        ];
        let left = tree
            .paths()
            .find(|path| markers.iter().any(|marker| path.contains(marker)));
        let left = left.map(|path| format!("{path} is left behind"));
        drop(tree);
        let checker = self.checker.borrow();
        let dead_letters = self.topic.dead_letters.borrow();
        let rejected = checker.places.iter().filter(|(_, event)| event.is_none());
        let uncopied = rejected
            .map(|(place, _)| place)
            .find(|place| !dead_letters.contains(place))
            .map(|(partition, offset)| {
                format!(
                    "the rejected record at offset {offset} of partition {partition} was not copied"
                )
            });
        drop(checker);
        if let Some(what) = left.or(uncopied) {
            self.find(Finding::new(Kind::LeftOver, what));
        }
    }
}
