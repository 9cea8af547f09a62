//! A processor: what it may do in a state, and what follows. Every decision of the protocol is made by the product's own
//! predicates: [`rule`], [`AckTracker`], [`Lease`], the lock queue.

pub mod partition;
pub mod lifecycle;

use std::time::Duration;

use stitch_common::clock::Moment;
use stitch_common::lease::Lease;
use stitch_common::offset::Offset;
use stitch_processor::engine::acks::AckTracker;
use stitch_processor::engine::{LockState, PartitionState, rule};
use stitch_protocol::contender::Kind;

use crate::bounds::{Bounds, PARTITIONS, PROCESSORS, RANGES};
use crate::fault::Fault;
use crate::rule::Rule;
use crate::state::{
    Broken, Contribution, ContributionState, ProcessState, Processor, RangeState, Sent, State, Who,
};
use crate::zookeeper;

/// What a processor does, or what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Acquires a partition: its lock, then its checkpoint.
    Acquire(usize),
    /// Reads the checkpoint of a partition before it has the lock.
    ReadEarly(usize),
    /// Learns that a partition is revoked.
    Revoked(usize),
    /// Writes the checkpoint of a partition.
    Write(usize),
    /// Begins to write the checkpoint of a partition.
    WriteBegins(usize),
    /// ZooKeeper applies the write.
    WriteLands(usize),
    /// Hands a partition over.
    HandOver(usize),
    /// Queues for a range's shared lock.
    Queue(usize),
    /// Is granted a range.
    Granted(usize),
    /// Learns of a revocation request for a range.
    RevocationRequested(usize),
    /// Releases a range.
    Release(usize),
    /// Sends a contribution of a range, by its index.
    Send(usize, usize),
    /// Gives a contribution of a range up.
    GiveUp(usize, usize),
    /// Creates an in-doubt marker in a range.
    Mark(usize),
    /// Reaches ZooKeeper, which renews its lease.
    Heartbeat,
    /// Cannot reach ZooKeeper until its lease has expired.
    Cut,
    /// Freezes; the bits say which of its requests are still in its driver.
    Freeze(u8),
    /// Wakes up.
    Wake,
    /// Stops, without time to drain.
    Stop,
    /// Is killed.
    Crash,
    /// Its session expires.
    Expire,
    /// Joins as a new member.
    Join,
}

const NEVER: Moment = Moment::new(Duration::MAX);

/// An offset of the product.
pub(crate) fn offset(of: u8) -> Offset {
    Offset(of.into())
}

/// Whether the product's lease lets this processor send.
fn has_permit(bounds: &Bounds, processor: &Processor) -> bool {
    let mut lease = Lease::new(Duration::from_secs(3));
    lease.renew(Moment::new(Duration::ZERO));
    let out = Duration::from_secs(if processor.fresh { 1 } else { 2 });
    lease.permit(Moment::new(out)).is_some() || bounds.lacks(Rule::Lease)
}

fn stage(processor: &Processor, partition: usize) -> Option<PartitionState> {
    processor.partitions[partition].map(|owned| owned.stage)
}

fn is_owner(processor: &Processor, partition: usize) -> bool {
    stage(processor, partition).is_some_and(PartitionState::holds_lock)
}

/// The steps that processor `i` may take.
pub(crate) fn steps(bounds: &Bounds, state: &State, i: usize, each: &mut impl FnMut(Step)) {
    let processor = &state.processors[i];
    let has = |fault| state.faults.has(fault);
    if processor.state == ProcessState::Up {
        if processor.session {
            for partition in 0..bounds.log.len() {
                partition::steps(bounds, state, i, partition, each);
            }
        }
        if processor.session || bounds.lacks(Rule::Lease) {
            for range in 0..bounds.ranges() {
                of_range(bounds, state, i, range, each);
            }
        }
        if processor.session {
            if processor.fresh && has(Fault::Cut) {
                each(Step::Cut);
            }
            if !processor.fresh {
                each(Step::Heartbeat);
            }
            if has(Fault::Stop) {
                each(Step::Stop);
            }
            if has(Fault::Freeze) {
                freezes(state, i, each);
            }
        }
    }
    for (partition, owned) in processor.partitions.iter().enumerate() {
        let applies = processor.session || bounds.lacks(Rule::Fence);
        if owned.is_some_and(|owned| owned.writing.is_some()) && applies {
            each(Step::WriteLands(partition));
        }
    }
    if processor.state == ProcessState::Frozen {
        each(Step::Wake);
    }
    if processor.state != ProcessState::Down && has(Fault::Crash) {
        each(Step::Crash);
    }
    if processor.session && !processor.fresh {
        each(Step::Expire);
    }
    if processor.state != ProcessState::Frozen && !processor.session {
        each(Step::Join);
    }
}

