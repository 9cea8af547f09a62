//! The expected totals of one range: sums of all events below its cut, and the cells dirtied by events at or above it.
//! Pure; [`crate::log_follower`] feeds it.
//!
//! Memory grows with cells, not with events: increments below the cut are summed up at once, and those at or above it are
//! kept one by one only while they are few. Beyond that, [`RangeTotals::forget`] keeps only their cells, and
//! [`RangeTotals::advance`] returns which part of the log has to be read once more.

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
    counters: IndexMap<ScanKey, CounterTotals, ByToken>,
    /// Increments at or above the cut, in the order in which they were read.
    above: Vec<Increment>,
    /// Cells with an event that the cut has passed since [`RangeTotals::take_passed`]; `None` before any cell was judged.
    passed: Option<BTreeSet<CellRef>>,
    forgotten: Forgotten,
    bytes: usize,
}

/// Increments at or above the cut of which only the cells were kept.
#[derive(Debug, Default)]
struct Forgotten {
    cells: BTreeSet<CellRef>,
    /// Per partition, from the first forgotten increment to behind the last.
    spans: BTreeMap<Partition, Span>,
}

/// A span of one partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Offset,
    /// Exclusive.
    pub to: Offset,
}

/// A cut that lies below the one before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint of partition {partition} went back from {was} to {is}")]
pub struct CheckpointRegression {
    pub partition: Partition,
    pub was: Offset,
    pub is: Offset,
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

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let passed = self.passed.as_ref().map_or(0, BTreeSet::len);
        let sets = (passed + self.forgotten.cells.len()) * SET_ENTRY_BYTES;
        self.bytes + self.bytes_above_cut() + sets
    }

    /// About how many bytes the increments above the cut take: those that [`RangeTotals::forget`] would free.
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
        let counter = self.position(key);
        let below = offset < self.cut.of(partition);
        for slot in slots {
            let cell = (counter, slot);
            if below {
                self.count(cell, amount);
            } else if self.forgotten.spans.is_empty() {
                self.above.push(Increment {
                    partition,
                    offset,
                    cell,
                    amount,
                });
            } else {
                self.forgotten.add(partition, offset, cell);
            }
        }
    }

    /// Adds what one event below the cut contributes to one counter, when it is read once more.
    pub fn add_again(
        &mut self,
        key: &ScanKey,
        slots: impl Iterator<Item = PackedSlot>,
        amount: Amount,
    ) {
        let counter = self.position(key);
        for slot in slots {
            self.count((counter, slot), amount);
        }
    }

    /// Advances the cut. Increments that it passes go into the totals. Returns the forgotten spans, which have to be read
    /// once more and given to [`RangeTotals::add_again`] before the totals are complete.
    ///
    /// # Errors
    /// The cut went back; nothing has changed.
    pub fn advance(
        &mut self,
        cut: &Offsets,
    ) -> Result<BTreeMap<Partition, Span>, CheckpointRegression> {
        self.check_not_behind(cut)?;
        let above = std::mem::take(&mut self.above);
        for entry in above {
            if entry.offset < cut.of(entry.partition) {
                self.count(entry.cell, entry.amount);
            } else {
                self.above.push(entry);
            }
        }
        self.cut = cut.clone();
        Ok(self.forgotten.advance(cut))
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

    /// Keeps of the increments at or above the cut only their cells.
    pub fn forget(&mut self) {
        for entry in std::mem::take(&mut self.above) {
            self.forgotten
                .add(entry.partition, entry.offset, entry.cell);
        }
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

    /// The dirty cells: those with an event at or above the cut. They cannot be judged; no other cell can have been
    /// written by an event that is not in the totals.
    pub fn dirty(&self) -> BTreeSet<Cell> {
        let cells = self.dirty_refs().into_iter();
        cells.map(|cell| self.cell(cell)).collect()
    }

    pub fn dirty_count(&self) -> usize {
        self.dirty_refs().len()
    }

    fn dirty_refs(&self) -> BTreeSet<CellRef> {
        let above = self.above.iter().map(|entry| entry.cell);
        above.chain(self.forgotten.cells.iter().copied()).collect()
    }

    /// From the lowest offset of an event at or above the cut to behind the highest, for each partition with any.
    pub fn spans_above_cut(&self) -> BTreeMap<Partition, Span> {
        let mut spans = self.forgotten.spans.clone();
        for entry in &self.above {
            include(&mut spans, entry.partition, entry.offset);
        }
        spans
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

impl Forgotten {
    fn add(&mut self, partition: Partition, offset: Offset, cell: CellRef) {
        self.cells.insert(cell);
        include(&mut self.spans, partition, offset);
    }

    /// Removes and returns what of the forgotten spans lies below `cut`.
    fn advance(&mut self, cut: &Offsets) -> BTreeMap<Partition, Span> {
        let mut below = BTreeMap::new();
        for (&partition, span) in &mut self.spans {
            let to = span.to.min(cut.of(partition));
            if span.from < to {
                let from = std::mem::replace(&mut span.from, to);
                below.insert(partition, Span { from, to });
            }
        }
        self.spans.retain(|_, span| span.from < span.to);
        if self.spans.is_empty() {
            self.cells.clear();
        }
        below
    }
}

fn include(spans: &mut BTreeMap<Partition, Span>, partition: Partition, offset: Offset) {
    let span = spans.entry(partition).or_insert(Span {
        from: offset,
        to: offset.next(),
    });
    span.from = span.from.min(offset);
    span.to = span.to.max(offset.next());
}

fn index(counter: u32) -> usize {
    usize::try_from(counter).expect("32 bits fit")
}

fn position(index: usize) -> u32 {
    u32::try_from(index).expect("memory is bounded far below 2^32 counters a range")
}

#[cfg(test)]
mod tests;
