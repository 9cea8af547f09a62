//! The totals of all ranges in scope, within the memory that is left for them.

use stitch_common::definition::Definitions;
use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::Record;
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;

use crate::event_reader::{Contribution, EventReader};
use crate::memory_pool::{MemoryPool, MemoryReservation, TooLarge};
use crate::range_totals::{AdvanceError, RangeTotals};

/// The part of the memory that increments at or above the cuts may take.
const ABOVE_PART: usize = 4;

#[derive(Debug)]
pub struct TotalsByRange {
    reader: EventReader,
    ranges: Vec<Option<RangeTotals>>,
    reservation: MemoryReservation,
}

impl TotalsByRange {
    /// Empty totals for the ranges of `scope`, each with its base cut.
    pub fn new(
        definitions: &Definitions,
        scope: &Scope,
        memory: &MemoryPool,
        cut_of: impl Fn(RangeId) -> Offsets,
    ) -> Self {
        let totals = |range| {
            scope
                .has_range(range)
                .then(|| RangeTotals::new(cut_of(range)))
        };
        Self {
            reader: EventReader::new(definitions, scope),
            ranges: definitions.range_bits.ranges().map(totals).collect(),
            reservation: memory.reservation(),
        }
    }

    /// Adds what these records of `partition` contribute.
    pub fn add(&mut self, partition: Partition, records: &[Record]) -> Result<(), TooLarge> {
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
        // Never larger than before, except for cells that were passed: the next records are refused if these do not fit.
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

    /// Keeps them within the bound: the cuts of all ranges stop before anything is refused.
    fn fit(&mut self) -> Result<(), TooLarge> {
        let bytes_max = self.reservation.pool().bytes_max();
        let is_little = self.bytes_above_cuts() <= bytes_max / ABOVE_PART;
        if is_little && self.reservation.try_resize(self.bytes()).is_ok() {
            return Ok(());
        }
        for totals in self.ranges.iter_mut().flatten() {
            totals.overflow();
        }
        self.reservation.try_resize(self.bytes())
    }

    /// About how many bytes the increments at or above the cuts take.
    pub fn bytes_above_cuts(&self) -> usize {
        let totals = self.ranges.iter().flatten();
        totals.map(RangeTotals::bytes_above_cut).sum()
    }
}