/// The ways to freeze: with any of its requests still in its driver.
fn freezes(state: &State, i: usize, each: &mut impl FnMut(Step)) {
    let own = |sent: &&Sent| sent.who == Who::Processor(i);
    let requests = state.sent.iter().filter(own).count();
    for held in 0..(1_u8 << requests) {
        each(Step::Freeze(held));
    }
}

fn of_range(bounds: &Bounds, state: &State, i: usize, range: usize, each: &mut impl FnMut(Step)) {
    let processor = &state.processors[i];
    let counted = &processor.ranges[range];
    let waits = |part: &Contribution| part.state == ContributionState::Waiting;
    if processor.session {
        if counted.lock == LockState::Idle && counted.parts.iter().any(waits) {
            each(Step::Queue(range));
        }
        if counted.lock == LockState::Queued
            && zookeeper::is_granted(&state.queues[range], Who::Processor(i))
        {
            each(Step::Granted(range));
        }
        if counted.lock == LockState::Held && zookeeper::is_revoked(state, range, Who::Processor(i))
        {
            each(Step::RevocationRequested(range));
        }
        let unmarked = |part: &Contribution| part.state == ContributionState::Unmarked;
        if counted.parts.iter().any(unmarked) {
            each(Step::Mark(range));
        }
        if counted.lock.is_yielding() && may_release(bounds, processor, range) {
            each(Step::Release(range));
        }
    }
    for (number, part) in counted.parts.iter().enumerate() {
        if part.state != ContributionState::Waiting {
            continue;
        }
        let track = counted.tracks[part.partition].as_ref();
        let must_finish = || track.is_some_and(|track| track.must_finish(part.turn()));
        let stage = stage(processor, part.partition);
        let lock = if bounds.lacks(Rule::SharedLock) {
            LockState::Held
        } else {
            counted.lock
        };
        if rule::may_begin(lock, stage, must_finish) && has_permit(bounds, processor) {
            each(Step::Send(range, number));
        }
        let letting_go = lock.is_yielding() || stage.is_some_and(PartitionState::is_draining);
        if letting_go && must_finish() && state.faults.has(Fault::GiveUp) {
            each(Step::GiveUp(range, number));
        }
    }
}

fn may_release(bounds: &Bounds, processor: &Processor, range: usize) -> bool {
    let counted = &processor.ranges[range];
    let waits = |part: &Contribution| part.state == ContributionState::Waiting;
    let at_rest = counted.parts.iter().all(waits);
    let is_drained = rule::is_drained(at_rest, counted.tracks.iter().flatten());
    let tracks = counted.tracks.iter().zip(&processor.partitions);
    let is_checkpointed = tracks
        .into_iter()
        .all(|(track, owned)| match (track, owned) {
            (Some(track), Some(owned)) => {
                rule::is_checkpointed(track, offset(owned.written[range]))
            }
            (None, _) | (_, None) => true,
        });
    (is_drained || bounds.lacks(Rule::DrainedFirst))
        && (is_checkpointed || bounds.lacks(Rule::WrittenFirst))
}

/// Lets processor `i` take a step.
pub(crate) fn apply(bounds: &Bounds, state: &mut State, i: usize, step: Step) {
    match step {
        Step::Acquire(partition) => partition::acquire(bounds, state, i, partition),
        Step::ReadEarly(partition) => {
            let resumed = state.checkpoints[partition];
            state.processors[i].partitions[partition] = Some(partition::owned(
                PartitionState::Acquiring,
                resumed,
                Default::default(),
            ));
        }
        Step::Revoked(partition) => {
            if let Some(owned) = &mut state.processors[i].partitions[partition] {
                owned.stage = PartitionState::Draining { give_up: NEVER };
            }
        }
        Step::Write(partition) => {
            partition::begin_write(bounds, state, i, partition);
            partition::land_write(bounds, state, i, partition);
        }
        Step::WriteBegins(partition) => {
            state.faults.take(Fault::SlowWrite);
            partition::begin_write(bounds, state, i, partition);
        }
        Step::WriteLands(partition) => partition::land_write(bounds, state, i, partition),
        Step::HandOver(partition) => {
            state.holders[partition] = state.holders[partition].filter(|holder| *holder != i);
            partition::hand_over(bounds, &mut state.processors[i], partition);
        }
        Step::Queue(range) => {
            state.processors[i].ranges[range].lock = LockState::Queued;
            zookeeper::enqueue(state, range, Who::Processor(i), Kind::Shared);
        }
        Step::Granted(range) => state.processors[i].ranges[range].lock = LockState::Held,
        Step::RevocationRequested(range) => {
            state.processors[i].ranges[range].lock = LockState::Yielding { give_up: NEVER };
        }
        Step::Release(range) => {
            state.processors[i].ranges[range].lock = LockState::Idle;
            zookeeper::leave(state, range, Who::Processor(i));
        }
        Step::Send(range, number) => send(bounds, state, i, range, number),
        Step::GiveUp(range, number) => {
            state.faults.take(Fault::GiveUp);
            let counted = &mut state.processors[i].ranges[range];
            let part = counted.parts.remove(number);
            state.trusted[part.cell] = false;
            // The doubt that precedes the checkpoint is no part of the model.
            change(counted, part, |acks, seq| {
                acks.give_up(seq);
                acks.ack_recorded(seq);
            });
        }
        Step::Mark(range) => mark(bounds, state, i, range),
        Step::Heartbeat
        | Step::Cut
        | Step::Freeze(_)
        | Step::Wake
        | Step::Stop
        | Step::Crash
        | Step::Expire
        | Step::Join => lifecycle::apply(state, i, step, bounds),
    }
}

