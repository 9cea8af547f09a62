//! The totals of all ranges in scope, within the memory that is left for them.

use stitch_common::definition::Definitions;
use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::Record;
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;

use crate::event_reader::{Contribution, EventReader};
use crate::memory_pool::{MemoryPool, MemoryReservation, TooLarge};
use crate::range_totals::{RangeTotals, Span};

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

    /// Adds what these records, which were forgotten, contribute to `range`, as far as they lie in `span`.
    pub fn add_again(&mut self, range: RangeId, span: Span, records: &[Record]) {
        for record in records {
            if record.offset < span.from || record.offset >= span.to {
                continue;
            }
            self.reader.read(record, |contribution| {
                if contribution.range == range {
                    let totals = self.ranges[usize::from(range.0)].as_mut();
                    let totals = totals.expect("contributions are in scope");
                    let slots = contribution.slots.iter().copied();
                    totals.add_again(contribution.key, slots, contribution.amount);
                }
            });
        }
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

    /// Keeps them within the bound. Events above the cuts are forgotten before anything is refused.
    fn fit(&mut self) -> Result<(), TooLarge> {
        let totals = self.ranges.iter().flatten();
        let above: usize = totals.map(RangeTotals::bytes_above_cut).sum();
        let is_little = above <= self.reservation.pool().bytes_max() / 4;
        if is_little && self.reservation.try_resize(self.bytes()).is_ok() {
            return Ok(());
        }
        for totals in self.ranges.iter_mut().flatten() {
            totals.forget();
        }
        self.reservation.try_resize(self.bytes())
    }
}
