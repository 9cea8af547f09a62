//! Right or wrong: what a cell holds against what the log adds up to. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stitch_common::cell::{Amount, Cell, Count, Counter, CounterName};

/// A cell that holds something else than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What the events below the cut add up to.
    pub expected: Count,
    /// What it holds.
    pub current: Count,
}

/// In which way a cell is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It ought to be there and is not.
    Missing,
    /// It ought not to be there.
    Phantom,
    /// It holds twice what it should.
    Doubled,
    /// It holds too much.
    TooHigh,
    /// It holds too little.
    TooLow,
}

impl Direction {
    /// Every direction, in the order in which reports name them.
    pub const EVERY: [Self; 5] = [
        Self::Missing,
        Self::Phantom,
        Self::Doubled,
        Self::TooHigh,
        Self::TooLow,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Phantom => "phantom",
            Self::Doubled => "doubled",
            Self::TooHigh => "too_high",
            Self::TooLow => "too_low",
        }
    }
}

impl Drift {
    /// What is between the two counts, unless they are equal.
    #[must_use]
    pub fn between(expected: Count, current: Count) -> Option<Self> {
        (expected != current).then_some(Self { expected, current })
    }

    /// What has to be added to make the cell right.
    #[must_use]
    pub const fn correction(self) -> Amount {
        self.expected.minus(self.current)
    }

    /// By how much the cell is wrong, without a sign.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.correction().0.unsigned_abs()
    }

    /// In which way it is wrong.
    #[must_use]
    pub const fn direction(self) -> Direction {
        let (expected, current) = (self.expected.0, self.current.0);
        if expected == 0 {
            Direction::Phantom
        } else if current == 0 {
            Direction::Missing
        } else if current == expected.wrapping_mul(2) {
            Direction::Doubled
        } else if current > expected {
            Direction::TooHigh
        } else {
            Direction::TooLow
        }
    }
}

/// What is known of one range's cells.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    wrong: BTreeMap<Cell, Drift>,
    /// How many wrong cells there were when they were forgotten.
    forgotten: Option<u64>,
    /// Cells of counters that no definition names, by that name.
    unnamed: BTreeMap<CounterName, u64>,
    bytes: usize,
}

/// What the allocator takes, measured (`tests/estimates.rs`): an entry of the map of wrong cells.
pub const WRONG_CELL_BYTES: usize = 116;
/// The two texts of a counter, beside their own bytes.
pub const TEXTS_BYTES: usize = 64;

impl Verdicts {
    /// Judges a cell, or judges it again.
    pub fn judge(&mut self, cell: Cell, expected: Count, current: Count) {
        match Drift::between(expected, current) {
            Some(drift) => self.put(cell, drift),
            None => self.remove(&cell),
        }
    }

    /// This cell was made right.
    pub fn right(&mut self, cell: &Cell) {
        self.remove(cell);
    }

    fn put(&mut self, cell: Cell, drift: Drift) {
        self.remove(&cell);
        self.bytes += bytes(&cell, drift);
        self.wrong.insert(cell, drift);
    }

    fn remove(&mut self, cell: &Cell) {
        if let Some(drift) = self.wrong.remove(cell) {
            self.bytes -= bytes(cell, drift);
        }
    }

    /// Notes a cell of a counter that no definition names. It is told, and never touched.
    pub fn unnamed(&mut self, name: &CounterName) {
        if let Some(cells) = self.unnamed.get_mut(name) {
            *cells += 1;
            return;
        }
        self.bytes += WRONG_CELL_BYTES + name.0.len();
        self.unnamed.insert(name.clone(), 1);
    }

    /// What another part of the range found.
    pub fn extend(&mut self, other: Self) {
        for (cell, drift) in other.wrong {
            self.put(cell, drift);
        }
        for (name, cells) in other.unnamed {
            self.unnamed(&name);
            *self.unnamed.entry(name).or_default() += cells - 1;
        }
    }

    /// About how much memory they take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps of the wrong cells only how many they are: the range has to be judged once more before it is restored.
    pub fn forget(&mut self) {
        let wrong = std::mem::take(&mut self.wrong);
        for (cell, drift) in &wrong {
            self.bytes -= bytes(cell, *drift);
        }
        self.forgotten.get_or_insert(number(wrong.len()));
    }

    /// Whether the wrong cells are not known any more.
    #[must_use]
    pub const fn is_forgotten(&self) -> bool {
        self.forgotten.is_some()
    }

    /// How many cells were judged wrong.
    #[must_use]
    pub fn wrong_number(&self) -> u64 {
        self.forgotten.unwrap_or_else(|| number(self.wrong.len()))
    }

    /// The cells that were judged wrong; some of them may have been touched since.
    #[must_use]
    pub const fn wrong(&self) -> &BTreeMap<Cell, Drift> {
        &self.wrong
    }

