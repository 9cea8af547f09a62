//! What a history has of batch counts: runs of `stitch-batch`, what strikes them, and cells that are changed by hand. Drawn
//! apart: what else a history is does not depend on it.

use stitch_testkit::time::Micros;

use super::{ACTIVE, Fault, History, Injection, When};
use crate::rng::Rng;
use crate::trace::Tracepoint;

/// A run of `stitch-batch` by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchJob {
    pub at: Micros,
    pub kind: BatchKind,
}

/// What a run of `stitch-batch` loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    /// Totals up to the end of the log.
    Run,
    /// The same without a counter, which is added by the runs that follow.
    WithoutLateCounter,
    /// The totals that were loaded first.
    LoadFirst,
}

/// The percentage of histories with batch counts, among those with neither archive nor totals of restorations: the
/// log loses nothing there, so that every run can count what it has to.
const WITH_BATCH: u64 = 25;

/// What may strike a run between two of its steps.
const FAULTS: &[Fault] = &[
    Fault::Kill,
    Fault::Kill,
    Fault::Freeze,
    Fault::FreezeTwice,
    Fault::Slow,
    Fault::Disconnect,
    Fault::IsolateFromZooKeeper,
    Fault::IsolateFromNode,
    Fault::StalledFeed,
];

/// What may befall what it works with.
const SERVER_FAULTS: &[Fault] = &[
    Fault::Unavailable,
    Fault::Timeouts,
    Fault::Late,
    Fault::Unreplicated,
    Fault::Refuse,
    Fault::NodeFreeze,
    Fault::NodeKill,
    Fault::SlowStore,
    Fault::AmbiguousWrites,
    Fault::StoreUnavailable,
    Fault::CorruptBatch,
    Fault::CorruptBatch,
];

const POINTS: &[Tracepoint] = &[
    Tracepoint::TotalsPublished,
    Tracepoint::BatchLoading,
    Tracepoint::BatchCellsSent,
    Tracepoint::BatchCellsSent,
    Tracepoint::BatchScanned,
    Tracepoint::BatchPublished,
];

/// Adds them to a history.
pub(super) fn apply(seed: u64, history: &mut History) {
    let rng = Rng::new(seed.rotate_left(40) ^ 0xba_7c4);
    if history.totals || history.archivers > 0 || !rng.percent(WITH_BATCH) {
        return;
    }
    if rng.percent(30) {
        history.batch.push(BatchJob {
            at: rng.below(300_000),
            kind: BatchKind::WithoutLateCounter,
        });
    }
    let mut at = 300_000;
    for number in 0..rng.between(1, 4) {
        // Now and then two at once.
        at += if rng.percent(40) {
            rng.below(60_000)
        } else {
            rng.below(ACTIVE / 3)
        };
        let is_load = number > 0 && rng.percent(25);
        history.batch.push(BatchJob {
            at,
            kind: if is_load {
                BatchKind::LoadFirst
            } else {
                BatchKind::Run
            },
        });
    }
    for _ in 0..rng.index(4) {
        let slot = history.batch_slot(rng.index(history.batch.len()));
        history.faults.push(injection(&rng, rng.pick(FAULTS), slot));
    }
    for _ in 0..rng.index(3) {
        let slot = rng.index(history.processors);
        let fault = rng.pick(SERVER_FAULTS);
        history.faults.push(injection(&rng, fault, slot));
    }
}

fn injection(rng: &Rng, fault: Fault, slot: usize) -> Injection {
    let when = if rng.percent(20) {
        When::At(rng.below(ACTIVE))
    } else {
        When::After {
            from: rng.pick(&[0, 300_000, 1_000_000]),
            point: rng.pick(POINTS),
            next: None,
            times: 1 + u32::from(rng.percent(50)) + u32::from(rng.percent(30)),
            delay: rng.pick(&[0, 0, 300, 1500, 20_000]),
        }
    };
    Injection {
        fault,
        when,
        slot,
        node: rng.index(crate::world::cassandra::NODES),
        at_target: false,
        length: match rng.below(3) {
            0 => rng.between(5000, 100_000),
            1 => rng.between(100_000, 500_000),
            _ => rng.between(500_000, 2_000_000),
        },
        early_end: None,
    }
}
