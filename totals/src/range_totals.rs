//! What the log adds up to in one range: totals of all events below the range's cut, and what is known of the events
//! at or above it. Pure; [`crate::log_follower`] feeds it.
//!
//! Memory grows with cells, not with events: what lies below the cut is summed up at once, and what lies above it is
//! kept event by event only while that is small. Beyond, [`RangeTotals::forget`] keeps the cells alone, and
//! [`RangeTotals::advance`] tells which part of the log has to be read once more.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use stitch_common::cell::{Amount, Cell, CellSlot, Count, Counter};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::range::TokenInterval;

use crate::scan_key::{ByToken, PackedSlot, ScanKey};

/// The totals of one counter.
type CounterTotals = BTreeMap<PackedSlot, Count>;

/// A cell of a ledger: its counter's position, and its slot.
pub type CellRef = (u32, PackedSlot);

/// An increment at or above the cut.
#[derive(Clone, Copy, Debug)]
struct Later {
    partition: Partition,
    offset: Offset,
    cell: CellRef,
    amount: Amount,
}

/// What the log adds up to in one range.
#[derive(Debug, Default)]
pub struct RangeTotals {
    cut: Offsets,
    counters: IndexMap<ScanKey, CounterTotals, ByToken>,
    /// Increments at or above the cut, in the order in which they were read.
    later: Vec<Later>,
    /// Cells with an event that the cut has passed since they were last taken; `None` before any cell was judged.
    passed: Option<BTreeSet<CellRef>>,
    forgotten: Forgotten,
    bytes: usize,
}

/// Increments at or above the cut of which only the cells are known any more.
#[derive(Debug, Default)]
struct Forgotten {
    cells: BTreeSet<CellRef>,
    /// Per partition: from the first forgotten increment to behind the last.
    spans: BTreeMap<Partition, Span>,
}

/// Part of one partition's log: from an offset to behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first offset.
    pub from: Offset,
    /// The offset behind the last.
    pub to: Offset,
}

/// Why a cut cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("progress of partition {partition} went back from {was} to {is}")]
pub struct WentBack {
    /// Which partition.
    pub partition: Partition,
    /// The cut so far.
    pub was: Offset,
    /// The cut that was given.
    pub is: Offset,
}

// What the allocator takes, measured (`tests/estimates.rs`): a counter beside its key, with its first node of totals; a
// cell beyond the eleven of that node; an entry of a set.
const COUNTER_BYTES: usize = 320;
const CELLS_IN_FIRST_NODE: usize = 11;
const CELL_BYTES: usize = 32;
const SET_ENTRY_BYTES: usize = 20;

impl RangeTotals {
    /// An empty ledger whose range has this cut.
    #[must_use]
    pub fn new(cut: Offsets) -> Self {
        Self {
            cut,
            ..Self::default()
        }
    }

    /// Every event below it is in the totals, once it has been read.
    #[must_use]
    pub const fn cut(&self) -> &Offsets {
        &self.cut
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let passed = self.passed.as_ref().map_or(0, BTreeSet::len);
        let sets = (passed + self.forgotten.cells.len()) * SET_ENTRY_BYTES;
        self.bytes + self.later_bytes() + sets
    }

    /// About how much memory the events above the cut take: what [`RangeTotals::forget`] would free.
    #[must_use]
    pub fn later_bytes(&self) -> usize {
        self.later.capacity() * size_of::<Later>()
    }

    /// Takes in what one event adds to one counter. Events of a partition come in the order of their offsets.
    pub fn take(
        &mut self,
        partition: Partition,
        offset: Offset,
        place: &ScanKey,
        slots: impl Iterator<Item = PackedSlot>,
        amount: Amount,
    ) {
        let counter = self.position(place);
        let below = offset < self.cut.of(partition);
        for slot in slots {
            let cell = (counter, slot);
            if below {
                self.pass(cell, amount);
            } else if self.forgotten.spans.is_empty() {
                self.later.push(Later {
                    partition,
                    offset,
                    cell,
                    amount,
                });
            } else {
                self.forgotten.take(partition, offset, cell);
            }
        }
    }

    /// Takes in what one event below the cut adds to one counter, when it is read once more.
    pub fn retake(
        &mut self,
        place: &ScanKey,
        slots: impl Iterator<Item = PackedSlot>,
        amount: Amount,
    ) {
        let counter = self.position(place);
        for slot in slots {
            self.pass((counter, slot), amount);
        }
    }

    /// Moves the cut on. What it passes goes into the totals; of what was forgotten, these spans have to be read once
    /// more and given to [`RangeTotals::retake`] before the totals are right.
    ///
    /// # Errors
    /// The cut went back; nothing has changed.
    pub fn advance(&mut self, cut: &Offsets) -> Result<BTreeMap<Partition, Span>, WentBack> {
        self.ahead(cut)?;
        let later = std::mem::take(&mut self.later);
        for entry in later {
            if entry.offset < cut.of(entry.partition) {
                self.pass(entry.cell, entry.amount);
            } else {
                self.later.push(entry);
            }
        }
        self.cut = cut.clone();
        Ok(self.forgotten.advance(cut))
    }

    /// Whether `cut` is nowhere below this ledger's.
    ///
    /// # Errors
    /// Where it is below.
    pub fn ahead(&self, cut: &Offsets) -> Result<(), WentBack> {
        for (&partition, &was) in &self.cut.0 {
            let is = cut.of(partition);
            if is < was {
                return Err(WentBack { partition, was, is });
            }
        }
        Ok(())
    }

