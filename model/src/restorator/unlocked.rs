//! Correction without a lock: a cell without an event from the base cut up to the ceiling, read after the cell, is
//! corrected at once.

use crate::bounds::{Bounds, CorrectionMode};
use crate::restorator::{finish, send};
use crate::state::{After, Phase, Restorator, State};
use crate::zookeeper;

/// Whether any cell may be corrected without a lock.
pub(crate) fn may_correct(bounds: &Bounds, knows: &Restorator) -> bool {
    bounds.mode != CorrectionMode::Locked && knows.sure.contains(&true)
}

/// Sends the corrections, if there are any.
pub(crate) fn correct(bounds: &Bounds, state: &mut State) {
    if !may_correct(bounds, &state.restorator) {
        return finish(bounds, state);
    }
    for cell in 0..bounds.cells.len() {
        if state.restorator.sure[cell] {
            send(state, cell, state.restorator.wrong[cell]);
        }
    }
    state.sent.sort_unstable();
    state.restorator.phase = Phase::Correcting;
}

/// Continues when all corrections were answered.
pub(crate) fn continue_audit(bounds: &Bounds, state: &mut State) {
    if std::mem::take(&mut state.restorator.in_doubt) {
        zookeeper::begin_barrier(state);
        state.restorator.phase = Phase::AwaitingBarrier(After::Audit);
        return;
    }
    let knows = &mut state.restorator;
    for cell in 0..bounds.cells.len() {
        if knows.sure[cell] {
            // The cell is right at the cut, whatever was added since.
            (knows.read[cell], knows.wrong[cell]) = (knows.read[cell] + knows.wrong[cell], 0);
            (knows.sure[cell], knows.corrected[cell]) = (false, true);
        }
    }
    knows.phase = Phase::Audited;
}
