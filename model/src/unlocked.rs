//! Correction without the lock (design, section 10): what has no event from the base cut to the end of the log, asked
//! after it was read, is corrected at once.

use crate::bounds::{Bounds, Way};
use crate::keeper;
use crate::restorator::{finish, send};
use crate::state::{After, Phase, Restorator, State};

/// Whether something may be corrected without a lock.
pub(crate) fn may_correct(bounds: &Bounds, knows: &Restorator) -> bool {
    bounds.way != Way::Locked && knows.sure.contains(&true)
}

/// Corrections are sent, or there are none.
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

/// They were answered.
pub(crate) fn corrected(bounds: &Bounds, state: &mut State) {
    if std::mem::take(&mut state.restorator.doubts) {
        keeper::begin_calm(state);
        state.restorator.phase = Phase::Calming(After::Audit);
        return;
    }
    let knows = &mut state.restorator;
    for cell in 0..bounds.cells.len() {
        if knows.sure[cell] {
            // It holds what it should by the cut, whatever it is by now.
            (knows.read[cell], knows.wrong[cell]) = (knows.read[cell] + knows.wrong[cell], 0);
            (knows.sure[cell], knows.corrected[cell]) = (false, true);
        }
    }
    knows.phase = Phase::Audited;
}