    /// How many cells there are of each counter that no definition names.
    #[must_use]
    pub const fn unnamed_counters(&self) -> &BTreeMap<CounterName, u64> {
        &self.unnamed
    }

    /// The cells that are wrong and that no event has touched since they were judged.
    pub fn wrong_for_sure<'a>(
        &'a self,
        dirty: &'a BTreeSet<Cell>,
    ) -> impl Iterator<Item = (&'a Cell, Drift)> + 'a {
        let untouched = self.wrong.iter().filter(|(cell, _)| !dirty.contains(cell));
        untouched.map(|(cell, drift)| (cell, *drift))
    }
}

/// What a wrong cell takes. The texts of its counter are the ledger's, but for a phantom's.
fn bytes(cell: &Cell, drift: Drift) -> usize {
    let Counter { name, key } = &cell.counter;
    let texts = TEXTS_BYTES + name.0.len() + key.0.len();
    let own = drift.expected == Count(0);
    WRONG_CELL_BYTES + if own { texts } else { 0 }
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// What they say; not what they take.
impl PartialEq for Verdicts {
    fn eq(&self, other: &Self) -> bool {
        (&self.wrong, &self.unnamed, self.forgotten)
            == (&other.wrong, &other.unnamed, other.forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world::all as cell;

    fn direction(expected: i64, current: i64) -> Option<Direction> {
        Drift::between(Count(expected), Count(current)).map(Drift::direction)
    }

    #[test]
    fn every_way_to_be_wrong_has_a_name() {
        assert_eq!(direction(3, 3), None);
        assert_eq!(direction(0, 0), None);
        assert_eq!(direction(3, 0), Some(Direction::Missing));
        assert_eq!(direction(0, 3), Some(Direction::Phantom));
        assert_eq!(direction(0, -3), Some(Direction::Phantom));
        assert_eq!(direction(3, 6), Some(Direction::Doubled));
        assert_eq!(direction(-3, -6), Some(Direction::Doubled));
        assert_eq!(direction(3, 4), Some(Direction::TooHigh));
        assert_eq!(direction(3, 2), Some(Direction::TooLow));
        assert_eq!(direction(-3, -2), Some(Direction::TooHigh));
    }

    #[test]
    fn a_correction_makes_the_cell_right_at_the_edges_too() {
        for (expected, current) in [
            (i64::MAX, i64::MIN),
            (i64::MIN, i64::MAX),
            (0, i64::MIN),
            (7, -7),
        ] {
            let drift = Drift::between(Count(expected), Count(current)).unwrap();
            assert_eq!(drift.current.plus(drift.correction()), Count(expected));
        }
        let drift = Drift::between(Count(0), Count(i64::MIN)).unwrap();
        assert_eq!(drift.size(), 1 << 63);
    }

    #[test]
    fn a_cell_that_is_judged_again_is_what_it_was_judged_last() {
        let mut verdicts = Verdicts::default();
        verdicts.judge(cell("a"), Count(1), Count(2));
        verdicts.judge(cell("b"), Count(1), Count(2));
        verdicts.judge(cell("a"), Count(2), Count(2));
        let wrong: Vec<_> = verdicts.wrong().keys().cloned().collect();
        assert_eq!(wrong, [cell("b")]);
    }

    #[test]
    fn only_wrong_cells_take_memory_and_forgotten_ones_do_not() {
        let mut verdicts = Verdicts::default();
        verdicts.judge(cell("a"), Count(1), Count(0));
        verdicts.judge(cell("phantom"), Count(0), Count(9));
        verdicts.judge(cell("right"), Count(1), Count(1));
        let two = verdicts.bytes();
        assert!(two > 2 * WRONG_CELL_BYTES);
        verdicts.judge(cell("phantom"), Count(9), Count(8));
        assert!(verdicts.bytes() < two, "the log has its texts now");
        verdicts.judge(cell("phantom"), Count(9), Count(9));
        assert_eq!(verdicts.bytes(), WRONG_CELL_BYTES);
        verdicts.forget();
        assert_eq!((verdicts.bytes(), verdicts.wrong_number()), (0, 1));
        assert!(verdicts.is_forgotten() && verdicts.wrong().is_empty());
    }

    #[test]
    fn a_touched_cell_is_not_called_wrong() {
        let mut verdicts = Verdicts::default();
        verdicts.judge(cell("a"), Count(1), Count(2));
        verdicts.judge(cell("b"), Count(1), Count(2));
        let dirty = BTreeSet::from([cell("a")]);
        let sure: Vec<_> = verdicts
            .wrong_for_sure(&dirty)
            .map(|(cell, _)| cell.clone())
            .collect();
        assert_eq!(sure, [cell("b")]);
    }
}
