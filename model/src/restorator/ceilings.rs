//! Ceilings, and a deposed leader that does not show the log up to them.

use crate::audit::{self, of_range};
use crate::bounds::{Bounds, CELLS, RANGES};
use crate::fault::Fault;
use crate::restorator::Step;
use crate::rule::Rule;
use crate::state::{Broken, Cut, Phase, Reading, State};
use crate::zookeeper;

/// Which broker answers it.
pub(crate) fn leader_steps(state: &State, each: &mut impl FnMut(Step)) {
    let ends = matches!(state.restorator.phase, Phase::Dead | Phase::Done);
    if state.restorator.old_ends.is_some() {
        each(Step::FindLeader);
    } else if state.faults.has(Fault::DeposedLeader) && !ends {
        each(Step::DeposedLeader);
    }
}

/// What may have been begun, as the restorator learns it now.
pub(crate) fn ceilings(bounds: &Bounds, state: &State) -> Cut {
    let knows = &state.restorator;
    if bounds.lacks(Rule::CeilingNotEnd) {
        let ends = knows.old_ends.unwrap_or(state.ends);
        return ends.map(|end| [end; RANGES]);
    }
    let early = knows.early_ceilings;
    early.unwrap_or_else(|| zookeeper::ceilings(state))
}

/// Whether the log can be read up to the ceilings.
pub(crate) fn reaches_ceilings(bounds: &Bounds, state: &State) -> bool {
    let Some(ends) = state.restorator.old_ends else {
        return true;
    };
    let ceilings = ceilings(bounds, state);
    let mut both = ceilings.iter().zip(ends);
    both.all(|(ceilings, end)| ceilings.iter().all(|ceiling| *ceiling <= end))
}

/// Finds the cells to read under the lock.
pub(crate) fn follow(bounds: &Bounds, state: &mut State, range: usize, cut: audit::Ends) {
    let knows = &state.restorator;
    let ceilings = match bounds.lacks(Rule::DirtyBeyondCut) {
        true => cut,
        false => of_range(&ceilings(bounds, state), range),
    };
    let Some(cells) = audit::to_read(bounds, knows, range, &cut, &ceilings) else {
        state.broken = Some(Broken::I2);
        return;
    };
    let reading = Reading {
        cut,
        cells,
        corrected: [false; CELLS],
    };
    state.restorator.phase = Phase::Reading(range, reading);
}
