//! The ledgers of all ranges in scope, within the memory that is left for them.

use stitch_common::definition::Definitions;
use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::Record;
use stitch_common::range::RangeId;

use crate::event_reader::EventReader;
use crate::memory_pool::{MemoryPool, MemoryReservation, TooLarge};
use crate::range_totals::{RangeTotals, Span};
use stitch_common::scope::Scope;

/// What the log adds up to, range by range.
#[derive(Debug)]
pub struct TotalsByRange {
    events: EventReader,
    ranges: Vec<Option<RangeTotals>>,
    share: MemoryReservation,
}

impl TotalsByRange {
    /// Empty ledgers for the ranges of `scope`, each with its base cut.
    #[must_use]
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
            events: EventReader::new(definitions, scope),
            ranges: definitions.range_bits.ranges().map(totals).collect(),
            share: memory.share(),
        }
    }

    /// Takes in these records of `partition`.
    ///
    /// # Errors
    /// The totals do not fit any more.
    pub fn take(&mut self, partition: Partition, records: &[Record]) -> Result<(), TooLarge> {
        for record in records {
            self.events.read(record, |contribution| {
                let totals = self.ranges[usize::from(contribution.range.0)].as_mut();
                let totals = totals.expect("additions are in scope");
                let slots = contribution.slots.iter().copied();
                totals.take(
                    partition,
                    record.offset,
                    contribution.place,
                    slots,
                    contribution.amount,
                );
            });
        }
        self.fit()
    }

    /// Takes in what these records, which were forgotten, add to `range`, as far as they lie in `span`.
    pub fn retake(&mut self, range: RangeId, span: Span, records: &[Record]) {
        for record in records {
            if record.offset < span.from || record.offset >= span.to {
                continue;
            }
            self.events.read(record, |contribution| {
                if contribution.range == range {
                    let totals = self.ranges[usize::from(range.0)].as_mut();
                    let totals = totals.expect("additions are in scope");
                    let slots = contribution.slots.iter().copied();
                    totals.retake(contribution.place, slots, contribution.amount);
                }
            });
        }
    }

    /// The ledger of `range`.
    ///
    /// # Panics
    /// If `range` is not in scope.
    #[must_use]
    pub fn of(&self, range: RangeId) -> &RangeTotals {
        let totals = self.ranges[usize::from(range.0)].as_ref();
        totals.expect("the range is in scope")
    }

    /// The ledger of `range`, to change it.
    ///
    /// # Panics
    /// If `range` is not in scope.
    pub fn of_mut(&mut self, range: RangeId) -> &mut RangeTotals {
        let totals = self.ranges[usize::from(range.0)].as_mut();
        totals.expect("the range is in scope")
    }

    /// About how much memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ranges.iter().flatten().map(RangeTotals::bytes).sum()
    }

    /// Stays within the bound: what lies above the cuts is forgotten before anything is refused.
    fn fit(&mut self) -> Result<(), TooLarge> {
        let totals = self.ranges.iter().flatten();
        let later: usize = totals.map(RangeTotals::later_bytes).sum();
        let is_little = later <= self.share.memory().bytes_max() / 4;
        if is_little && self.share.set(self.bytes()).is_ok() {
            return Ok(());
        }
        for totals in self.ranges.iter_mut().flatten() {
            totals.forget();
        }
        self.share.set(self.bytes())
    }
}
