//! Judges cells: what a cell holds against what the log adds up to. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stitch_common::cell::{
    Amount, Bucket, Cell, CellSlot, Count, Counter, CounterName, Granularity,
};

/// What a wrong cell should hold, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What the events below the cut add up to.
    pub expected: Count,
    pub current: Count,
}

/// The way in which a cell is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It should exist and does not.
    Missing,
    /// It should not exist.
    Phantom,
    /// It holds twice what it should.
    Doubled,
    TooHigh,
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
    /// The drift between two counts; `None` if they are equal.
    pub fn between(expected: Count, current: Count) -> Option<Self> {
        (expected != current).then_some(Self { expected, current })
    }

    /// The amount to add to make the cell right.
    pub const fn correction(self) -> Amount {
        self.expected.minus(self.current)
    }

    /// The absolute value of the correction.
    pub const fn size(self) -> u64 {
        self.correction().0.unsigned_abs()
    }

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

/// What the cells in scope of a range should hold, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// The number of cells that should not be 0.
    cells: u64,
    /// By counter name.
    sums: BTreeMap<CounterName, i128>,
}

impl Expectation {
    /// Adds a cell that should not be 0.
    pub(crate) fn add(&mut self, name: &CounterName, expected: Count) {
        self.cells += 1;
        add_to(&mut self.sums, name, expected.0.into());
    }

    fn extend(&mut self, other: Self) {
        self.cells += other.cells;
        for (name, sum) in other.sums {
            *self.sums.entry(name).or_default() += sum;
        }
    }
}

/// The verdicts on the cells of one range.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    wrong: BTreeMap<Cell, Drift>,
    /// What its cells should hold.
    expectation: Expectation,
    /// The number of wrong cells when they were forgotten.
    forgotten: Option<u64>,
    /// Numbers of cells of counters that no definition names.
    unnamed: BTreeMap<CounterName, u64>,
    bytes: usize,
}

/// An entry in the map of wrong cells, as measured at the allocator (`tests/estimates.rs`).
pub const WRONG_CELL_BYTES: usize = 116;
/// Before every other slot of a counter.
const FIRST_SLOT: CellSlot = CellSlot {
    granularity: Granularity::All,
    bucket: Bucket(i64::MIN),
};
/// The two texts of a counter, besides their own bytes.
pub const TEXTS_BYTES: usize = 64;

impl Verdicts {
    /// Judges a cell, for the first time or again.
    pub fn judge(&mut self, cell: Cell, expected: Count, current: Count) {
        match Drift::between(expected, current) {
            Some(drift) => self.put(cell, drift),
            None => self.remove(&cell),
        }
    }

    /// Judges a cell right, after its correction.
    pub fn judge_right(&mut self, cell: &Cell) {
        self.remove(cell);
    }

    fn put(&mut self, cell: Cell, drift: Drift) {
        self.remove(&cell);
        self.bytes += self.bytes_beside(&cell);
        self.wrong.insert(cell, drift);
    }

    fn remove(&mut self, cell: &Cell) {
        if self.wrong.remove(cell).is_some() {
            self.bytes -= self.bytes_beside(cell);
        }
    }

    /// The memory of a wrong cell beside the others, with which it shares the texts of its counter.
    fn bytes_beside(&self, cell: &Cell) -> usize {
        let Counter { name, key } = &cell.counter;
        let first = Cell {
            counter: cell.counter.clone(),
            slot: FIRST_SLOT,
        };
        let mut neighbours = self.wrong.range(first..);
        let neighbour = neighbours.next().map(|(other, _)| &other.counter);
        let texts = TEXTS_BYTES + name.0.len() + key.0.len();
        WRONG_CELL_BYTES
            + if neighbour == Some(&cell.counter) {
                0
            } else {
                texts
            }
    }

    /// Notes what a cell should hold that should not be 0.
    pub(crate) fn expect(&mut self, name: &CounterName, expected: Count) {
        self.expectation.add(name, expected);
    }

    /// Notes cells that a later cut has passed: their counter's name, what has passed, and what they should hold now.
    pub(crate) fn note_passed<'a>(
        &mut self,
        passed: impl IntoIterator<Item = (&'a CounterName, Amount, Count)>,
    ) {
        for (name, amount, now) in passed {
            let before = now.plus(Amount(amount.0.wrapping_neg()));
            let Expectation { cells, sums } = &mut self.expectation;
            *cells = cells.saturating_add(u64::from(now != Count(0)));
            *cells = cells.saturating_sub(u64::from(before != Count(0)));
            add_to(sums, name, amount.0.into());
        }
    }

    /// The number of cells that should not be 0.
    pub(crate) const fn expected_cells(&self) -> u64 {
        self.expectation.cells
    }

    /// What the cells should hold in all, by counter name.
    pub(crate) const fn expected_sums(&self) -> &BTreeMap<CounterName, i128> {
        &self.expectation.sums
    }

    /// Notes cells that no definition names. They are reported, and never corrected.
    pub fn note_unnamed(&mut self, name: &CounterName, rows: u64) {
        if let Some(cells) = self.unnamed.get_mut(name) {
            *cells += rows;
            return;
        }
        self.bytes += unnamed_bytes(name);
        self.unnamed.insert(name.clone(), rows);
    }

