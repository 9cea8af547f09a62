//! The ledgers of all ranges in scope, within the memory that is left for them.

use stitch_common::definition::Definitions;
use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::Record;
use stitch_common::range::RangeId;

use crate::events::Events;
use crate::ledger::{Ledger, Span};
use crate::memory::{Memory, Share, TooLarge};
use stitch_common::scope::Scope;

/// What the log adds up to, range by range.
#[derive(Debug)]
pub struct Ledgers {
    events: Events,
    ranges: Vec<Option<Ledger>>,
    share: Share,
}

impl Ledgers {
    /// Empty ledgers for the ranges of `scope`, each with its base cut.
    #[must_use]
    pub fn new(
        definitions: &Definitions,
        scope: &Scope,
        memory: &Memory,
        cut_of: impl Fn(RangeId) -> Offsets,
    ) -> Self {
        let in_scope = |range: &RangeId| (scope.first..=scope.last).contains(range);
        let ledger = |range: RangeId| in_scope(&range).then(|| Ledger::new(cut_of(range)));
        Self {
            events: Events::new(definitions, scope),
            ranges: definitions.range_bits.ranges().map(ledger).collect(),
            share: memory.share(),
        }
    }

    /// Takes in these records of `partition`.
    ///
    /// # Errors
    /// The totals do not fit any more.
    pub fn take(&mut self, partition: Partition, records: &[Record]) -> Result<(), TooLarge> {
        for record in records {
            self.events.read(record, |addition| {
                let ledger = self.ranges[usize::from(addition.range.0)].as_mut();
                let ledger = ledger.expect("additions are in scope");
                let slots = addition.slots.iter().copied();
                ledger.take(
                    partition,
                    record.offset,
                    addition.place,
                    slots,
                    addition.amount,
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
            self.events.read(record, |addition| {
                if addition.range == range {
                    let ledger = self.ranges[usize::from(range.0)].as_mut();
                    let ledger = ledger.expect("additions are in scope");
                    let slots = addition.slots.iter().copied();
                    ledger.retake(addition.place, slots, addition.amount);
                }
            });
        }
    }

    /// The ledger of `range`.
    ///
    /// # Panics
    /// If `range` is not in scope.
    #[must_use]
    pub fn of(&self, range: RangeId) -> &Ledger {
        let ledger = self.ranges[usize::from(range.0)].as_ref();
        ledger.expect("the range is in scope")
    }

    /// The ledger of `range`, to change it.
    ///
    /// # Panics
    /// If `range` is not in scope.
    pub fn of_mut(&mut self, range: RangeId) -> &mut Ledger {
        let ledger = self.ranges[usize::from(range.0)].as_mut();
        ledger.expect("the range is in scope")
    }

    /// About how much memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ranges.iter().flatten().map(Ledger::bytes).sum()
    }

    /// Stays within the bound: what lies above the cuts is forgotten before anything is refused.
    fn fit(&mut self) -> Result<(), TooLarge> {
        let ledgers = self.ranges.iter().flatten();
        let later: usize = ledgers.map(Ledger::later_bytes).sum();
        let is_little = later <= self.share.memory().bytes_max() / 4;
        if is_little && self.share.set(self.bytes()).is_ok() {
            return Ok(());
        }
        for ledger in self.ranges.iter_mut().flatten() {
            ledger.forget();
        }
        self.share.set(self.bytes())
    }
}
