//! What becomes of a processor's process and session: it freezes, wakes, ends, is killed, and starts again.

use stitch_common::offset::Offset;
use stitch_processor::engine::rule;

use crate::bounds::Bounds;
use crate::fault::Fault;
use crate::keeper;
use crate::processor::{self, Step};
use crate::rule::Rule;
use crate::state::{PartState, Standing, State, Who};

/// This becomes of processor `i`.
pub(crate) fn take(state: &mut State, i: usize, step: Step, bounds: &Bounds) {
    match step {
        Step::Heartbeat => state.processors[i].fresh = true,
        Step::Cut => {
            state.faults.take(Fault::Cut);
            state.processors[i].fresh = false;
        }
        Step::Freeze(held) => freeze(state, i, held),
        Step::Wake => {
            state.processors[i].standing = Standing::Up;
            let own = state
                .sent
                .iter_mut()
                .filter(|sent| sent.who == Who::Processor(i));
            own.for_each(|sent| sent.held = false);
            state.sent.sort_unstable();
        }
        Step::Stop => stop(bounds, state, i),
        Step::Crash => {
            state.faults.take(Fault::Crash);
            distrust(bounds, state, i);
            // What was still in its memory goes with it.
            state
                .sent
                .retain(|sent| sent.who != Who::Processor(i) || !sent.held);
            orphan(state, i);
            let session = state.processors[i].session;
            state.processors[i] = processor::new();
            let processor = &mut state.processors[i];
            (processor.standing, processor.fresh) = (Standing::Down, false);
            processor.session = session;
        }
        Step::Expire => {
            distrust(bounds, state, i);
            leave_all(bounds, state, i);
            keeper::bury(state);
        }
        Step::Join => {
            orphan(state, i);
            state.processors[i] = processor::new();
        }
        Step::Take(_)
        | Step::ReadEarly(_)
        | Step::Revoked(_)
        | Step::Write(_)
        | Step::WriteBegins(_)
        | Step::WriteLands(_)
        | Step::HandOver(_)
        | Step::Queue(_)
        | Step::Granted(_)
        | Step::YieldAsked(_)
        | Step::Release(_)
        | Step::Send(..)
        | Step::GiveUp(..)
        | Step::Marker(_) => {}
    }
}

fn freeze(state: &mut State, i: usize, held: u8) {
    state.faults.take(Fault::Freeze);
    let processor = &mut state.processors[i];
    (processor.standing, processor.fresh) = (Standing::Frozen, false);
    let own = state
        .sent
        .iter_mut()
        .filter(|sent| sent.who == Who::Processor(i));
    for (number, sent) in own.enumerate() {
        sent.held = held & (1 << number) != 0;
    }
    state.sent.sort_unstable();
}

/// It leaves with what time it has: with anything unsettled, its member node stays behind.
fn stop(bounds: &Bounds, state: &mut State, i: usize) {
    state.faults.take(Fault::Stop);
    distrust(bounds, state, i);
    let mut parts = state.processors[i].ranges.iter().flat_map(|r| &r.parts);
    let in_doubt = parts.any(|part| part.state != PartState::Waiting);
    orphan(state, i);
    leave_all(bounds, state, i);
    if in_doubt && !bounds.lacks(Rule::DeadMember) {
        keeper::bury(state);
    }
    state.processors[i] = processor::new();
    let processor = &mut state.processors[i];
    (processor.standing, processor.fresh, processor.session) = (Standing::Down, false, false);
}

fn leave_all(bounds: &Bounds, state: &mut State, i: usize) {
    state.processors[i].session = false;
    for holder in &mut state.holders {
        *holder = holder.filter(|holder| *holder != i);
    }
    for range in 0..bounds.ranges() {
        keeper::leave(state, range, Who::Processor(i));
    }
}

/// Nobody waits for answers to what it sent any more.
fn orphan(state: &mut State, i: usize) {
    let own = state
        .sent
        .iter_mut()
        .filter(|sent| sent.who == Who::Processor(i));
    for sent in own {
        (sent.who, sent.awaited, sent.held) = (Who::Former, false, false);
    }
    state.sent.sort_unstable();
}

/// What it has begun and not told will be counted again: drift, for the next restoration.
fn distrust(bounds: &Bounds, state: &mut State, i: usize) {
    for range in 0..bounds.ranges() {
        let counted = &state.processors[i].ranges[range];
        let at_rest = counted
            .parts
            .iter()
            .all(|part| part.state == PartState::Waiting);
        let tracks = || counted.tracks.iter().flatten();
        let settled = rule::is_drained(at_rest, tracks());
        let progress = state.progress.iter().map(|one| Offset(one[range].into()));
        let told = counted.tracks.iter().zip(progress);
        let told = told.into_iter().all(|(track, written)| {
            track
                .as_ref()
                .is_none_or(|track| rule::is_checkpointed(track, written))
        });
        if !(settled && told) {
            for cell in bounds.cells_of(range) {
                state.trusted[cell] = false;
            }
        }
    }
}
