//! What a history has of archive and totals: archivers, faults of the object store, and a log that loses its beginning.
//! Drawn apart: what else a history is does not depend on it.

use stitch_testkit::time::Micros;

use super::{
    ACTIVE, Command, Fault, History, Injection, LogDeletion, TotalsBuild, TotalsKind, When,
};
use crate::rng::Rng;
use crate::trace::Tracepoint;

const STORE_FAULTS: &[Fault] = &[
    Fault::AmbiguousWrites,
    Fault::AmbiguousWrites,
    Fault::StoreUnavailable,
    Fault::RefuseWrites,
    Fault::SlowStore,
    Fault::LaggingLists,
];

/// What may strike an archiver right after it, or while, it puts a segment.
const ARCHIVER_FAULTS: &[Fault] = &[
    Fault::Kill,
    Fault::Kill,
    Fault::Freeze,
    Fault::FreezeTwice,
    Fault::Slow,
    Fault::Stop,
    Fault::StalledFeed,
];

/// The percentage of histories with archivers.
const ARCHIVED: u64 = 20;

/// Adds them to a history.
pub(super) fn apply(seed: u64, history: &mut History) {
    let rng = Rng::new(seed.rotate_left(16) ^ 0x5eed);
    if rng.percent(ARCHIVED) {
        history.archivers = rng.pick(&[1, 2]);
        history.segment_age = rng.pick(&[100_000, 400_000, 1_000_000]);
        history.segment_bytes = rng.pick(&[200, 500, 100_000]);
        for _ in 0..rng.index(3) {
            history.faults.push(archiver_fault(&rng, history));
        }
    }
    if history.archivers == 0 && !history.totals {
        return;
    }
    for _ in 0..rng.index(3) {
        history.faults.push(store_fault(&rng));
    }
    if history.totals {
        history.is_made_again = rng.percent(20);
        if rng.percent(30) {
            let at = rng.below(ACTIVE);
            history.builds.push(TotalsBuild {
                at,
                kind: TotalsKind::LogEnd,
            });
            if rng.percent(60) {
                build_beyond_the_checkpoints(&rng, history);
            }
        } else if history.archivers == 0 && rng.percent(10) {
            history.builds.push(TotalsBuild {
                at: rng.below(ACTIVE / 2),
                kind: TotalsKind::LateCounter,
            });
        }
    }
    let unarchived = rng.percent(10);
    let mut at = 0;
    for _ in 0..rng.index(4) {
        at += rng.below(ACTIVE / 2);
        history.deletions.push(LogDeletion { at, unarchived });
    }
}

/// Totals are built when an event is in the log that no processor has counted yet, and a restoration follows.
fn build_beyond_the_checkpoints(rng: &Rng, history: &mut History) {
    const STALL: Micros = 1_500_000;
    let count = history.events.len();
    if count == 0 {
        return;
    }
    let event = history.events[rng.index(count)].at;
    for slot in 0..history.processors {
        history.faults.push(Injection {
            fault: Fault::StalledFeed,
            when: When::At(event.saturating_sub(10_000)),
            slot,
            node: 0,
            at_target: false,
            length: STALL,
            early_end: None,
        });
    }
    let built = event + 1000 + rng.below(20_000);
    for build in &mut history.builds {
        build.at = built;
    }
    history.commands.push(Command {
        at: built + rng.below(200_000),
        only_plan: false,
        range: None,
        counter: None,
        stop_after: None,
    });
}

fn when(rng: &Rng, point: Tracepoint) -> When {
    if rng.percent(30) {
        return When::At(rng.below(ACTIVE));
    }
    When::After {
        from: rng.pick(&[0, 300_000, 1_000_000]),
        point,
        next: None,
        times: 1 + u32::from(rng.percent(40)),
        delay: rng.pick(&[0, 300, 1500, 20_000]),
    }
}

fn length(rng: &Rng) -> Micros {
    match rng.below(3) {
        0 => rng.between(5000, 100_000),
        1 => rng.between(100_000, 900_000),
        _ => rng.between(900_000, 3_000_000),
    }
}

fn archiver_fault(rng: &Rng, history: &History) -> Injection {
    let point = rng.pick(&[Tracepoint::SegmentSent, Tracepoint::SegmentArchived]);
    Injection {
        fault: rng.pick(ARCHIVER_FAULTS),
        when: when(rng, point),
        slot: history.archiver_slot(rng.index(history.archivers)),
        node: 0,
        at_target: false,
        length: length(rng),
        early_end: None,
    }
}

fn store_fault(rng: &Rng) -> Injection {
    let points = [
        Tracepoint::SegmentSent,
        Tracepoint::BaselineTaken,
        Tracepoint::MembersListed,
        Tracepoint::Started,
    ];
    Injection {
        fault: rng.pick(STORE_FAULTS),
        when: when(rng, rng.pick(&points)),
        slot: 0,
        node: 0,
        at_target: false,
        length: length(rng),
        early_end: None,
    }
}
