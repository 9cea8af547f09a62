//! The expected totals of one range: sums of all events below its cut, and the cells dirtied by events at or above it.
//! Pure; [`crate::log_follower`] feeds it.
//!
//! Increments below the cut are summed up at once, so that their memory grows with cells and not with events. Those at or
//! above it are kept one by one, because a later cut may lie between any two of them: the cut has to follow the checkpoints
//! ([`TotalsByRange::advance_free`](crate::totals_by_range::TotalsByRange::advance_free)). Where processors are too far
//! behind for that, only the cells of these increments are kept ([`RangeTotals::overflow`]): enough to judge the other cells
//! by this cut, and not to advance it.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use stitch_common::cell::{Amount, Cell, CellSlot, Count, Counter};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::range::TokenInterval;

use crate::scan_key::{ByToken, PackedSlot, ScanKey};

type CounterTotals = BTreeMap<PackedSlot, Count>;

/// A cell: its counter's position in the totals, and its slot.
pub type CellRef = (u32, PackedSlot);

/// An increment at or above the cut.
#[derive(Clone, Copy, Debug)]
struct Increment {
    partition: Partition,
    offset: Offset,
    cell: CellRef,
    amount: Amount,
}

#[derive(Debug, Default)]
pub struct RangeTotals {
    cut: Offsets,
    /// At or above it no event has been begun; unknown before it was read.
    ceiling: Option<Offsets>,
    counters: IndexMap<ScanKey, CounterTotals, ByToken>,
    /// Increments at or above the cut, in the order in which they were read.
    above: Vec<Increment>,
    /// The cells of increments at or above the cut that were not kept; `None` if all of them were.
    overflow: Option<BTreeSet<CellRef>>,
    /// Cells with an event that the cut has passed since [`RangeTotals::take_passed`]; `None` before any cell was judged.
    passed: Option<BTreeSet<CellRef>>,
    cut_state: CutState,
    bytes: usize,
}

/// Who may advance the cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CutState {
    /// It follows the checkpoints.
    #[default]
    Free,
    /// Cells are being judged by it.
    Held,
    /// It is the last one: no event at or above it is of interest.
    Final,
}

/// A cut that lies below the one before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint of partition {partition} went back from {was} to {is}")]
pub struct CheckpointRegression {
    pub partition: Partition,
    pub was: Offset,
    pub is: Offset,
}

/// More increments lie above the cut than memory allows to keep, so the cut cannot advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "more events wait to be counted than memory_mib_max allows to keep, so the cut of the range cannot advance"
)]
pub struct Overflow;

