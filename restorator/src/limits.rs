//! `--max-cells` and `--max-change`. Pure.

use crate::options::Limits;
use crate::plan::judge::Drift;

/// How much is corrected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub cells: u64,
    /// The sum of all corrections, by absolute value.
    pub change: u128,
}

impl Extent {
    /// The extent of these corrections.
    pub fn of(drifts: impl IntoIterator<Item = Drift>) -> Self {
        drifts.into_iter().fold(Self::default(), |sum, drift| {
            sum.plus(Self {
                cells: 1,
                change: u128::from(drift.size()),
            })
        })
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        Self {
            cells: self.cells.saturating_sub(other.cells),
            change: self.change.saturating_sub(other.change),
        }
    }

    pub const fn plus(self, other: Self) -> Self {
        Self {
            cells: self.cells.saturating_add(other.cells),
            change: self.change.saturating_add(other.change),
        }
    }
}

/// More than the operator expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    #[error("{found} cells would be corrected, and --max-cells allows {allowed}")]
    Cells { found: u64, allowed: u64 },
    #[error("the corrections add up to {found}, and --max-change allows {allowed}")]
    Change { found: u128, allowed: u64 },
}

/// Checks that correcting this much stays within the limits.
pub(crate) fn check(limits: Limits, extent: Extent) -> Result<(), Exceeded> {
    if let Some(allowed) = limits.max_cells
        && extent.cells > allowed
    {
        return Err(Exceeded::Cells {
            found: extent.cells,
            allowed,
        });
    }
    if let Some(allowed) = limits.max_change
        && extent.change > u128::from(allowed)
    {
        return Err(Exceeded::Change {
            found: extent.change,
            allowed,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::Count;

    fn extent(pairs: &[(i64, i64)]) -> Extent {
        let drifts = pairs
            .iter()
            .filter_map(|(e, c)| Drift::between(Count(*e), Count(*c)));
        Extent::of(drifts)
    }

    #[test]
    fn changes_do_not_cancel_each_other_out() {
        let both_ways = extent(&[(5, 0), (0, 5), (3, 3)]);
        assert_eq!((both_ways.cells, both_ways.change), (2, 10));
        let largest = extent(&[(i64::MIN, 0), (i64::MIN, 0)]);
        assert_eq!(largest.change, 1 << 64);
    }

    #[test]
    fn an_extent_at_the_limit_is_allowed() {
        let limits = Limits {
            max_cells: Some(2),
            max_change: Some(10),
        };
        assert_eq!(check(limits, extent(&[(5, 0), (0, 5)])), Ok(()));
        let cells = check(limits, extent(&[(1, 0), (0, 1), (2, 0)])).unwrap_err();
        assert_eq!(
            cells,
            Exceeded::Cells {
                found: 3,
                allowed: 2
            }
        );
        let change = check(limits, extent(&[(5, 0), (0, 6)])).unwrap_err();
        assert_eq!(
            change,
            Exceeded::Change {
                found: 11,
                allowed: 10
            }
        );
        assert_eq!(check(Limits::default(), extent(&[(i64::MIN, 0)])), Ok(()));
    }
}
