//! The totals of all ranges in scope above totals at a cut: in memory as far as it is left for them, else in sorted runs.

use std::cell::RefCell;
use std::rc::Rc;

use stitch_common::cell::{Amount, Cell, Count};
use stitch_common::definition::Definitions;
use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::Record;
use stitch_common::range::{RangeBits, RangeId, TokenInterval};
use stitch_common::scope::Scope;

use crate::expected_error::ExpectedError;
use crate::memory_pool::{MemoryPool, MemoryReservation};
use crate::range_totals::{AdvanceError, CounterTotals, RangeTotals};
use stitch_totals::event_reader::{Contribution, EventReader};
use stitch_totals::scan_key::{PackedSlot, ScanKey};
use stitch_totals::sorted::CellTotal;
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::run::{Run, RunWriter};
use stitch_totals::sorted::snapshot::{Snapshot, SnapshotCounter};
use stitch_totals::sorted::sorter::{LocalCells, write_run};
use stitch_totals::sorted::spill_folder::{SpillError, SpillFolder};
use stitch_totals::sorted::tokens::TokenSelection;

/// The part of the memory that increments at or above the cuts may take.
const ABOVE_PART: usize = 4;
/// The part of the memory that cells may take which free cuts have passed since they were judged; their counters take as much.
const PASSED_PART: usize = 16;
/// The part of the memory that counts below the cuts may take before they are spilled, and the most bytes: spilling them
/// holds up everything else for a moment.
const COUNTED_PART: usize = 8;
const COUNTED_BYTES_MAX: usize = 32 << 20;
/// The number of runs of one level that are merged into one of the next level, so that each count is written a few times.
const RUNS_MERGED: usize = 8;

#[derive(Debug)]
pub struct TotalsByRange {
    reader: EventReader,
    names: CounterNames,
    bits: RangeBits,
    ranges: Vec<Option<RangeTotals>>,
    reservation: MemoryReservation,
    spill: SpillFolder,
    /// What was taken out of the ranges, by level. Each count is a part of its cell's.
    runs: Vec<Vec<Rc<Run>>>,
    /// What the ranges kept when something was taken out last.
    kept_bytes: usize,
}

