//! What records contribute, added up, and accounted for on the way.

use stitch_common::definition::Definitions;
use stitch_common::scope::Scope;

use crate::event_reader::EventReader;
use crate::manifest::SourceSpan;
use crate::sorted::counter_names::{CounterNames, NameRank};
use crate::sorted::sorter::{LocalCells, Sorter};
use crate::sorted::spill_folder::SpillError;

/// Records to read, and the counters to count by them.
#[derive(Clone, Debug)]
pub struct Pass {
    pub spans: Vec<SourceSpan>,
    pub definitions: Definitions,
}

/// What was read, by counter.
#[derive(Clone, Debug)]
pub struct Tally {
    pub records: u64,
    /// By rank: the events whose amount is not 0.
    pub contributions: Vec<u64>,
    /// By rank: the sum of the amounts over all cells.
    pub sums: Vec<i64>,
}

impl Tally {
    pub fn new(names: &CounterNames) -> Self {
        let counters = names.iter().len();
        Self {
            records: 0,
            contributions: vec![0; counters],
            sums: vec![0; counters],
        }
    }

    /// Adds what was read elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        for (ours, theirs) in self.contributions.iter_mut().zip(&other.contributions) {
            *ours += theirs;
        }
        for (ours, theirs) in self.sums.iter_mut().zip(&other.sums) {
            *ours = ours.wrapping_add(*theirs);
        }
    }
}

/// Adds up what records contribute.
pub struct Contributions<'a> {
    names: &'a CounterNames,
    sorter: Sorter,
    tally: Tally,
    reader: Option<(EventReader, Vec<NameRank>)>,
}

impl<'a> Contributions<'a> {
    pub fn new(names: &'a CounterNames, sorter: Sorter) -> Self {
        Self {
            names,
            sorter,
            tally: Tally::new(names),
            reader: None,
        }
    }

    /// Counts what follows by `definitions`, whose counters all have a name here.
    pub fn begin(&mut self, definitions: &Definitions) {
        let everything = Scope::of_ranges(definitions.range_bits.ranges().collect());
        let rank = |counter: &stitch_common::definition::CounterDefinition| {
            let rank = self.names.rank(&counter.name.0);
            rank.expect("the counters of a pass are some of the definitions'")
        };
        let ranks = definitions.counters.iter().map(rank).collect();
        self.reader = Some((EventReader::new(definitions, &everything), ranks));
    }

    /// Adds the contributions of a record with this value. Then [`Contributions::is_full`] says whether to spill.
    pub fn add(&mut self, value: Option<&[u8]>) {
        let (reader, ranks) = self.reader.as_ref().expect("a pass has begun");
        self.tally.records += 1;
        reader.read_value(value, |contribution| {
            let name = ranks[contribution.definition];
            let rank = usize::from(name.0);
            self.tally.contributions[rank] += 1;
            let sum = &mut self.tally.sums[rank];
            for _ in contribution.slots {
                *sum = sum.wrapping_add(contribution.amount.0);
            }
            let key = contribution.key;
            self.sorter.add(
                key.token(),
                name,
                key.counter().key.0.as_bytes(),
                contribution.slots,
                contribution.amount,
            );
        });
    }

    pub const fn is_full(&self) -> bool {
        self.sorter.is_full()
    }

    pub async fn spill(&mut self) -> Result<(), SpillError> {
        self.sorter.spill().await
    }

    pub const fn records(&self) -> u64 {
        self.tally.records
    }

    pub async fn finish(self) -> Result<(Vec<LocalCells>, Tally), SpillError> {
        Ok((self.sorter.finish().await?, self.tally))
    }
}
