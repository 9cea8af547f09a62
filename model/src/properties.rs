//! What must hold. The properties know the log and the state of the world, and ask no predicate of the product.

use crate::audit::{self, Ends, of_range};
use crate::bounds::{Bounds, PROCESSORS};
use crate::processor::partition;
use crate::state::{Broken, ContributionState, Phase, Sent, State, Who};

/// I1: while a range's exclusive lock is held past R2, only its holder has requests in it that could still change the
/// store.
pub fn keeps_i1(bounds: &Bounds, state: &State) -> bool {
    let Some(range) = state.restorator.phase.locked() else {
        return true;
    };
    let stranger = |sent: &Sent| sent.who != Who::Restorator && bounds.cells[sent.cell] == range;
    !state.sent.iter().any(stranger)
}

/// I6: no two living sessions hold one partition.
pub fn keeps_i6(bounds: &Bounds, state: &State) -> bool {
    (0..bounds.log.len()).all(|partition| {
        let owners = (0..PROCESSORS).filter(|&i| {
            let processor = &state.processors[i];
            let owned = processor.partitions[partition];
            processor.session && owned.is_some_and(|owned| owned.stage.holds_lock())
        });
        owners.count() <= 1
    })
}

/// The total of a cell over the events below these offsets.
fn total(bounds: &Bounds, cell: usize, ends: &Ends) -> i16 {
    let partitions = 0..bounds.log.len();
    partitions.map(|p| bounds.sum(p, 0, ends[p], cell)).sum()
}

/// Checks a range that is about to be called verified: I2, I3 and I4.
pub(crate) fn check_verified(bounds: &Bounds, state: &mut State, range: usize, cut: &Ends) {
    let now = of_range(&state.checkpoints, range);
    if audit::has_passed(bounds, range, cut, &now, &state.ends) {
        state.broken = Some(Broken::I2);
    }
    for cell in bounds.cells_of(range) {
        if state.cells[cell] != total(bounds, cell, cut) {
            state.broken = Some(Broken::I3);
        }
        state.trusted[cell] = true;
    }
    if !(0..PROCESSORS).all(|i| resumes_at(bounds, state, i, range, cut)) {
        state.broken = Some(Broken::I4);
    }
}

/// I4: a processor resumes with exactly the events at and above the cut.
fn resumes_at(bounds: &Bounds, state: &State, i: usize, range: usize, cut: &Ends) -> bool {
    let processor = &state.processors[i];
    if !processor.session {
        return true;
    }
    processor.partitions.iter().enumerate().all(|(p, owned)| {
        let Some(owned) = owned.filter(|owned| owned.stage.holds_lock()) else {
            return true;
        };
        let checkpoint = partition::checkpoint(bounds, processor, p, &owned)[range];
        let (low, high) = (checkpoint.min(cut[p]), checkpoint.max(cut[p]));
        let parts = &processor.ranges[range].parts;
        let begun = |part: &&crate::state::Contribution| {
            part.partition == p && part.state != ContributionState::Waiting
        };
        !bounds.touches(p, low, high, range) && !parts.iter().any(|part| begun(&part))
    })
}

/// Whether the history has ended: the whole log is produced and checkpointed, no request is in flight, and the
/// restoration is done.
pub fn has_ended(bounds: &Bounds, state: &State) -> bool {
    let is_checkpointed = |p: usize| {
        let whole = bounds.log[p].len() == usize::from(state.ends[p]);
        let ranges = 0..bounds.ranges();
        whole
            && ranges
                .into_iter()
                .all(|r| state.checkpoints[p][r] == state.ends[p])
    };
    state.restorator.phase == Phase::Done
        && state.sent.is_empty()
        && (0..bounds.log.len()).all(is_checkpointed)
}

/// In the end every cell is right that was shown to be right, unless there was a fault since.
pub fn is_right_in_the_end(bounds: &Bounds, state: &State) -> bool {
    let mut cells = (0..bounds.cells.len()).filter(|cell| state.trusted[*cell]);
    !has_ended(bounds, state)
        || cells.all(|cell| state.cells[cell] == total(bounds, cell, &state.ends))
}