impl TotalsByRange {
    /// Empty totals for the ranges of `scope`, each with its base cut.
    pub fn new(
        definitions: &Definitions,
        scope: &Scope,
        memory: &MemoryPool,
        spill: SpillFolder,
        cut_of: impl Fn(RangeId) -> Offsets,
    ) -> Self {
        let totals = |range| {
            scope
                .has_range(range)
                .then(|| RangeTotals::new(cut_of(range)))
        };
        Self {
            reader: EventReader::new(definitions, scope),
            names: CounterNames::new(definitions),
            bits: definitions.range_bits,
            ranges: definitions.range_bits.ranges().map(totals).collect(),
            reservation: memory.reservation(),
            spill,
            runs: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// Adds what these records of `partition` contribute.
    pub fn add(&mut self, partition: Partition, records: &[Record]) -> Result<(), ExpectedError> {
        for record in records {
            self.reader.read(record, |contribution| {
                let totals = self.ranges[usize::from(contribution.range.0)].as_mut();
                let totals = totals.expect("contributions are in scope");
                let slots = contribution.slots.iter().copied();
                let Contribution { key, amount, .. } = contribution;
                totals.add(partition, record.offset, key, slots, amount);
            });
        }
        self.fit()
    }

    /// Adds what records with these values contribute, which lie below every range's cut.
    pub fn add_below<'v>(
        &mut self,
        values: impl Iterator<Item = Option<&'v [u8]>>,
    ) -> Result<(), ExpectedError> {
        for value in values {
            self.reader.read_value(value, |contribution| {
                let totals = self.ranges[usize::from(contribution.range.0)].as_mut();
                let totals = totals.expect("contributions are in scope");
                let slots = contribution.slots.iter().copied();
                totals.add_below(contribution.key, slots, contribution.amount);
            });
        }
        self.fit()
    }

    /// The counter names of the cells.
    pub const fn names(&self) -> &CounterNames {
        &self.names
    }

    /// Where its sorted runs are.
    pub const fn spill_folder(&self) -> &SpillFolder {
        &self.spill
    }

    /// What the events below the cut of its range add up to in this cell; `None` if some of the counts are in runs.
    pub(crate) fn in_memory(&self, cell: &Cell) -> Option<Count> {
        if !self.runs.is_empty() {
            return None;
        }
        let key = ScanKey::of(cell.counter.clone());
        let totals = self.of(self.bits.range_of(key.token()));
        Some(totals.expected(&key, cell.slot))
    }

    /// The cells with wanted tokens, as they are now: what is added or spilled later changes nothing. The counts of a cell
    /// are spread over the streams.
    pub fn streams(&self, wanted: &TokenSelection) -> Vec<LocalCells> {
        let mut snapshot = Snapshot::default();
        let ranges = self.bits.ranges().zip(&self.ranges);
        let wanted_ranges = ranges.filter(|(range, _)| {
            let TokenInterval { first, last } = self.bits.interval(*range);
            wanted.overlaps(first, last)
        });
        for totals in wanted_ranges.filter_map(|(_, totals)| totals.as_ref()) {
            totals.in_scan_order(wanted, |key, totals| {
                snapshot.push(self.counter(key), amounts(totals));
            });
        }
        let runs = self.runs.iter().flatten();
        let runs = runs.map(|run| LocalCells::Run(Box::new(run.cells_of(wanted.clone()))));
        runs.chain([LocalCells::Snapshot(snapshot)]).collect()
    }

    fn counter(&self, key: &ScanKey) -> SnapshotCounter {
        let name = self.names.rank(&key.counter().name.0);
        SnapshotCounter {
            token: key.token(),
            name: name.expect("it comes from these definitions"),
            key: key.counter().key.clone(),
        }
    }

    /// Moves everything that is summed up into a run.
    fn spill(&mut self) -> Result<(), SpillError> {
        let mut run = RunWriter::new(&self.spill)?;
        // Ranges are intervals of tokens in ascending order.
        for at in 0..self.ranges.len() {
            let taken = self.ranges[at].as_mut().map(RangeTotals::take_counted);
            for (key, totals) in taken.into_iter().flatten() {
                let counter = self.counter(&key);
                for (slot, total) in amounts(&totals) {
                    run.push(&CellTotal {
                        token: counter.token,
                        name: counter.name,
                        key: counter.key.0.as_bytes(),
                        slot,
                        total,
                    })?;
                }
            }
        }
        if self.runs.is_empty() {
            self.runs.push(Vec::new());
        }
        self.runs[0].push(Rc::new(run.finish()?));
        Ok(())
    }

    /// Merges runs of `totals`, if there are many.
    ///
    /// # Errors
    /// The spill folder's; nothing has changed. Nor has it if the call is cancelled.
    pub async fn merge_runs(totals: &RefCell<Self>) -> Result<(), SpillError> {
        loop {
            let (folder, level, runs) = {
                let totals = totals.borrow();
                let full = |runs: &Vec<Rc<Run>>| runs.len() >= RUNS_MERGED;
                let Some(level) = totals.runs.iter().position(full) else {
                    return Ok(());
                };
                (totals.spill.clone(), level, totals.runs[level].clone())
            };
            let all = |run: &Rc<Run>| LocalCells::Run(Box::new(run.cells_of(TokenSelection::ALL)));
            let merged = write_run(&folder, runs.iter().map(all).collect()).await?;
            let mut totals = totals.borrow_mut();
            // Others may have come meanwhile, behind these.
            totals.runs[level].drain(..runs.len());
            if totals.runs.len() == level + 1 {
                totals.runs.push(Vec::new());
            }
            totals.runs[level + 1].push(Rc::new(merged));
        }
    }

    /// Advances the cut of every range in which no cell is being judged: to a later checkpoint, so that few events above
    /// the cuts have to be kept.
    ///
    /// # Errors
    /// A cut went back; some were advanced.
    pub fn advance_free(
        &mut self,
        cut_of: impl Fn(RangeId) -> Offsets,
    ) -> Result<(), AdvanceError> {
        for (range, totals) in (0..).map(RangeId).zip(&mut self.ranges) {
            if let Some(totals) = totals.as_mut().filter(|totals| totals.has_free_cut()) {
                totals.advance(&cut_of(range))?;
            }
        }
        // Never larger than before, except for cells that were passed, which are forgotten with the next records if they are many.
        let bytes = self.bytes();
        self.reservation.shrink_to(bytes);
        Ok(())
    }

    /// The totals of `range`.
    ///
    /// # Panics
    /// If `range` is not in scope.
    pub fn of(&self, range: RangeId) -> &RangeTotals {
        let totals = self.ranges[usize::from(range.0)].as_ref();
        totals.expect("the range is in scope")
    }

    /// The totals of `range`, to change them.
    ///
    /// # Panics
    /// If `range` is not in scope.
    pub fn of_mut(&mut self, range: RangeId) -> &mut RangeTotals {
        let totals = self.ranges[usize::from(range.0)].as_mut();
        totals.expect("the range is in scope")
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        self.ranges.iter().flatten().map(RangeTotals::bytes).sum()
    }

    /// Keeps them within the bound: counts are spilled, what free cuts have passed is forgotten, and the cuts of all ranges stop
    /// before anything is refused.
    fn fit(&mut self) -> Result<(), ExpectedError> {
        let bytes_max = self.reservation.pool().bytes_max();
        let counted_max = (bytes_max / COUNTED_PART).min(COUNTED_BYTES_MAX);
        // With traffic over many keys they would fill all of the memory before the last range is restored.
        if self.bytes_passed() > bytes_max / PASSED_PART {
            self.forget_passed()?;
        }
        if self.bytes_counted() - self.kept_bytes > counted_max {
            self.spill_counted()?;
        }
        if self.is_within_bounds() {
            return Ok(());
        }
        self.forget_passed()?;
        if self.is_within_bounds() {
            return Ok(());
        }
        for totals in self.ranges.iter_mut().flatten() {
            totals.overflow();
        }
        Ok(self.reservation.try_resize(self.bytes())?)
    }

    fn is_within_bounds(&mut self) -> bool {
        let above_max = self.reservation.pool().bytes_max() / ABOVE_PART;
        self.bytes_above_cuts() <= above_max && self.reservation.try_resize(self.bytes()).is_ok()
    }

    /// Forgets what free cuts have passed, and spills the counters of these cells with all others.
    fn forget_passed(&mut self) -> Result<(), SpillError> {
        let totals = self.ranges.iter_mut().flatten();
        totals.for_each(RangeTotals::forget_passed);
        self.spill_counted()
    }

    fn spill_counted(&mut self) -> Result<(), SpillError> {
        self.spill()?;
        self.kept_bytes = self.bytes_counted();
        Ok(())
    }

    /// Of the ranges whose cuts are free; those that are being judged need theirs.
    fn bytes_passed(&self) -> usize {
        let totals = self.ranges.iter().flatten();
        let free = totals.filter(|totals| totals.has_free_cut());
        free.map(RangeTotals::bytes_passed).sum()
    }

    fn bytes_counted(&self) -> usize {
        let totals = self.ranges.iter().flatten();
        totals.map(RangeTotals::bytes_counted).sum()
    }

    /// About how many bytes the increments at or above the cuts take.
    pub fn bytes_above_cuts(&self) -> usize {
        let totals = self.ranges.iter().flatten();
        totals.map(RangeTotals::bytes_above_cut).sum()
    }
}

fn amounts(totals: &CounterTotals) -> impl Iterator<Item = (PackedSlot, Amount)> {
    totals.iter().map(|(slot, count)| (*slot, Amount(count.0)))
}

#[cfg(test)]
mod tests;
