//! Correction without the lock: a cell without an event from the base cut up to the ceiling, which is read after the cell, is
//! corrected at once, and read again. What is wrong after that is left to the lock.

use crate::audit;
use crate::bounds::{Bounds, CorrectionMode};
use crate::restorator::{audited, finish, send};
use crate::rule::Rule;
use crate::state::{Phase, Restorator, State};
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
            state.restorator.corrected[cell] = true;
        }
    }
    state.sent.sort_unstable();
    state.restorator.phase = Phase::Correcting;
}

/// Continues when all corrections were answered: where one is in doubt, the range is marked, and the restorator converges,
/// which waits the marker out.
pub(crate) fn answered(bounds: &Bounds, state: &mut State) {
    if std::mem::take(&mut state.restorator.in_doubt) {
        for range in 0..bounds.ranges() {
            let has_sure = bounds
                .cells_of(range)
                .any(|cell| state.restorator.sure[cell]);
            if has_sure && !bounds.lacks(Rule::MarkerAtRest) {
                zookeeper::create_marker(state, range);
            }
        }
        state.restorator.phase = Phase::Converging(state.checkpoints);
    } else {
        state.restorator.phase = Phase::ReadingAgain(0);
    }
}

/// Reads a corrected cell again; after the last one, the ceilings.
pub(crate) fn read_again(bounds: &Bounds, state: &mut State, cell: usize) {
    if cell == bounds.cells.len() {
        state.restorator.sure = Default::default();
        return audited(bounds, state);
    }
    let knows = &mut state.restorator;
    if knows.sure[cell] && bounds.lacks(Rule::ReadAgain) {
        (knows.read[cell], knows.wrong[cell]) = (knows.read[cell] + knows.wrong[cell], 0);
    } else if knows.sure[cell] {
        knows.read[cell] = state.cells[cell];
        knows.wrong[cell] = audit::judge(bounds, &knows.base, cell, state.cells[cell]);
    }
    knows.phase = Phase::ReadingAgain(cell + 1);
}