/// Why a cut does not advance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdvanceError {
    #[error(transparent)]
    CheckpointRegression(#[from] CheckpointRegression),
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

// What the allocator takes, measured (`tests/estimates.rs`): a counter beside its key, with its first node of totals; a
// cell beyond the eleven of that node; an entry of a set.
const COUNTER_BYTES: usize = 320;
const CELLS_IN_FIRST_NODE: usize = 11;
const CELL_BYTES: usize = 32;
const SET_ENTRY_BYTES: usize = 20;

impl RangeTotals {
    pub fn new(cut: Offsets) -> Self {
        Self {
            cut,
            ..Self::default()
        }
    }

    /// Every event below it is in the totals once it has been read.
    pub const fn cut(&self) -> &Offsets {
        &self.cut
    }

    /// Sets the ceiling: what lies from the cut up to it makes cells dirty, and nothing else does. It was read after the
    /// cells, and everything below it has been read from the log.
    pub fn set_ceiling(&mut self, ceiling: Offsets) {
        self.ceiling = Some(ceiling);
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let passed = self.passed.as_ref().map_or(0, BTreeSet::len);
        let overflow = self.overflow.as_ref().map_or(0, BTreeSet::len);
        self.bytes + self.bytes_above_cut() + (passed + overflow) * SET_ENTRY_BYTES
    }

    /// About how many bytes the increments at or above the cut take.
    pub fn bytes_above_cut(&self) -> usize {
        self.above.capacity() * size_of::<Increment>()
    }

    /// Adds what one event contributes to one counter. Events of a partition come in the order of their offsets.
    pub fn add(
        &mut self,
        partition: Partition,
        offset: Offset,
        key: &ScanKey,
        slots: impl Iterator<Item = PackedSlot>,
        amount: Amount,
    ) {
        let is_below = offset < self.cut.of(partition);
        if !is_below && self.cut_state == CutState::Final {
            return;
        }
        let counter = self.position(key);
        for slot in slots {
            let cell = (counter, slot);
            if is_below {
                self.count(cell, amount);
            } else if let Some(cells) = &mut self.overflow {
                cells.insert(cell);
            } else {
                self.above.push(Increment {
                    partition,
                    offset,
                    cell,
                    amount,
                });
            }
        }
    }

    /// Advances the cut. Increments that it passes go into the totals.
    ///
    /// # Errors
    /// The cut went back, or [overflowed](RangeTotals::overflow); nothing has changed.
    pub fn advance(&mut self, cut: &Offsets) -> Result<(), AdvanceError> {
        self.check_not_behind(cut)?;
        self.check_all_kept()?;
        let mut above = std::mem::take(&mut self.above);
        above.retain(|entry| {
            let is_passed = entry.offset < cut.of(entry.partition);
            if is_passed {
                self.count(entry.cell, entry.amount);
            }
            !is_passed
        });
        above.shrink_to(above.len().saturating_mul(2));
        self.above = above;
        self.cut = cut.clone();
        Ok(())
    }

    /// Keeps of the increments at or above the cut only their cells. The cut cannot advance any more.
    pub fn overflow(&mut self) {
        let cells = self.overflow.get_or_insert_default();
        cells.extend(
            std::mem::take(&mut self.above)
                .iter()
                .map(|entry| entry.cell),
        );
    }

    /// Checks that all increments at or above the cut were kept.
    pub fn check_all_kept(&self) -> Result<(), Overflow> {
        self.overflow.as_ref().map_or(Ok(()), |_| Err(Overflow))
    }

    /// Keeps the cut where it is, except for [`RangeTotals::advance`], until [`RangeTotals::free_cut`].
    pub(crate) fn hold_cut(&mut self) {
        if self.cut_state == CutState::Free {
            self.cut_state = CutState::Held;
        }
    }

    pub(crate) fn free_cut(&mut self) {
        if self.cut_state == CutState::Held {
            self.cut_state = CutState::Free;
        }
    }

    /// Whether the cut may follow the checkpoints.
    pub(crate) fn has_free_cut(&self) -> bool {
        self.cut_state == CutState::Free && self.overflow.is_none()
    }

    /// Makes the cut the last one. Nothing more is kept of events at or above it.
    pub fn finish(&mut self) {
        self.cut_state = CutState::Final;
        self.above = Vec::new();
        self.overflow = None;
        self.passed = None;
    }

    /// Checks that `cut` is in no partition below this range's cut.
    pub fn check_not_behind(&self, cut: &Offsets) -> Result<(), CheckpointRegression> {
        for (&partition, &was) in &self.cut.0 {
            let is = cut.of(partition);
            if is < was {
                return Err(CheckpointRegression { partition, was, is });
            }
        }
        Ok(())
    }

    /// Starts to note the cells with an event that the cut passes: cells are judged from now on.
    pub fn note_passed(&mut self) {
        self.passed = Some(BTreeSet::new());
    }

    /// Returns, and clears, the cells with an event that the cut has passed: they have to be judged again.
    pub fn take_passed(&mut self) -> Vec<Cell> {
        let passed = self.passed.replace(BTreeSet::new());
        let passed = passed.unwrap_or_default();
        passed.into_iter().map(|cell| self.cell(cell)).collect()
    }

    /// Notes these cells as if the cut had passed an event of theirs, as far as the log can have such cells.
    pub fn judge_again<'a>(&mut self, cells: impl IntoIterator<Item = &'a Cell>) {
        for cell in cells {
            let Some(slot) = PackedSlot::pack(cell.slot) else {
                continue;
            };
            let counter = self.position(&ScanKey::of(cell.counter.clone()));
            self.passed.get_or_insert_default().insert((counter, slot));
        }
    }

    /// The dirty cells: those with an event from the cut up to the ceiling. They cannot be judged; no other cell can have
    /// been written by an event that is not in the totals.
    pub fn dirty(&self) -> BTreeSet<Cell> {
        let cells = self.dirty_refs().into_iter();
        cells.map(|cell| self.cell(cell)).collect()
    }

    pub fn dirty_count(&self) -> usize {
        self.dirty_refs().len()
    }

    fn dirty_refs(&self) -> BTreeSet<CellRef> {
        let begun = |entry: &&Increment| {
            let ceiling = self.ceiling.as_ref();
            ceiling.is_none_or(|ceiling| entry.offset < ceiling.of(entry.partition))
        };
        let above = self.above.iter().filter(begun).map(|entry| entry.cell);
        above
            .chain(self.overflow.iter().flatten().copied())
            .collect()
    }

    /// A partition with an event of the range at or above the cut and below `to`.
    ///
    /// # Errors
    /// It is not known.
    pub fn event_between_cut_and(&self, to: &Offsets) -> Result<Option<Partition>, Overflow> {
        self.check_all_kept()?;
        let passed = |entry: &&Increment| entry.offset < to.of(entry.partition);
        Ok(self.above.iter().find(passed).map(|entry| entry.partition))
    }

    /// What the events below the cut add up to in this cell.
    pub fn expected(&self, key: &ScanKey, slot: CellSlot) -> Count {
        let totals = self.counters.get(key);
        let count = totals.zip(PackedSlot::pack(slot));
        count
            .and_then(|(totals, slot)| totals.get(&slot).copied())
            .unwrap_or_default()
    }

    /// The number of cells whose total is not 0.
    pub fn cells(&self) -> u64 {
        let totals = self.counters.values().flat_map(BTreeMap::values);
        let cells = totals.filter(|total| **total != Count(0)).count();
        u64::try_from(cells).unwrap_or(u64::MAX)
    }

    /// The positions of the counters in this interval, in the order of the scan.
    pub fn in_scan_order(&self, within: TokenInterval) -> Vec<u32> {
        let positions = (0..self.counters.len()).map(position);
        let inside = positions.filter(|counter| within.contains(self.scan_key(*counter).token()));
        let mut order: Vec<u32> = inside.collect();
        order.sort_unstable_by(|a, b| self.scan_key(*a).cmp(self.scan_key(*b)));
        order
    }

    /// The counter at this position.
    pub fn scan_key(&self, counter: u32) -> &ScanKey {
        let entry = self.counters.get_index(index(counter));
        entry.expect("positions come from these totals").0
    }

    /// The totals of the counter at this position that are not 0, in the order of its cells.
    pub fn totals(&self, counter: u32) -> impl Iterator<Item = (CellSlot, Count)> + '_ {
        let (_, totals) = self
            .counters
            .get_index(index(counter))
            .expect("positions come from these totals");
        let totals = totals.iter().filter(|(_, total)| **total != Count(0));
        totals.map(|(slot, total)| (slot.unpack(), *total))
    }

    fn position(&mut self, key: &ScanKey) -> u32 {
        if let Some(known) = self.counters.get_index_of(key) {
            return position(known);
        }
        self.bytes += COUNTER_BYTES + key.counter().key.0.len();
        let (added, _) = self.counters.insert_full(key.clone(), CounterTotals::new());
        position(added)
    }

    fn count(&mut self, (counter, slot): CellRef, amount: Amount) {
        if let Some(passed) = &mut self.passed {
            passed.insert((counter, slot));
        }
        let (_, totals) = self
            .counters
            .get_index_mut(index(counter))
            .expect("positions come from these totals");
        let before = totals.len();
        let total = totals.entry(slot).or_default();
        *total = total.plus(amount);
        if totals.len() > before.max(CELLS_IN_FIRST_NODE) {
            self.bytes += CELL_BYTES;
        }
    }

    fn cell(&self, (counter, slot): CellRef) -> Cell {
        let counter: &Counter = self.scan_key(counter).counter();
        Cell {
            counter: counter.clone(),
            slot: slot.unpack(),
        }
    }
}

fn index(counter: u32) -> usize {
    usize::try_from(counter).expect("32 bits fit")
}

fn position(index: usize) -> u32 {
    u32::try_from(index).expect("memory is bounded far below 2^32 counters a range")
}

#[cfg(test)]
mod tests;
