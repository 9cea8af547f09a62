//! Runs many histories, one after the other on every core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::coverage::Coverage;
use crate::history::History;
use crate::run::run;
use crate::world::checker::Finding;

/// The result of many histories.
#[derive(Clone, Debug, Default)]
pub struct Exploration {
    pub histories: u64,
    /// The wrapping sum of their traces' hashes: the same for two builds that behave alike.
    pub traces: u64,
    /// The first seed, in the order of seeds, with a violation.
    pub finding: Option<(u64, Finding)>,
    pub coverage: Coverage,
}

/// Runs the histories of `count` seeds from `seed` on, on this many threads, and ends soon after a violation was found.
/// Each thread calls `prepare` first.
pub fn explore(seed: u64, count: u64, threads: usize, prepare: impl Fn() + Sync) -> Exploration {
    explore_only(|_| true, seed, count, threads, prepare)
}

/// The same, but passes over the seeds of all other histories.
pub fn explore_only(
    only: impl Fn(&History) -> bool + Sync,
    seed: u64,
    count: u64,
    threads: usize,
    prepare: impl Fn() + Sync,
) -> Exploration {
    let next = AtomicU64::new(0);
    let end = AtomicU64::new(count);
    let all = Mutex::new(Exploration::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                prepare();
                let own = work(&only, seed, &next, &end);
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.histories += own.histories;
                all.traces = all.traces.wrapping_add(own.traces);
                all.coverage.add(&own.coverage);
                let earlier = |finding: &(u64, Finding)| {
                    all.finding.as_ref().is_none_or(|known| finding.0 < known.0)
                };
                if let Some(finding) = own.finding.filter(earlier) {
                    all.finding = Some(finding);
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn work(
    only: &impl Fn(&History) -> bool,
    seed: u64,
    next: &AtomicU64,
    end: &AtomicU64,
) -> Exploration {
    let mut own = Exploration::default();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= end.load(Ordering::Relaxed) {
            return own;
        }
        let seed = seed.wrapping_add(index);
        let history = History::from_seed(seed);
        if !only(&history) {
            continue;
        }
        let result = run(&history, false);
        own.histories += 1;
        own.traces = own.traces.wrapping_add(result.hash);
        own.coverage.add(&result.coverage);
        if let Some(finding) = result.finding {
            // Earlier seeds continue, so that the first one is reported whatever the number of threads.
            end.fetch_min(index, Ordering::Relaxed);
            own.finding = Some((seed, finding));
            return own;
        }
    }
}
