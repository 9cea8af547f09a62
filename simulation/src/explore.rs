//! Many histories, one after the other on every core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::checker::Finding;
use crate::coverage::Coverage;
use crate::history::History;
use crate::play::play;

/// What came of many histories.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// How many there were.
    pub histories: u64,
    /// The wrapping sum of their traces' hashes: two builds that behave alike have the same.
    pub traces: u64,
    /// The first seed, in the order of seeds, at which something was found.
    pub found: Option<(u64, Finding)>,
    /// What was tried.
    pub coverage: Coverage,
}

/// Lets the histories of `count` seeds from `seed` on happen, on so many threads, and ends soon after something was
/// found. `prepare` is called on each thread first.
#[must_use]
pub fn explore(seed: u64, count: u64, threads: usize, prepare: impl Fn() + Sync) -> Explored {
    let next = AtomicU64::new(0);
    let end = AtomicU64::new(count);
    let all = Mutex::new(Explored::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                prepare();
                let own = work(seed, &next, &end);
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.histories += own.histories;
                all.traces = all.traces.wrapping_add(own.traces);
                all.coverage.add(&own.coverage);
                let earlier = |found: &(u64, Finding)| {
                    all.found.as_ref().is_none_or(|known| found.0 < known.0)
                };
                if let Some(found) = own.found.filter(earlier) {
                    all.found = Some(found);
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn work(seed: u64, next: &AtomicU64, end: &AtomicU64) -> Explored {
    let mut own = Explored::default();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= end.load(Ordering::Relaxed) {
            return own;
        }
        let seed = seed.wrapping_add(index);
        let verdict = play(&History::of(seed), false);
        own.histories += 1;
        own.traces = own.traces.wrapping_add(verdict.hash);
        own.coverage.add(&verdict.coverage);
        if let Some(finding) = verdict.finding {
            // Earlier ones go on, so that the first is told whatever the number of threads.
            end.fetch_min(index, Ordering::Relaxed);
            own.found = Some((seed, finding));
            return own;
        }
    }
}
