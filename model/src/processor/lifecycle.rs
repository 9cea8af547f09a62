//! The life of a processor's process and session: freeze, wake, stop, crash, expiry, join.

use stitch_common::offset::Offset;
use stitch_processor::engine::rule;

use crate::bounds::Bounds;
use crate::fault::Fault;
use crate::processor::{self, Step};
use crate::rule::Rule;
use crate::state::{ContributionState, ProcessState, State, Who};
use crate::zookeeper;

/// Lets processor `i` take a step of its life.
pub(crate) fn apply(state: &mut State, i: usize, step: Step, bounds: &Bounds) {
    match step {
        Step::Heartbeat => state.processors[i].fresh = true,
        Step::Cut => {
            state.faults.take(Fault::Cut);
            state.processors[i].fresh = false;
        }
        Step::Freeze(held) => freeze(state, i, held),
        Step::Wake => {
            state.processors[i].state = ProcessState::Up;
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
            // Requests in its memory are lost.
            state
                .sent
                .retain(|sent| sent.who != Who::Processor(i) || !sent.held);
            orphan(state, i);
            let session = state.processors[i].session;
            state.processors[i] = processor::new();
            let processor = &mut state.processors[i];
            (processor.state, processor.fresh) = (ProcessState::Down, false);
            processor.session = session;
        }
        Step::Expire => {
            distrust(bounds, state, i);
            leave_all(bounds, state, i);
            zookeeper::leave_dead_member(state);
        }
        Step::Join => {
            orphan(state, i);
            state.processors[i] = processor::new();
        }
        Step::Acquire(_)
        | Step::ReadEarly(_)
        | Step::Revoked(_)
        | Step::Write(_)
        | Step::WriteBegins(_)
        | Step::WriteLands(_)
        | Step::HandOver(_)
        | Step::Queue(_)
        | Step::Granted(_)
        | Step::RevocationRequested(_)
        | Step::Release(_)
        | Step::Send(..)
        | Step::GiveUp(..)
        | Step::Mark(_) => {}
    }
}

fn freeze(state: &mut State, i: usize, held: u8) {
    state.faults.take(Fault::Freeze);
    let processor = &mut state.processors[i];
    (processor.state, processor.fresh) = (ProcessState::Frozen, false);
    let own = state
        .sent
        .iter_mut()
        .filter(|sent| sent.who == Who::Processor(i));
    for (number, sent) in own.enumerate() {
        sent.held = held & (1 << number) != 0;
    }
    state.sent.sort_unstable();
}

/// Stops without draining: with a request in doubt, its member node stays behind.
fn stop(bounds: &Bounds, state: &mut State, i: usize) {
    state.faults.take(Fault::Stop);
    distrust(bounds, state, i);
    let mut parts = state.processors[i].ranges.iter().flat_map(|r| &r.parts);
    let in_doubt = parts.any(|part| part.state != ContributionState::Waiting);
    orphan(state, i);
    leave_all(bounds, state, i);
    if in_doubt && !bounds.lacks(Rule::LeaveWithoutDoubt) {
        zookeeper::leave_dead_member(state);
    }
    state.processors[i] = processor::new();
    let processor = &mut state.processors[i];
    (processor.state, processor.fresh, processor.session) = (ProcessState::Down, false, false);
}

fn leave_all(bounds: &Bounds, state: &mut State, i: usize) {
    state.processors[i].session = false;
    for holder in &mut state.holders {
        *holder = holder.filter(|holder| *holder != i);
    }
    for range in 0..bounds.ranges() {
        zookeeper::leave(state, range, Who::Processor(i));
    }
}

/// Detaches its requests in flight: no sender waits for their replies.
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

/// Notes that contributions which were begun and are not checkpointed will be counted again: drift until a restoration.
fn distrust(bounds: &Bounds, state: &mut State, i: usize) {
    for range in 0..bounds.ranges() {
        let counted = &state.processors[i].ranges[range];
        let at_rest = counted
            .parts
            .iter()
            .all(|part| part.state == ContributionState::Waiting);
        let tracks = || counted.tracks.iter().flatten();
        let is_drained = rule::is_drained(at_rest, tracks());
        let progress = state
            .checkpoints
            .iter()
            .map(|one| Offset(one[range].into()));
        let is_checkpointed = counted.tracks.iter().zip(progress);
        let is_checkpointed = is_checkpointed.into_iter().all(|(track, written)| {
            track
                .as_ref()
                .is_none_or(|track| rule::is_checkpointed(track, written))
        });
        if !(is_drained && is_checkpointed) {
            for cell in bounds.cells_of(range) {
                state.trusted[cell] = false;
            }
        }
    }
}
