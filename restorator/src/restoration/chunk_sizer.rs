//! How many cells are corrected under one lock, so that it is held about as long as wanted, however fast the store is:
//! each lock tells how much it could have done in that time.

use std::cell::Cell;
use std::time::Duration;

use stitch_common::config::Restorator;

/// What the first lock corrects at most: a store that has just been started is several times slower than it is later
/// (`docs/performance.md`).
const FIRST_CELLS: usize = 100;
/// Not less, however slow the store is: most of a lock's time does not depend on how little is corrected then.
const CELLS_MIN: usize = 20;

/// The size of portions, learnt in all ranges together.
#[derive(Debug)]
pub(crate) struct ChunkSizer {
    cells: Cell<usize>,
    cells_max: usize,
    target: Duration,
}

impl ChunkSizer {
    /// Nothing is learnt yet.
    #[must_use]
    pub(crate) fn new(config: &Restorator) -> Self {
        let cells_max = config.cells_per_lock_max.max(1);
        Self {
            cells: Cell::new(FIRST_CELLS.min(cells_max)),
            cells_max,
            target: config.lock_target,
        }
    }

    /// How many cells the next lock corrects at most.
    #[must_use]
    pub(crate) fn cells(&self) -> usize {
        self.cells.get()
    }

    /// So many cells took so long. Changes the size by a factor of two at most, because one lock may have met anything;
    /// few cells that were quick tell nothing, because what is not done by the cell weighs most in them.
    pub(crate) fn learn(&self, cells: usize, took: Duration) {
        let size = self.cells();
        if cells < size && took <= self.target {
            return;
        }
        let took = took.as_micros().max(1);
        let fits = self.target.as_micros().saturating_mul(cells as u128) / took;
        let fits = usize::try_from(fits).unwrap_or(usize::MAX);
        let least = CELLS_MIN.min(self.cells_max);
        let next = fits.clamp(size / 2, size * 2).clamp(least, self.cells_max);
        self.cells.set(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::config::{Config, Environment};

    const TARGET_MS: u64 = 500;

    fn pace(cells_max: usize) -> ChunkSizer {
        let text = include_str!("../../../deploy/stitch.toml");
        let mut config = Config::parse("test", text, &Environment::default()).unwrap();
        config.restorator.cells_per_lock_max = cells_max;
        config.restorator.lock_target = Duration::from_millis(TARGET_MS);
        ChunkSizer::new(&config.restorator)
    }

    /// Portions at a store that corrects so many cells a second, after something that takes 100 ms.
    fn at(pace: &ChunkSizer, cells_per_second: usize, locks: u32) -> Duration {
        let mut took = Duration::ZERO;
        for _ in 0..locks {
            let cells = pace.cells();
            took = Duration::from_millis(100)
                + Duration::from_secs(1) * u32::try_from(cells).unwrap()
                    / u32::try_from(cells_per_second).unwrap();
            pace.learn(cells, took);
        }
        took
    }

    #[test]
    fn locks_become_as_long_as_wanted_at_any_store() {
        let pace = pace(100_000);
        for cells_per_second in [100, 1000, 20_000, 400] {
            let took = at(&pace, cells_per_second, 20);
            assert!(took.abs_diff(Duration::from_millis(TARGET_MS)) < Duration::from_millis(50));
        }
    }

    #[test]
    fn a_portion_stays_within_the_bound_and_above_nothing() {
        let pace = pace(50);
        assert_eq!(pace.cells(), 50);
        at(&pace, 100_000, 5);
        assert_eq!(pace.cells(), 50);
        at(&pace, 1, 20);
        assert_eq!(pace.cells(), CELLS_MIN);
        let pace = self::pace(2);
        at(&pace, 1, 20);
        assert_eq!(pace.cells(), 2);
    }

    #[test]
    fn one_lock_changes_it_by_a_factor_of_two_at_most() {
        let pace = pace(100_000);
        pace.learn(100, Duration::from_secs(60));
        assert_eq!(pace.cells(), 50);
        pace.learn(50, Duration::from_micros(1));
        assert_eq!(pace.cells(), 100);
    }

    #[test]
    fn few_cells_that_were_quick_tell_nothing_and_few_that_were_slow_do() {
        let pace = pace(100_000);
        pace.learn(1, Duration::from_millis(TARGET_MS));
        assert_eq!(pace.cells(), FIRST_CELLS);
        pace.learn(60, Duration::from_millis(2 * TARGET_MS));
        assert_eq!(pace.cells(), FIRST_CELLS / 2);
    }
}
