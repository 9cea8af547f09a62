//! Compares the sums of the log with the cells of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{CellId, Cells};

/// The result of a recount.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Right and wrong cells by granularity, shortest first.
    pub tallies: BTreeMap<Granularity, Tally>,
    pub wrong: Vec<WrongCell>,
}

/// A granularity, ordered from the shortest to the longest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Granularity(usize, String);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub right: u64,
    pub wrong: u64,
}

/// A cell that differs from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongCell {
    pub id: CellId,
    /// The sum of the log.
    pub expected: i64,
    /// The value in the table.
    pub found: i64,
}

/// In which way a cell is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// The cell should not exist.
    Phantom,
    /// The cell does not exist.
    Missing,
    /// The value is nearer to 0 than it should be, or has the other sign.
    TooLittle,
    /// The value is further from 0 than it should be.
    TooMuch,
}

impl Verdict {
    /// Compares every cell that either side has.
    pub fn of(expected: &Cells, found: &Cells) -> Self {
        let mut verdict = Self {
            tallies: BTreeMap::new(),
            wrong: Vec::new(),
        };
        let ids: BTreeSet<&CellId> = expected.keys().chain(found.keys()).collect();
        for id in ids {
            let value = |cells: &Cells| cells.get(id).copied().unwrap_or_default();
            let (expected, found) = (value(expected), value(found));
            let granularity = Granularity::of(&id.granularity);
            let tally = verdict.tallies.entry(granularity).or_default();
            if expected == found {
                tally.right += 1;
            } else {
                tally.wrong += 1;
                verdict.wrong.push(WrongCell {
                    id: id.clone(),
                    expected,
                    found,
                });
            }
        }
        verdict
    }

    /// All granularities together.
    pub fn total(&self) -> Tally {
        let add = |sum: Tally, tally: &Tally| Tally {
            right: sum.right + tally.right,
            wrong: sum.wrong + tally.wrong,
        };
        self.tallies.values().fold(Tally::default(), add)
    }

    /// Whether there is at least one cell, and all are right.
    pub fn all_right(&self) -> bool {
        let total = self.total();
        total.wrong == 0 && total.right > 0
    }

    /// The number of cells that are wrong in each way.
    pub fn ways(&self) -> BTreeMap<Wrong, u64> {
        let mut ways = BTreeMap::new();
        for cell in &self.wrong {
            *ways.entry(cell.way()).or_default() += 1;
        }
        ways
    }
}

impl Granularity {
    fn of(granularity: &str) -> Self {
        const SHORTEST_FIRST: [&str; 7] =
            ["minute", "quarter", "hour", "day", "month", "year", "all"];
        let rank = SHORTEST_FIRST.iter().position(|name| *name == granularity);
        Self(rank.unwrap_or(SHORTEST_FIRST.len()), granularity.to_owned())
    }

    pub fn name(&self) -> &str {
        &self.1
    }
}

impl WrongCell {
    /// In which way it is wrong.
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
            let id = &cell.id;
            write!(
                f,
                "\n  {} {} {} {} ms: expected {}, found {}",
                id.counter, id.key, id.granularity, id.bucket_ms, cell.expected, cell.found
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[(&str, i64)]) -> Cells {
        let id = |key: &str| CellId {
            counter: "c".to_owned(),
            key: key.to_owned(),
            granularity: "all".to_owned(),
            bucket_ms: 0,
        };
        values
            .iter()
            .map(|(key, value)| (id(key), *value))
            .collect()
    }

    #[test]
    fn only_differing_cells_are_wrong() {
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
    fn an_empty_comparison_is_not_right() {
        assert!(!Verdict::of(&cells(&[]), &cells(&[])).all_right());
        assert!(Verdict::of(&cells(&[("a", 1)]), &cells(&[("a", 1)])).all_right());
    }
}
