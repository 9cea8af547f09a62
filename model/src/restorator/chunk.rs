//! Chunks: a range with many wrong cells is locked several times, and some of its cells are corrected under each lock. The
//! product chooses the cells; here a chunk has at most one.

use crate::audit::{self, Ends};
use crate::bounds::{Bounds, CELLS};
use crate::fault::Fault;
use crate::restorator;
use crate::rule::Rule;
use crate::state::{Phase, State, Who};
use crate::zookeeper;

fn chunk(bounds: &Bounds, state: &State, range: usize) -> Option<[bool; CELLS]> {
    audit::chunk(bounds, &state.restorator, range)
}

/// Whether the next lock may be for a chunk.
pub(crate) fn may_lock(bounds: &Bounds, state: &State, range: usize) -> bool {
    state.faults.has(Fault::Chunk) && chunk(bounds, state, range).is_some()
}

/// Queues for the lock of a chunk.
pub(crate) fn lock(bounds: &Bounds, state: &mut State, range: usize) {
    state.faults.take(Fault::Chunk);
    state.restorator.chunk = chunk(bounds, state, range);
    restorator::lock(bounds, state, range);
}

/// If the lock was for a chunk, releases it: the cells are judged, and the range is not verified.
pub(crate) fn complete(bounds: &Bounds, state: &mut State, range: usize, cut: &Ends) -> bool {
    let Some(chunk) = state.restorator.chunk.take() else {
        return false;
    };
    if bounds.lacks(Rule::LastLockVerifies) {
        return false;
    }
    zookeeper::leave(state, range, Who::Restorator);
    let knows = &mut state.restorator;
    for cell in (0..bounds.cells.len()).filter(|cell| chunk[*cell]) {
        (knows.read[cell], knows.wrong[cell]) = (state.cells[cell], 0);
    }
    if bounds.lacks(Rule::PassedStayNoted) {
        let base = knows.base.iter_mut().zip(cut);
        base.for_each(|(offsets, cut)| offsets[range] = *cut);
    }
    knows.phase = Phase::ChunkCorrected;
    true
}
