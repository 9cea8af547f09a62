//! Shrinks a history as long as it fails in the same way: fewer faults, commands, events and processes, shorter delays,
//! fewer ranges.

use std::ops::Range;

use crate::history::{AMPLE_MEMORY, History, When};
use crate::run::run;
use crate::world::checker::Kind;

/// The most histories that are tried.
const TRIES_MAX: usize = 600;

/// The smallest history found that fails in the same way.
pub fn shrink(history: &History) -> History {
    let Some(finding) = run(history, false).finding else {
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
    run(history, false)
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
    for part in parts(of.events.len()) {
        with(&|history| drop(history.events.drain(part.clone())));
    }
    for index in 0..of.faults.len() {
        with(&|history| {
            history.faults.remove(index);
        });
    }
    for index in 0..of.commands.len() {
        with(&|history| {
            history.commands.remove(index);
        });
        with(&|history| history.commands[index].stop_after = None);
        with(&|history| history.commands[index].counter = None);
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
            .commands
            .iter_mut()
            .for_each(|command| command.range = None);
    });
    with(&|history| history.memory = AMPLE_MEMORY);
    with(&|history| history.totals = false);
    with(&|history| history.archivers = 0);
    with(&|history| history.builds.clear());
    with(&|history| history.is_made_again = false);
    for index in 0..of.batch.len() {
        with(&|history| {
            history.batch.remove(index);
        });
    }
    for index in 0..of.deletions.len() {
        with(&|history| {
            history.deletions.remove(index);
        });
    }
    with(&|history| history.ranges_in_flight = 1);
    with(&|history| history.in_flight = 1);
    with(&|history| history.latency = 500);
    for index in 0..of.faults.len() {
        with(&|history| history.faults[index].early_end = None);
        with(&|history| history.faults[index].length /= 2);
        with(&|history| {
            if let When::After { delay, .. } = &mut history.faults[index].when {
                *delay = 0;
            }
        });
    }
    all
}

/// The parts of a list that may be left out, the long ones first.
fn parts(count: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut size = count / 2;
    while size > 0 {
        let starts = (0..count).step_by(size);
        parts.extend(starts.map(|from| from..(from + size).min(count)));
        size /= 2;
    }
    parts
}
