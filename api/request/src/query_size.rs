//! How much one query may ask for, in all of its parts together.

use crate::problem::Problem;
use crate::query_string::Query;

const KEY: &str = "key";
/// Points, in series of the longest length.
const SERIES_MAX: usize = 20;
/// Cells that everything is added up from.
const CELLS_MAX: usize = 200_000;

/// What a query, or a part of it, asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuerySize {
    /// Points of series.
    pub points: usize,
    /// Cells that the counts are added up from.
    pub cells: usize,
}

impl QuerySize {
    /// Adds a part.
    pub const fn add(&mut self, part: Self) {
        self.points = self.points.saturating_add(part.points);
        self.cells = self.cells.saturating_add(part.cells);
    }

    /// Refuses what is too much, if one series may have `series_points_max` points. There may be more parts that are not added yet.
    ///
    /// # Errors
    /// The problem names the limit.
    pub fn check(self, series_points_max: usize, query: &Query) -> Result<(), Problem> {
        let points_max = SERIES_MAX.saturating_mul(series_points_max);
        for (what, count, max) in [
            ("points", self.points, points_max),
            ("buckets", self.cells, CELLS_MAX),
        ] {
            if count > max {
                let detail = format!(
                    "all parts together have at least {count} {what}, one request may have {max}: name fewer keys, or a \
                     shorter time"
                );
                return Err(query.invalid(KEY, detail));
            }
        }
        Ok(())
    }
}
