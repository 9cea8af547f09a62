//! ZooKeeper: lock queues, in-doubt markers, dead members, and the quiescence barrier that they call for.

use stitch_common::checkpoint::Ceiling;
use stitch_protocol::contender::{Contender, Guid, Kind, Sequence};
use stitch_protocol::queue;
use stitch_protocol::revocation::RevocationRequest;

use crate::bounds::{Bounds, range_id};
use crate::rule::Rule;
use crate::state::{Cut, Marker, Observers, ProcessState, QueueEntry, Sent, State, Who};

/// An entry of a queue as the product reads it: its index is its sequence number.
fn contender(number: usize, entry: QueueEntry) -> Contender {
    let sequence = sequence(number);
    Contender {
        guid: Guid::new(0, number as u64),
        kind: entry.kind,
        sequence,
    }
}

fn sequence(number: usize) -> Sequence {
    Sequence::new(i32::try_from(number).expect("three nodes"))
}

fn number_of(queue: &[QueueEntry], who: Who) -> Option<usize> {
    queue.iter().position(|entry| entry.who == who)
}

/// The offset at or above which no event of each range of each partition has been begun, by the product's meaning.
pub(crate) fn ceilings(state: &State) -> Cut {
    let mut ceilings = state.checkpoints;
    for (offsets, ceiling) in ceilings.iter_mut().zip(state.ceilings) {
        if let Ceiling::At(ceiling) = ceiling {
            offsets.fill(u8::try_from(ceiling.0).expect("the log has few events"));
        }
    }
    ceilings
}

/// Whether `who` holds the lock, by the product's rule.
pub(crate) fn is_granted(queue: &[QueueEntry], who: Who) -> bool {
    let Some(own) = number_of(queue, who) else {
        return false;
    };
    let contenders = queue.iter().enumerate().map(|(n, one)| contender(n, *one));
    queue::predecessor(contender(own, queue[own]), contenders).is_none()
}

/// Whether a revocation request asks the holder of a shared lock to yield, by the product's rule.
pub(crate) fn is_revoked(state: &State, range: usize, who: Who) -> bool {
    let queue = &state.queues[range];
    let (Some(held), Some(asking)) = (number_of(queue, who), number_of(queue, Who::Restorator))
    else {
        return false;
    };
    let request = RevocationRequest {
        range: range_id(range),
        sequence: sequence(asking),
    };
    state.revocations[range] && request.asks(range_id(range), sequence(held))
}

/// Adds an entry to the end of a queue.
pub(crate) fn enqueue(state: &mut State, range: usize, who: Who, kind: Kind) {
    state.queues[range].push(QueueEntry { who, kind });
}

/// Deletes an entry, as its holder or the end of its session does.
pub(crate) fn leave(state: &mut State, range: usize, who: Who) {
    state.queues[range].retain(|entry| entry.who != who);
    if who == Who::Restorator {
        state.revocations[range] = false;
    }
}

/// Creates an in-doubt marker.
pub(crate) fn create_marker(state: &mut State, range: usize) {
    state.markers.push(Marker {
        range,
        read_by: Observers::default(),
    });
    state.markers.sort_unstable();
}

/// Leaves a dead member behind.
pub(crate) fn leave_dead_member(state: &mut State) {
    state.dead_members.push(Observers::default());
    state.dead_members.sort_unstable();
}

/// Lets the restorator read markers and dead members. If there are any, a barrier begins, which covers every request sent
/// so far; returns whether it does.
pub(crate) fn read_markers(state: &mut State, ranges: impl Fn(usize) -> bool) -> bool {
    let mut found = false;
    for marker in &mut state.markers {
        marker.read_by.restorator = ranges(marker.range);
        found |= marker.read_by.restorator;
    }
    for dead_member in &mut state.dead_members {
        dead_member.restorator = true;
        found = true;
    }
    if found {
        begin_barrier(state);
    }
    state.markers.sort_unstable();
    state.dead_members.sort_unstable();
    found
}

/// Begins a barrier of the restorator.
pub(crate) fn begin_barrier(state: &mut State) {
    for sent in &mut state.sent {
        sent.barriers.restorator = true;
    }
    state.sent.sort_unstable();
}

/// Ends the restorator's barrier. If it held, deletes the markers and dead members that were read before it.
pub(crate) fn end_barrier(bounds: &Bounds, state: &mut State, held: bool) {
    for sent in &mut state.sent {
        sent.barriers.restorator = false;
    }
    let unread = bounds.lacks(Rule::DeleteOnlyRead);
    if held {
        state
            .markers
            .retain(|marker| !(unread || marker.read_by.restorator));
        state
            .dead_members
            .retain(|dead_member| !dead_member.restorator);
    }
    for marker in &mut state.markers {
        marker.read_by.restorator = false;
    }
    for dead_member in &mut state.dead_members {
        dead_member.restorator = false;
    }
    state.sent.sort_unstable();
    state.markers.sort_unstable();
    state.dead_members.sort_unstable();
}

/// Lets a member begin to clean up: it reads markers and dead members, and begins a barrier.
pub(crate) fn begin_clean_up(state: &mut State) {
    state.cleaning_up = true;
    for marker in &mut state.markers {
        marker.read_by.cleaner = true;
    }
    for dead_member in &mut state.dead_members {
        dead_member.cleaner = true;
    }
    for sent in &mut state.sent {
        sent.barriers.cleaner = true;
    }
    state.sent.sort_unstable();
    state.markers.sort_unstable();
    state.dead_members.sort_unstable();
}

/// Ends the clean-up: deletes what was read before the barrier.
pub(crate) fn end_clean_up(bounds: &Bounds, state: &mut State) {
    state.cleaning_up = false;
    let unread = bounds.lacks(Rule::DeleteOnlyRead);
    state
        .markers
        .retain(|marker| !(unread || marker.read_by.cleaner));
    state
        .dead_members
        .retain(|dead_member| !dead_member.cleaner);
    for sent in &mut state.sent {
        sent.barriers.cleaner = false;
    }
    state.sent.sort_unstable();
}

/// Whether a barrier holds: no request that was sent before it can change the store any more. How the product finds that
/// out is tested with the barrier itself (`protocol/src/quiescence`).
pub(crate) fn barrier_holds(
    bounds: &Bounds,
    state: &State,
    covers: impl Fn(Observers) -> bool,
) -> bool {
    let overlooked = |sent: &Sent| {
        let frozen = |who: Who| match who {
            Who::Processor(i) => state.processors[i].state == ProcessState::Frozen,
            Who::FrozenRestorator => true,
            Who::Restorator | Who::Former => false,
        };
        let has_session = |who: Who| match who {
            Who::Processor(i) => state.processors[i].session,
            Who::FrozenRestorator | Who::Restorator | Who::Former => false,
        };
        let frozen = sent.held && frozen(sent.who);
        let dead = frozen && !has_session(sent.who);
        let living = frozen && has_session(sent.who);
        (dead && bounds.lacks(Rule::QuiescenceConnections))
            || (living && bounds.lacks(Rule::QuiescenceFrozenMembers))
    };
    let mut sent = state.sent.iter();
    !sent.any(|sent| covers(sent.barriers) && !overlooked(sent))
}