fn change(
    counted: &mut RangeState,
    part: Contribution,
    how: impl FnOnce(&mut AckTracker, stitch_processor::engine::acks::TurnNumber),
) {
    let track = counted.tracks[part.partition].as_mut();
    how(track.expect("a part has its track"), part.turn());
}

fn send(bounds: &Bounds, state: &mut State, i: usize, range: usize, number: usize) {
    let processor = &mut state.processors[i];
    let counted = &mut processor.ranges[range];
    counted.parts[number].state = ContributionState::Sent;
    let part = counted.parts[number];
    change(counted, part, AckTracker::send);
    counted.parts.sort_unstable();
    let others = (0..PROCESSORS).filter(|&other| other != i);
    let both = others
        .map(|other| &state.processors[other])
        .any(|other| other.session && is_owner(other, part.partition));
    if both || !state.processors[i].session {
        state.broken = Some(Broken::I6);
    }
    let event = Some((part.partition, part.offset));
    let ceiling = zookeeper::ceilings(state)[part.partition][range];
    // Without the rule, its consequence is looked for.
    if part.offset >= ceiling && !bounds.lacks(Rule::BelowCeiling) && !both {
        state.broken = Some(Broken::I7);
    }
    let same =
        |sent: &Sent| (sent.who, sent.event, sent.cell) == (Who::Processor(i), event, part.cell);
    if state.sent.iter().any(same) {
        state.broken = Some(Broken::I5);
    }
    state.sent.push(Sent {
        who: Who::Processor(i),
        held: false,
        awaited: true,
        barriers: Default::default(),
        cell: part.cell,
        event,
        amount: bounds.amount(part.partition, usize::from(part.offset)),
    });
    state.sent.sort_unstable();
}

/// Creates one in-doubt marker for all unknown outcomes.
fn mark(bounds: &Bounds, state: &mut State, i: usize, range: usize) {
    let counted = &mut state.processors[i].ranges[range];
    let unmarked = |part: &Contribution| part.state == ContributionState::Unmarked;
    let parts: Vec<Contribution> = counted.parts.iter().copied().filter(unmarked).collect();
    counted.parts.retain(|part| !unmarked(part));
    if !bounds.lacks(Rule::MarkerBeforeAck) {
        for part in parts {
            change(counted, part, AckTracker::ack_recorded);
        }
    }
    zookeeper::create_marker(state, range);
}

/// Handles the reply to a request.
pub(crate) fn answer(bounds: &Bounds, state: &mut State, i: usize, sent: &Sent, fate: Answer) {
    let range = bounds.cells[sent.cell];
    let counted = &mut state.processors[i].ranges[range];
    let this = |part: &Contribution| {
        (part.cell, Some((part.partition, part.offset))) == (sent.cell, sent.event)
            && part.state == ContributionState::Sent
    };
    let Some(number) = counted.parts.iter().position(this) else {
        return;
    };
    let part = counted.parts[number];
    match fate {
        Answer::Applied => {
            counted.parts.remove(number);
            change(counted, part, AckTracker::ack);
        }
        Answer::NotApplied => {
            counted.parts[number].state = ContributionState::Waiting;
            change(counted, part, AckTracker::take_back);
        }
        Answer::Unknown if bounds.lacks(Rule::NeverResend) => {
            counted.parts[number].state = ContributionState::Waiting;
            change(counted, part, AckTracker::take_back);
        }
        Answer::Unknown if bounds.lacks(Rule::MarkerBeforeAck) => {
            counted.parts[number].state = ContributionState::Unmarked;
            change(counted, part, AckTracker::ack);
        }
        Answer::Unknown => {
            counted.parts[number].state = ContributionState::Unmarked;
            change(counted, part, AckTracker::doubt);
        }
    }
    counted.parts.sort_unstable();
}

/// The reply of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Applied,
    NotApplied,
    /// There was no reply.
    Unknown,
}

/// A processor that has just joined.
pub(crate) fn new() -> Processor {
    Processor {
        state: ProcessState::Up,
        session: true,
        fresh: true,
        partitions: [None; PARTITIONS],
        ranges: std::array::from_fn::<_, RANGES, _>(|_| RangeState::default()),
        remembered: [None; PARTITIONS],
    }
}

/// Whether it runs and its session lives.
pub(crate) fn is_running(processor: &Processor) -> bool {
    processor.state == ProcessState::Up && processor.session
}
