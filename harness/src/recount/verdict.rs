//! The comparison of what the log says with what the table says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Cells, Place};

/// What the recount found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Right and wrong cells of each granularity, shortest first.
    pub tallies: BTreeMap<Order, Tally>,
    /// Every wrong cell.
    pub wrong: Vec<WrongCell>,
}

/// Granularities from the shortest to the longest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order(usize, String);

/// How many cells are right and wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cells that are as the log says.
    pub right: u64,
    /// Cells that are not.
    pub wrong: u64,
}

/// A cell that is not what the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongCell {
    /// Which.
    pub place: Place,
    /// What the log says.
    pub expected: i64,
    /// What the table says.
    pub found: i64,
}

/// In which way a cell is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// There should be nothing.
    Phantom,
    /// There is nothing.
    Missing,
    /// It is nearer to 0 than it should be, or beyond.
    TooLittle,
    /// It is further from 0 than it should be.
    TooMuch,
}

impl Verdict {
    /// Compares every cell that either of the two has.
    #[must_use]
    pub fn of(expected: &Cells, found: &Cells) -> Self {
        let mut verdict = Self {
            tallies: BTreeMap::new(),
            wrong: Vec::new(),
        };
        let places: BTreeSet<&Place> = expected.keys().chain(found.keys()).collect();
        for place in places {
            let value = |cells: &Cells| cells.get(place).copied().unwrap_or_default();
            let (expected, found) = (value(expected), value(found));
            let order = Order::of(&place.granularity);
            let tally = verdict.tallies.entry(order).or_default();
            if expected == found {
                tally.right += 1;
            } else {
                tally.wrong += 1;
                verdict.wrong.push(WrongCell {
                    place: place.clone(),
                    expected,
                    found,
                });
            }
        }
        verdict
    }

    /// All granularities together.
    #[must_use]
    pub fn total(&self) -> Tally {
        let add = |sum: Tally, tally: &Tally| Tally {
            right: sum.right + tally.right,
            wrong: sum.wrong + tally.wrong,
        };
        self.tallies.values().fold(Tally::default(), add)
    }

    /// Whether there are cells, and all are right.
    #[must_use]
    pub fn all_right(&self) -> bool {
        let total = self.total();
        total.wrong == 0 && total.right > 0
    }

    /// How many cells are wrong in which way.
    #[must_use]
    pub fn ways(&self) -> BTreeMap<Wrong, u64> {
        let mut ways = BTreeMap::new();
        for cell in &self.wrong {
            *ways.entry(cell.way()).or_default() += 1;
        }
        ways
    }
}

impl Order {
    fn of(granularity: &str) -> Self {
        const SHORTEST_FIRST: [&str; 5] = ["hour", "day", "month", "year", "all"];
        let rank = SHORTEST_FIRST.iter().position(|name| *name == granularity);
        Self(rank.unwrap_or(SHORTEST_FIRST.len()), granularity.to_owned())
    }

    /// The granularity.
    #[must_use]
    pub fn granularity(&self) -> &str {
        &self.1
    }
}

impl WrongCell {
    /// In which way it is wrong.
    #[must_use]
    pub fn way(&self) -> Wrong {
        match (self.expected, self.found) {
            (0, _) => Wrong::Phantom,
            (_, 0) => Wrong::Missing,
            (expected, found) if (expected > 0) == (found > expected) => Wrong::TooMuch,
            (_, _) => Wrong::TooLittle,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 20;
        let total = self.total();
        write!(f, "{} cells right, {} wrong", total.right, total.wrong)?;
        for cell in self.wrong.iter().take(SHOWN_MAX) {
            let place = &cell.place;
            write!(
                f,
                "\n  {} {} {} {} ms: expected {}, found {}",
                place.counter,
                place.key,
                place.granularity,
                place.bucket_ms,
                cell.expected,
                cell.found
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[(&str, i64)]) -> Cells {
        let place = |key: &str| Place {
            counter: "c".to_owned(),
            key: key.to_owned(),
            granularity: "all".to_owned(),
            bucket_ms: 0,
        };
        values
            .iter()
            .map(|(key, value)| (place(key), *value))
            .collect()
    }

    #[test]
    fn every_difference_is_wrong_and_nothing_else() {
        let expected = cells(&[("right", 2), ("missing", 1), ("much", 3), ("little", -3)]);
        let found = cells(&[("right", 2), ("phantom", 1), ("much", 6), ("little", -1)]);
        let verdict = Verdict::of(&expected, &found);
        assert_eq!(verdict.total(), Tally { right: 1, wrong: 4 });
        let ways: Vec<Wrong> = verdict.ways().into_keys().collect();
        assert_eq!(
            ways,
            [
                Wrong::Phantom,
                Wrong::Missing,
                Wrong::TooLittle,
                Wrong::TooMuch
            ]
        );
    }

    #[test]
    fn a_missing_cell_equals_zero_and_nothing_at_all_is_not_right() {
        assert!(!Verdict::of(&cells(&[]), &cells(&[])).all_right());
        assert!(Verdict::of(&cells(&[("a", 1)]), &cells(&[("a", 1)])).all_right());
    }
}
