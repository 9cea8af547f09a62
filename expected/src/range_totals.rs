//! The part of the expected totals of one range that is in memory: sums of events below its cut, and the cells dirtied by
//! events at or above it. Pure; [`crate::log_follower`] feeds it. What lies below the events that it is given is in totals
//! at a cut; what it has summed up can be taken out and spilled ([`RangeTotals::take_counted`]): parts of a sum.
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

use stitch_totals::scan_key::{ByToken, PackedSlot, ScanKey};
use stitch_totals::sorted::tokens::TokenSelection;

/// The counts of one counter.
pub type CounterTotals = BTreeMap<PackedSlot, Count>;

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
    /// Cells with an event that the cut has passed since [`RangeTotals::take_passed`], and what these events add up to;
    /// `None` before any cell was judged, and once they were [forgotten](RangeTotals::forget_passed).
    passed: Option<BTreeMap<CellRef, Amount>>,
    /// The tokens whose cells are being judged; `None` for all of the range.
    part: Option<TokenInterval>,
    /// The number of counts that were taken out.
    taken_counts: u64,
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

// What the allocator takes, measured (`tests/estimates.rs`): a counter beside its key; its first node of totals; a cell
// beyond the eleven of that node; an entry of a set.
const COUNTER_BYTES: usize = 160;
const FIRST_NODE_BYTES: usize = 160;
const CELLS_IN_FIRST_NODE: usize = 11;
const CELL_BYTES: usize = 32;
const SET_ENTRY_BYTES: usize = 20;
const PASSED_ENTRY_BYTES: usize = 32;

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
        let overflow = self.overflow.as_ref().map_or(0, BTreeSet::len);
        self.bytes_counted()
            + self.bytes_above_cut()
            + self.bytes_passed()
            + overflow * SET_ENTRY_BYTES
    }

    /// About how many bytes the cells take that the cut has passed, without their counters.
    pub(crate) fn bytes_passed(&self) -> usize {
        self.passed.as_ref().map_or(0, BTreeMap::len) * PASSED_ENTRY_BYTES
    }

    /// About how many bytes the counts below the cut take, and the counters of all cells.
    pub const fn bytes_counted(&self) -> usize {
        self.bytes
    }

    /// About how many bytes the increments at or above the cut take.
    pub fn bytes_above_cut(&self) -> usize {
        self.above.capacity() * size_of::<Increment>()
    }

    /// Adds what an event below the cut contributes to one counter.
    pub fn add_below(
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
        let above = std::mem::take(&mut self.above);
        cells.extend(above.iter().map(|entry| entry.cell));
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

    /// Restricts what is dirty, and what is noted as passed, to the cells of `part`, of which none has been judged; `None` for
    /// all cells of the range. Nothing is noted until [`RangeTotals::note_passed`].
    pub fn judge_part(&mut self, part: Option<TokenInterval>) {
        self.part = part;
        self.passed = None;
    }

    /// The tokens whose cells are being judged, if these are not all of the range.
    pub const fn part(&self) -> Option<TokenInterval> {
        self.part
    }

    fn is_in_part(&self, (counter, _): CellRef) -> bool {
        let is_in = |part: &TokenInterval| part.contains(self.scan_key(counter).token());
        self.part.as_ref().is_none_or(is_in)
    }

    /// Starts to note the cells with an event that the cut passes: cells are judged from now on.
    pub fn note_passed(&mut self) {
        self.passed = Some(BTreeMap::new());
    }

    /// Returns, and clears, the cells with an event that the cut has passed, and what these events add up to: the cells
    /// have to be judged again. `None` if they were not noted: then every cell has to be. From now on they are noted.
    pub fn take_passed(&mut self) -> Option<Vec<(Cell, Amount)>> {
        let passed = self.passed.replace(BTreeMap::new())?;
        let named = |(cell, amount)| (self.cell(cell), amount);
        Some(passed.into_iter().map(named).collect())
    }

    /// Notes no longer what the cut passes, unless cells are being judged by it: all cells are then judged again, by a scan.
    pub(crate) fn forget_passed(&mut self) {
        if self.cut_state == CutState::Free {
            self.passed = None;
        }
    }

    /// Notes these cells as if the cut had passed an event of theirs, as far as the log can have such cells.
    pub fn judge_again<'a>(&mut self, cells: impl IntoIterator<Item = &'a Cell>) {
        for cell in cells {
            let Some(slot) = PackedSlot::pack(cell.slot) else {
                continue;
            };
            let counter = self.position(&ScanKey::of(cell.counter.clone()));
            let passed = self.passed.get_or_insert_default();
            passed.entry((counter, slot)).or_default();
        }
    }

    /// The dirty cells: those with an event from the cut up to the ceiling. They cannot be judged; no other cell can have
    /// been written by an event that is not in the totals.
    pub fn dirty(&self) -> BTreeSet<Cell> {
        let cells = self.dirty_refs().into_iter();
        cells.map(|cell| self.cell(cell)).collect()
    }

    /// Up to `most` cells that can be dirty at the next cut and the ceilings after it, as far as their events are known: the
    /// dirty ones first. Not those that the cut has passed since [`RangeTotals::take_passed`].
    pub fn dirty_soon(&self, most: usize) -> BTreeSet<Cell> {
        let above = self.above.iter().map(|entry| entry.cell);
        let above = above.filter(|cell| self.is_in_part(*cell));
        let candidates = self.dirty_refs().into_iter().chain(above);
        let mut cells = BTreeSet::new();
        for cell in candidates.filter(|cell| !self.has_passed(*cell)) {
            if cells.len() >= most {
                break;
            }
            cells.insert(cell);
        }
        cells.into_iter().map(|cell| self.cell(cell)).collect()
    }

    fn has_passed(&self, cell: CellRef) -> bool {
        let passed = self.passed.as_ref();
        passed.is_some_and(|passed| passed.contains_key(&cell))
    }

    /// Whether the cut has passed an event of this cell since [`RangeTotals::take_passed`].
    pub fn is_passed(&self, cell: &Cell) -> bool {
        let counter = self
            .counters
            .get_index_of(&ScanKey::of(cell.counter.clone()));
        let cell = counter.zip(PackedSlot::pack(cell.slot));
        cell.is_some_and(|(counter, slot)| self.has_passed((position(counter), slot)))
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
        let above = above.chain(self.overflow.iter().flatten().copied());
        above.filter(|cell| self.is_in_part(*cell)).collect()
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

    /// What the events below the cut that it was given, and that were not taken out, add up to in this cell.
    pub fn expected(&self, key: &ScanKey, slot: CellSlot) -> Count {
        let totals = self.counters.get(key);
        let count = totals.zip(PackedSlot::pack(slot));
        count
            .and_then(|(totals, slot)| totals.get(&slot).copied())
            .unwrap_or_default()
    }

    /// The number of cells whose total is not 0; if some were taken out, an estimate, which counts a cell each time.
    pub fn cells(&self) -> u64 {
        let totals = self.counters.values().flat_map(BTreeMap::values);
        let cells = totals.filter(|total| **total != Count(0)).count();
        let cells = u64::try_from(cells).unwrap_or(u64::MAX);
        cells.saturating_add(self.taken_counts)
    }

    /// Passes the counters with wanted tokens to `each`, in the order of the scan, with their counts.
    pub fn in_scan_order(
        &self,
        wanted: &TokenSelection,
        mut each: impl FnMut(&ScanKey, &CounterTotals),
    ) {
        let counters = self.counters.iter();
        let mut order: Vec<_> = counters
            .filter(|(key, totals)| !totals.is_empty() && wanted.contains(key.token()))
            .collect();
        order.sort_unstable_by(|a, b| a.0.cmp(b.0));
        order
            .into_iter()
            .for_each(|(key, totals)| each(key, totals));
    }

    /// Takes out what it has summed up, in the order of the scan. The cells of events that it remembers stay.
    pub fn take_counted(&mut self) -> Vec<(ScanKey, CounterTotals)> {
        let above = self.above.iter().map(|entry| entry.cell.0);
        let overflow = self.overflow.iter().flatten().map(|(counter, _)| *counter);
        let passed = self.passed.iter().flatten();
        let passed = passed.map(|((counter, _), _)| *counter);
        let kept: BTreeSet<u32> = above.chain(overflow).chain(passed).collect();
        let former = std::mem::take(&mut self.counters);
        self.bytes = 0;
        let mut moved = BTreeMap::new();
        let mut taken = Vec::new();
        for (counter, (key, totals)) in (0..).zip(former) {
            if kept.contains(&counter) {
                moved.insert(counter, self.position(&key));
            }
            if !totals.is_empty() {
                self.taken_counts += u64::try_from(totals.len()).unwrap_or(u64::MAX);
                taken.push((key, totals));
            }
        }
        let of = |(counter, slot): CellRef| (moved[&counter], slot);
        for entry in &mut self.above {
            entry.cell = of(entry.cell);
        }
        self.overflow = self
            .overflow
            .take()
            .map(|cells| cells.into_iter().map(of).collect());
        let passed = self.passed.take();
        self.passed = passed.map(|cells| {
            let cells = cells.into_iter();
            cells.map(|(cell, amount)| (of(cell), amount)).collect()
        });
        taken.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        taken
    }

    /// The counter at this position.
    fn scan_key(&self, counter: u32) -> &ScanKey {
        let entry = self.counters.get_index(index(counter));
        entry.expect("positions come from these totals").0
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
        let is_noted = self.passed.is_some() && self.is_in_part((counter, slot));
        if let Some(passed) = self.passed.as_mut().filter(|_| is_noted) {
            let sum = passed.entry((counter, slot)).or_default();
            *sum = sum.plus(amount);
        }
        let (_, totals) = self
            .counters
            .get_index_mut(index(counter))
            .expect("positions come from these totals");
        let before = totals.len();
        let total = totals.entry(slot).or_default();
        *total = total.plus(amount);
        if before == 0 {
            self.bytes += FIRST_NODE_BYTES;
        } else if totals.len() > before.max(CELLS_IN_FIRST_NODE) {
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
