//! How many cells are corrected under one lock, so that it is held for about `lock_target_ms`, however fast the store is.
//! Learned from each lock.

use std::cell::Cell;
use std::time::Duration;

use stitch_common::config::Restorator;

/// The most cells for the first lock: a store that has just been started is several times slower than later
/// (`docs/performance.md`).
const FIRST_CELLS: usize = 100;
/// The least, however slow the store is: with so few cells most of a lock's time does not depend on their number.
const CELLS_MIN: usize = 20;

/// The size of chunks, learned from all ranges together.
#[derive(Debug)]
pub(crate) struct ChunkSizer {
    cells: Cell<usize>,
    cells_max: usize,
    target: Duration,
}

impl ChunkSizer {
    pub(crate) fn new(config: &Restorator) -> Self {
        let cells_max = config.cells_per_lock_max.max(1);
        Self {
            cells: Cell::new(FIRST_CELLS.min(cells_max)),
            cells_max,
            target: config.lock_target,
        }
    }

    /// The most cells for the next lock.
    pub(crate) fn cells(&self) -> usize {
        self.cells.get()
    }

    /// Learns from a lock that corrected `cells` in `took`. Changes the size by a factor of two at most, because one lock may
    /// have met anything. Few quick cells teach nothing, because most of their time was not spent per cell.
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

    fn sizer(cells_max: usize) -> ChunkSizer {
        let text = include_str!("../../../deploy/stitch.toml");
        let mut config = Config::parse("test", text, &Environment::default()).unwrap();
        config.restorator.cells_per_lock_max = cells_max;
        config.restorator.lock_target = Duration::from_millis(TARGET_MS);
        ChunkSizer::new(&config.restorator)
    }

    /// Locks at a store that corrects `cells_per_second`, after 100 ms for everything else.
    fn at(sizer: &ChunkSizer, cells_per_second: usize, locks: u32) -> Duration {
        let mut took = Duration::ZERO;
        for _ in 0..locks {
            let cells = sizer.cells();
            took = Duration::from_millis(100)
                + Duration::from_secs(1) * u32::try_from(cells).unwrap()
                    / u32::try_from(cells_per_second).unwrap();
            sizer.learn(cells, took);
        }
        took
    }

    #[test]
    fn locks_take_about_the_target_time_at_any_store() {
        let sizer = sizer(100_000);
        for cells_per_second in [100, 1000, 20_000, 400] {
            let took = at(&sizer, cells_per_second, 20);
            assert!(took.abs_diff(Duration::from_millis(TARGET_MS)) < Duration::from_millis(50));
        }
    }

    #[test]
    fn a_chunk_stays_between_its_least_and_its_greatest_size() {
        let sizer = sizer(50);
        assert_eq!(sizer.cells(), 50);
        at(&sizer, 100_000, 5);
        assert_eq!(sizer.cells(), 50);
        at(&sizer, 1, 20);
        assert_eq!(sizer.cells(), CELLS_MIN);
        let sizer = self::sizer(2);
        at(&sizer, 1, 20);
        assert_eq!(sizer.cells(), 2);
    }

    #[test]
    fn one_lock_changes_the_size_by_a_factor_of_two_at_most() {
        let sizer = sizer(100_000);
        sizer.learn(100, Duration::from_secs(60));
        assert_eq!(sizer.cells(), 50);
        sizer.learn(50, Duration::from_micros(1));
        assert_eq!(sizer.cells(), 100);
    }

    #[test]
    fn few_quick_cells_teach_nothing_and_few_slow_cells_do() {
        let sizer = sizer(100_000);
        sizer.learn(1, Duration::from_millis(TARGET_MS));
        assert_eq!(sizer.cells(), FIRST_CELLS);
        sizer.learn(60, Duration::from_millis(2 * TARGET_MS));
        assert_eq!(sizer.cells(), FIRST_CELLS / 2);
    }
}