    /// Adds the verdicts on another part of the range.
    pub fn extend(&mut self, other: Self) {
        if let Some(forgotten) = other.forgotten {
            *self.forgotten.get_or_insert_default() += forgotten;
        }
        self.expectation.extend(other.expectation);
        for (cell, drift) in other.wrong {
            self.put(cell, drift);
        }
        for (name, cells) in other.unnamed {
            self.note_unnamed(&name, cells);
        }
    }

    /// About how many bytes they take.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Verdicts on cells of which none has been judged.
    pub(crate) fn unjudged() -> Self {
        let mut verdicts = Self::default();
        verdicts.forget();
        verdicts
    }

    /// Keeps only the number of wrong cells: the range has to be judged again before it is restored.
    pub fn forget(&mut self) {
        let wrong = std::mem::take(&mut self.wrong);
        self.bytes = self.unnamed.keys().map(unnamed_bytes).sum();
        self.forgotten.get_or_insert(number(wrong.len()));
    }

    /// Whether only the number of wrong cells is known.
    pub const fn is_forgotten(&self) -> bool {
        self.forgotten.is_some()
    }

    /// The number of cells that were judged wrong.
    pub fn wrong_count(&self) -> u64 {
        self.forgotten.unwrap_or_else(|| number(self.wrong.len()))
    }

    /// The cells that were judged wrong. Some may have become dirty since.
    pub const fn wrong(&self) -> &BTreeMap<Cell, Drift> {
        &self.wrong
    }

    /// The number of cells of each counter that no definition names.
    pub const fn unnamed_counters(&self) -> &BTreeMap<CounterName, u64> {
        &self.unnamed
    }

    /// The wrong cells that are not dirty: they are wrong for certain.
    pub fn wrong_and_clean<'a>(
        &'a self,
        dirty: &'a BTreeSet<Cell>,
    ) -> impl Iterator<Item = (&'a Cell, Drift)> + 'a {
        let clean = self.wrong.iter().filter(|(cell, _)| !dirty.contains(cell));
        clean.map(|(cell, drift)| (cell, *drift))
    }
}

fn add_to(sums: &mut BTreeMap<CounterName, i128>, name: &CounterName, amount: i128) {
    if let Some(sum) = sums.get_mut(name) {
        *sum += amount;
    } else {
        sums.insert(name.clone(), amount);
    }
}

fn unnamed_bytes(name: &CounterName) -> usize {
    WRONG_CELL_BYTES + name.0.len()
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Compares the verdicts, not the memory that they take.
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
    fn every_drift_has_a_direction() {
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
    fn a_correction_leads_to_the_expected_count_even_where_it_wraps() {
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
    fn the_last_verdict_on_a_cell_counts() {
        let mut verdicts = Verdicts::default();
        verdicts.judge(cell("a"), Count(1), Count(2));
        verdicts.judge(cell("b"), Count(1), Count(2));
        verdicts.judge(cell("a"), Count(2), Count(2));
        let wrong: Vec<_> = verdicts.wrong().keys().cloned().collect();
        assert_eq!(wrong, [cell("b")]);
    }

    #[test]
    fn only_wrong_cells_that_are_not_forgotten_take_memory() {
        let mut verdicts = Verdicts::default();
        verdicts.judge(cell("a"), Count(1), Count(0));
        verdicts.judge(cell("phantom"), Count(0), Count(9));
        verdicts.judge(cell("right"), Count(1), Count(1));
        let two = verdicts.bytes();
        assert!(two > 2 * (WRONG_CELL_BYTES + TEXTS_BYTES));
        verdicts.judge(cell("phantom"), Count(9), Count(8));
        assert_eq!(verdicts.bytes(), two);
        let hour = Cell {
            slot: stitch_testkit::samples::slot_at(Granularity::Hour, 0),
            ..cell("phantom")
        };
        verdicts.judge(hour.clone(), Count(9), Count(8));
        assert_eq!(
            verdicts.bytes(),
            two + WRONG_CELL_BYTES,
            "cells of a counter share its texts"
        );
        verdicts.judge(cell("phantom"), Count(9), Count(9));
        assert_eq!(verdicts.bytes(), two);
        verdicts.judge(hour, Count(9), Count(9));
        verdicts.forget();
        assert_eq!((verdicts.bytes(), verdicts.wrong_count()), (0, 1));
        assert!(verdicts.is_forgotten() && verdicts.wrong().is_empty());
    }

    #[test]
    fn a_dirty_cell_is_not_wrong_for_certain() {
        let mut verdicts = Verdicts::default();
        verdicts.judge(cell("a"), Count(1), Count(2));
        verdicts.judge(cell("b"), Count(1), Count(2));
        let dirty = BTreeSet::from([cell("a")]);
        let clean: Vec<_> = verdicts
            .wrong_and_clean(&dirty)
            .map(|(cell, _)| cell.clone())
            .collect();
        assert_eq!(clean, [cell("b")]);
    }
}