    /// Keeps of the events at or above the cut only which cells they touch.
    pub fn forget(&mut self) {
        for entry in std::mem::take(&mut self.later) {
            self.forgotten
                .take(entry.partition, entry.offset, entry.cell);
        }
    }

    /// From now on, notes the cells with an event that the cut passes: the judging begins.
    pub fn note_passed(&mut self) {
        self.passed = Some(BTreeSet::new());
    }

    /// The cells with an event that the cut has passed since this was last asked: what has to be judged again.
    pub fn take_passed(&mut self) -> Vec<Cell> {
        let passed = self.passed.replace(BTreeSet::new());
        let passed = passed.unwrap_or_default();
        passed.into_iter().map(|cell| self.cell(cell)).collect()
    }

    /// The cells with an event at or above the cut: what cannot be judged, and no other cell can have been written
    /// by an event that is not in the totals.
    #[must_use]
    pub fn dirty(&self) -> BTreeSet<Cell> {
        let cells = self.touched_refs().into_iter();
        cells.map(|cell| self.cell(cell)).collect()
    }

    /// How many cells have an event at or above the cut.
    #[must_use]
    pub fn dirty_number(&self) -> usize {
        self.touched_refs().len()
    }

    fn touched_refs(&self) -> BTreeSet<CellRef> {
        let later = self.later.iter().map(|entry| entry.cell);
        later.chain(self.forgotten.cells.iter().copied()).collect()
    }

    /// The lowest and the highest offset of events at or above the cut, for each partition that has any.
    #[must_use]
    pub fn later_spans(&self) -> BTreeMap<Partition, Span> {
        let mut spans = self.forgotten.spans.clone();
        for entry in &self.later {
            include(&mut spans, entry.partition, entry.offset);
        }
        spans
    }

    /// What the events below the cut add up to in this cell.
    #[must_use]
    pub fn expected(&self, place: &ScanKey, slot: CellSlot) -> Count {
        let totals = self.counters.get(place);
        let count = totals.zip(PackedSlot::pack(slot));
        count
            .and_then(|(totals, slot)| totals.get(&slot).copied())
            .unwrap_or_default()
    }

    /// How many cells the log expects to be other than 0.
    #[must_use]
    pub fn cells(&self) -> u64 {
        let totals = self.counters.values().flat_map(BTreeMap::values);
        count(totals.filter(|total| **total != Count(0)))
    }

    /// The positions of the counters of this interval, in the order of the scan.
    #[must_use]
    pub fn in_scan_order(&self, within: TokenInterval) -> Vec<u32> {
        let positions = (0..self.counters.len()).map(position);
        let inside = positions.filter(|counter| within.contains(self.place(*counter).token()));
        let mut order: Vec<u32> = inside.collect();
        order.sort_unstable_by(|a, b| self.place(*a).cmp(self.place(*b)));
        order
    }

    /// The counter at this position.
    #[must_use]
    pub fn place(&self, counter: u32) -> &ScanKey {
        let entry = self.counters.get_index(index(counter));
        entry.expect("positions come from this ledger").0
    }

    /// The totals of the counter at this position that are not 0, in the order of its cells.
    pub fn totals(&self, counter: u32) -> impl Iterator<Item = (CellSlot, Count)> + '_ {
        let (_, totals) = self
            .counters
            .get_index(index(counter))
            .expect("positions come from this ledger");
        let totals = totals.iter().filter(|(_, total)| **total != Count(0));
        totals.map(|(slot, total)| (slot.unpack(), *total))
    }

    fn position(&mut self, place: &ScanKey) -> u32 {
        if let Some(known) = self.counters.get_index_of(place) {
            return position(known);
        }
        self.bytes += COUNTER_BYTES + place.counter().key.0.len();
        let (added, _) = self
            .counters
            .insert_full(place.clone(), CounterTotals::new());
        position(added)
    }

    fn pass(&mut self, (counter, slot): CellRef, amount: Amount) {
        if let Some(passed) = &mut self.passed {
            passed.insert((counter, slot));
        }
        let (_, totals) = self
            .counters
            .get_index_mut(index(counter))
            .expect("positions come from this ledger");
        let before = totals.len();
        let total = totals.entry(slot).or_default();
        *total = total.plus(amount);
        if totals.len() > before.max(CELLS_IN_FIRST_NODE) {
            self.bytes += CELL_BYTES;
        }
    }

    fn cell(&self, (counter, slot): CellRef) -> Cell {
        let counter: &Counter = self.place(counter).counter();
        Cell {
            counter: counter.clone(),
            slot: slot.unpack(),
        }
    }
}

impl Forgotten {
    fn take(&mut self, partition: Partition, offset: Offset, cell: CellRef) {
        self.cells.insert(cell);
        include(&mut self.spans, partition, offset);
    }

    /// What of the forgotten spans lies below `cut`.
    fn advance(&mut self, cut: &Offsets) -> BTreeMap<Partition, Span> {
        let mut again = BTreeMap::new();
        for (&partition, span) in &mut self.spans {
            let to = span.to.min(cut.of(partition));
            if span.from < to {
                again.insert(
                    partition,
                    Span {
                        from: span.from,
                        to,
                    },
                );
                span.from = to;
            }
        }
        self.spans.retain(|_, span| span.from < span.to);
        if self.spans.is_empty() {
            self.cells.clear();
        }
        again
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

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |count, _| count + 1)
}

#[cfg(test)]
mod tests;
