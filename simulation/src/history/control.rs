//! What a history has of operators who control its restorations. Drawn apart: what else a history is does not depend on it.

use super::{ACTIVE, Command, Fault, History, Injection, When};
use crate::rng::Rng;
use crate::trace::Tracepoint;

const COMMANDS: &[Fault] = &[
    Fault::PauseRun,
    Fault::PauseRun,
    Fault::AbortRun,
    Fault::HoldRuns,
    Fault::ThrottleRun,
];

/// The percentage of histories in which operators control restorations.
const CONTROLLED: u64 = 20;

/// Adds commands to a history.
pub(super) fn apply(seed: u64, history: &mut History) {
    let rng = Rng::new(seed.rotate_left(24) ^ 0xc0_11ed);
    if !rng.percent(CONTROLLED) {
        return;
    }
    if history.story.is_none() && rng.percent(50) {
        // Where nothing fails, a paused restoration has no reason to keep a lock.
        history.faults.clear();
    }
    if history.commands.iter().all(|command| command.only_plan) {
        history.commands.push(Command {
            at: rng.below(ACTIVE),
            only_plan: false,
            range: None,
            counter: None,
            stop_after: None,
        });
    }
    history.faults.push(injection(&rng, Fault::Corrupt));
    for _ in 0..=rng.index(3) {
        let fault = rng.pick(COMMANDS);
        history.faults.push(injection(&rng, fault));
    }
}

fn injection(rng: &Rng, fault: Fault) -> Injection {
    let when = if fault == Fault::Corrupt || rng.percent(20) {
        When::At(rng.below(ACTIVE))
    } else {
        When::After {
            from: 0,
            point: rng.pick(Tracepoint::STEPS_TO_CORRECTION),
            next: None,
            times: 1 + u32::from(rng.percent(40)) + u32::from(rng.percent(20)),
            delay: rng.pick(&[0, 0, 300, 1500, 20_000]),
        }
    };
    Injection {
        fault,
        when,
        slot: 0,
        node: 0,
        at_target: false,
        length: rng.pick(&[20_000, 400_000, 2_000_000]),
        early_end: None,
    }
}
