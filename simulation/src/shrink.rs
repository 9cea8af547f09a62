//! Makes a history that fails smaller, for as long as it fails in the same way: fewer faults, orders, events and
//! processes, shorter waits, fewer ranges.

use crate::checker::Kind;
use crate::history::{History, When};
use crate::play::play;

/// How often a history is tried at most.
const TRIES_MAX: usize = 600;

/// The smallest history found that fails in the same way.
#[must_use]
pub fn shrink(history: &History) -> History {
    let Some(finding) = play(history, false).finding else {
        return history.clone();
    };
    let mut tries = 0;
    let mut smallest = history.clone();
    loop {
        let before = smallest.clone();
        for candidate in smaller(&before) {
            if tries == TRIES_MAX {
                return smallest;
            }
            tries += 1;
            if fails(&candidate, finding.kind) {
                smallest = candidate;
                break;
            }
        }
        if smallest == before {
            return smallest;
        }
    }
}

fn fails(history: &History, kind: Kind) -> bool {
    play(history, false)
        .finding
        .is_some_and(|found| found.kind == kind)
}

/// Smaller histories, the smallest steps last.
fn smaller(of: &History) -> Vec<History> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut History)| {
        let mut smaller = of.clone();
        change(&mut smaller);
        if smaller != *of {
            all.push(smaller);
        }
    };
    let mut size = of.events.len() / 2;
    while size > 0 {
        for from in (0..of.events.len()).step_by(size) {
            let to = (from + size).min(of.events.len());
            with(&|history| drop(history.events.drain(from..to)));
        }
        size /= 2;
    }
    for index in 0..of.faults.len() {
        with(&|history| {
            history.faults.remove(index);
        });
    }
    for index in 0..of.orders.len() {
        with(&|history| {
            history.orders.remove(index);
        });
        with(&|history| history.orders[index].stop_after = None);
    }
    with(&|history| {
        history.processors = 1;
        history.drifts.truncate(2);
    });
    with(&|history| history.drifts.iter_mut().for_each(|drift| *drift = 0));
    with(&|history| {
        history.partitions = 1;
        history
            .events
            .iter_mut()
            .for_each(|event| event.partition = 0);
    });
    with(&|history| {
        history.bits = 0;
        history
            .orders
            .iter_mut()
            .for_each(|order| order.range = None);
    });
    with(&|history| history.portion = None);
    with(&|history| history.side_by_side = 1);
    with(&|history| history.in_flight = 1);
    with(&|history| history.latency = 500);
    for index in 0..of.faults.len() {
        with(&|history| history.faults[index].until = None);
        with(&|history| history.faults[index].length /= 2);
        with(&|history| {
            if let When::After { delay, .. } = &mut history.faults[index].when {
                *delay = 0;
            }
        });
    }
    all
}
