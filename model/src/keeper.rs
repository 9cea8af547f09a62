//! ZooKeeper: lock queues, marks, tombstones, and the calm that they are for.

use stitch_protocol::contender::{Contender, Guid, Kind, Sequence};
use stitch_protocol::queue;
use stitch_protocol::revocation::RevocationRequest;

use crate::bounds::{Bounds, range_id};
use crate::rule::Rule;
use crate::state::{Marker, Seen, Sent, Standing, State, Waiting, Who};

/// A node of a queue as the product reads it: its number is its place.
fn contender(number: usize, waiting: Waiting) -> Contender {
    let sequence = sequence(number);
    Contender {
        guid: Guid::new(0, number as u64),
        kind: waiting.kind,
        sequence,
    }
}

fn sequence(number: usize) -> Sequence {
    Sequence::new(i32::try_from(number).expect("three nodes"))
}

fn number_of(queue: &[Waiting], who: Who) -> Option<usize> {
    queue.iter().position(|waiting| waiting.who == who)
}

/// Whether `who` has the lock, as the product decides it.
pub(crate) fn is_granted(queue: &[Waiting], who: Who) -> bool {
    let Some(own) = number_of(queue, who) else {
        return false;
    };
    let contenders = queue.iter().enumerate().map(|(n, one)| contender(n, *one));
    queue::predecessor(contender(own, queue[own]), contenders).is_none()
}

/// Whether the holder of a shared lock is asked to yield, as the product decides it.
pub(crate) fn is_asked(state: &State, range: usize, who: Who) -> bool {
    let queue = &state.queues[range];
    let (Some(held), Some(asking)) = (number_of(queue, who), number_of(queue, Who::Restorator))
    else {
        return false;
    };
    let request = RevocationRequest {
        range: range_id(range),
        sequence: sequence(asking),
    };
    state.asked[range] && request.asks(range_id(range), sequence(held))
}

/// Takes a place at the end of a queue.
pub(crate) fn queue(state: &mut State, range: usize, who: Who, kind: Kind) {
    state.queues[range].push(Waiting { who, kind });
}

/// The node is deleted, or goes with its session.
pub(crate) fn leave(state: &mut State, range: usize, who: Who) {
    state.queues[range].retain(|waiting| waiting.who != who);
    if who == Who::Restorator {
        state.asked[range] = false;
    }
}

/// Makes a mark.
pub(crate) fn marker(state: &mut State, range: usize) {
    state.markers.push(Marker {
        range,
        seen: Seen::default(),
    });
    state.markers.sort_unstable();
}

/// A member without a session stays behind.
pub(crate) fn bury(state: &mut State) {
    state.dead_members.push(Seen::default());
    state.dead_members.sort_unstable();
}

/// The restorator reads marks and tombstones. Whether there are any, so that a calm begins now: whatever was sent is
/// before it.
pub(crate) fn look(state: &mut State, ranges: impl Fn(usize) -> bool) -> bool {
    let mut unrest = false;
    for marker in &mut state.markers {
        marker.seen.restorator = ranges(marker.range);
        unrest |= marker.seen.restorator;
    }
    for dead_member in &mut state.dead_members {
        dead_member.restorator = true;
        unrest = true;
    }
    if unrest {
        begin_calm(state);
    }
    state.markers.sort_unstable();
    state.dead_members.sort_unstable();
    unrest
}

/// A calm of the restorator begins.
pub(crate) fn begin_calm(state: &mut State) {
    for sent in &mut state.sent {
        sent.before.restorator = true;
    }
    state.sent.sort_unstable();
}

/// The restorator's calm is over, or will not be waited for any more; what it had read is deleted in the first case.
pub(crate) fn end_calm(bounds: &Bounds, state: &mut State, calm: bool) {
    for sent in &mut state.sent {
        sent.before.restorator = false;
    }
    let unread = bounds.lacks(Rule::DeleteByName);
    if calm {
        state
            .markers
            .retain(|marker| !(unread || marker.seen.restorator));
        state
            .dead_members
            .retain(|dead_member| !dead_member.restorator);
    }
    for marker in &mut state.markers {
        marker.seen.restorator = false;
    }
    for dead_member in &mut state.dead_members {
        dead_member.restorator = false;
    }
    state.sent.sort_unstable();
    state.markers.sort_unstable();
    state.dead_members.sort_unstable();
}

/// A member begins to sweep.
pub(crate) fn begin_sweep(state: &mut State) {
    state.sweeping = true;
    for marker in &mut state.markers {
        marker.seen.sweeper = true;
    }
    for dead_member in &mut state.dead_members {
        dead_member.sweeper = true;
    }
    for sent in &mut state.sent {
        sent.before.sweeper = true;
    }
    state.sent.sort_unstable();
    state.markers.sort_unstable();
    state.dead_members.sort_unstable();
}

/// It has waited for its calm, and deletes what it had read.
pub(crate) fn end_sweep(bounds: &Bounds, state: &mut State) {
    state.sweeping = false;
    let unread = bounds.lacks(Rule::DeleteByName);
    state
        .markers
        .retain(|marker| !(unread || marker.seen.sweeper));
    state
        .dead_members
        .retain(|dead_member| !dead_member.sweeper);
    for sent in &mut state.sent {
        sent.before.sweeper = false;
    }
    state.sent.sort_unstable();
}

/// What a calm promises: nothing that was sent before it can change the store any more. How it is known is modelled
/// apart (`common/src/calm/machine/world.rs`).
pub(crate) fn is_calm(bounds: &Bounds, state: &State, before: impl Fn(Seen) -> bool) -> bool {
    let overlooked = |sent: &Sent| {
        let frozen = |who: Who| match who {
            Who::Processor(i) => state.processors[i].standing == Standing::Frozen,
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
        (dead && bounds.lacks(Rule::DeadConnections))
            || (living && bounds.lacks(Rule::FrozenMembers))
    };
    let mut sent = state.sent.iter();
    !sent.any(|sent| before(sent.before) && !overlooked(sent))
}
