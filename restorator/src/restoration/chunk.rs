//! What is corrected under one lock. Where more is wrong, the range is locked several times, and its events are counted in
//! between: no event waits longer, however much is wrong.
//!
//! The cells of a chunk become right under its lock, by the same steps as all others, and count as judged from then on:
//! the totals note which of them the cut passes later, and they are judged again. Only the last lock, for everything that
//! may still be wrong, verifies the range.

use stitch_common::cell::Cell;

use crate::plan::judge::Verdicts;
use stitch_totals::range_totals::RangeTotals;

/// Cells that are known to be wrong, and are corrected under one lock.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    cells: Vec<Cell>,
}

impl Chunk {
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }
}

/// The chunks of one range. Together they have no more cells than were wrong before the first, so that a range in which
/// cells become wrong again and again still reaches its last lock.
#[derive(Debug, Default)]
pub struct Chunks {
    left: Option<usize>,
}

impl Chunks {
    /// The next chunk, of at most `cells_max` cells; `None` if the next lock is for everything that is left.
    pub fn next(
        &mut self,
        cells_max: usize,
        verdicts: &Verdicts,
        totals: &RangeTotals,
    ) -> Option<Chunk> {
        if verdicts.wrong().len() <= cells_max {
            return None;
        }
        // A dirty cell may be right by now: only the last lock can tell.
        let dirty = totals.dirty();
        let wrong = || verdicts.wrong_and_clean(&dirty).map(|(cell, _)| cell);
        let number = wrong().count();
        if number <= cells_max {
            return None;
        }
        let left = self.left.unwrap_or(number);
        if left <= cells_max {
            return None;
        }
        self.left = Some(left - cells_max);
        let cells = wrong().take(cells_max).cloned().collect();
        Some(Chunk { cells })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world::all as cell;
    use stitch_common::cell::{Amount, Count};
    use stitch_common::offset::{Offset, Partition};
    use stitch_testkit::samples::offsets;
    use stitch_totals::scan_key::{PackedSlot, ScanKey};

    fn wrong(names: &[&str]) -> Verdicts {
        let mut verdicts = Verdicts::default();
        for name in names {
            verdicts.judge(cell(name), Count(1), Count(0));
        }
        verdicts
    }

    fn names(chunk: Option<Chunk>) -> Vec<String> {
        let cells = chunk.iter().flat_map(Chunk::cells);
        cells.map(|cell| cell.counter.key.0.to_string()).collect()
    }

    #[test]
    fn cells_that_fit_under_one_lock_are_not_split_into_chunks() {
        let mut chunks = Chunks::default();
        let wrong = wrong(&["a", "b"]);
        assert_eq!(chunks.next(2, &wrong, &RangeTotals::default()), None);
    }

    #[test]
    fn more_cells_are_corrected_in_chunks_and_the_last_lock_is_for_the_rest() {
        let mut chunks = Chunks::default();
        let totals = RangeTotals::default();
        let mut next = |cells_max, keys: &[&str]| chunks.next(cells_max, &wrong(keys), &totals);
        assert_eq!(names(next(2, &["a", "b", "c", "d", "e", "f"])), ["a", "b"]);
        assert_eq!(
            names(next(1, &["c", "d", "e", "f"])),
            ["c"],
            "the size may change"
        );
        assert_eq!(names(next(2, &["d", "e", "f"])), ["d", "e"]);
        assert_eq!(next(2, &["f"]), None);
    }

    #[test]
    fn cells_that_become_wrong_again_and_again_do_not_postpone_the_last_lock() {
        let mut chunks = Chunks::default();
        let (totals, verdicts) = (RangeTotals::default(), wrong(&["a", "b", "c"]));
        assert!(chunks.next(1, &verdicts, &totals).is_some());
        assert!(chunks.next(1, &verdicts, &totals).is_some());
        assert_eq!(chunks.next(1, &verdicts, &totals), None);
    }

    fn totals_with_dirty(names: &[&str]) -> RangeTotals {
        let mut totals = RangeTotals::new(offsets(&[(0, 0)]));
        for (name, offset) in names.iter().zip(3..) {
            let key = ScanKey::of(cell(name).counter);
            let slots = PackedSlot::pack(cell(name).slot).into_iter();
            totals.add(Partition(0), Offset(offset), &key, slots, Amount(1));
        }
        totals
    }

    #[test]
    fn a_range_whose_wrong_cells_are_all_dirty_is_left_to_the_last_lock() {
        let totals = totals_with_dirty(&["a", "b", "c"]);
        let verdicts = wrong(&["a", "b", "c"]);
        assert_eq!(Chunks::default().next(1, &verdicts, &totals), None);
    }

    #[test]
    fn a_dirty_cell_is_left_to_the_last_lock() {
        let totals = totals_with_dirty(&["a"]);
        let mut chunks = Chunks::default();
        let chunk = chunks.next(1, &wrong(&["a", "b", "c"]), &totals);
        assert_eq!(names(chunk), ["b"]);
        assert_eq!(chunks.next(1, &wrong(&["a", "c"]), &totals), None);
    }
}
