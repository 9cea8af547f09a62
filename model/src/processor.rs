//! A processor: what it may do in a state, and what comes of it. Each question of the protocol is put to the product's
//! own predicates ([`rule`], [`AckTracker`], [`Lease`], the lock queue); here is only what happens around them.

use std::time::Duration;

use stitch_common::clock::Moment;
use stitch_common::lease::Lease;
use stitch_common::offset::Offset;
use stitch_processor::engine::acks::AckTracker;
use stitch_processor::engine::{LockState, PartitionState, rule};
use stitch_protocol::contender::Kind;

use crate::bounds::{Bounds, PARTITIONS, PROCESSORS, RANGES};
use crate::fault::Fault;
use crate::keeper;
use crate::partition;
use crate::rule::Rule;
use crate::state::{Broken, Counted, Part, PartState, Processor, Sent, Standing, State, Who};

/// What a processor does, or what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Takes a partition: its lock, then its progress.
    Take(usize),
    /// Reads a partition's progress before it has the lock.
    ReadEarly(usize),
    /// Learns that a partition is dealt to the other one.
    Revoked(usize),
    /// Writes a partition's progress.
    Write(usize),
    /// Sends a partition's progress to ZooKeeper.
    WriteBegins(usize),
    /// ZooKeeper writes it.
    WriteLands(usize),
    /// Gives a partition back.
    HandOver(usize),
    /// Queues for a range's shared lock.
    Queue(usize),
    /// Has it.
    Granted(usize),
    /// Is asked to yield a range.
    YieldAsked(usize),
    /// Gives a range back.
    Release(usize),
    /// Sends the part of this number in a range.
    Send(usize, usize),
    /// Gives it up.
    GiveUp(usize, usize),
    /// Marks a range.
    Marker(usize),
    /// Writes to ZooKeeper again, and so has a lease again.
    Heartbeat,
    /// Cannot reach ZooKeeper until its lease is out.
    Cut,
    /// Freezes; the bits say which of its requests are still in its driver.
    Freeze(u8),
    /// Wakes.
    Wake,
    /// Ends by its own will, with what time it has.
    Stop,
    /// Is killed.
    Crash,
    /// Its session is over.
    Expire,
    /// Starts again as a new member.
    Join,
}

/// Later than anything.
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

/// Whether it runs, and its session lives.
fn runs(processor: &Processor) -> bool {
    processor.standing == Standing::Up && processor.session
}

fn stage(processor: &Processor, partition: usize) -> Option<PartitionState> {
    processor.partitions[partition].map(|owned| owned.stage)
}

fn is_owner(processor: &Processor, partition: usize) -> bool {
    stage(processor, partition).is_some_and(PartitionState::holds_lock)
}

/// Everything that processor `i` may do.
pub(crate) fn steps(bounds: &Bounds, state: &State, i: usize, each: &mut impl FnMut(Step)) {
    let processor = &state.processors[i];
    let has = |fault| state.faults.has(fault);
    if processor.standing == Standing::Up {
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
        let stands = processor.session || bounds.lacks(Rule::Fence);
        if owned.is_some_and(|owned| owned.writing.is_some()) && stands {
            each(Step::WriteLands(partition));
        }
    }
    if processor.standing == Standing::Frozen {
        each(Step::Wake);
    }
    if processor.standing != Standing::Down && has(Fault::Crash) {
        each(Step::Crash);
    }
    if processor.session && !processor.fresh {
        each(Step::Expire);
    }
    if processor.standing != Standing::Frozen && !processor.session {
        each(Step::Join);
    }
}

/// It freezes with any of its requests still in its driver.
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
    let waits = |part: &Part| part.state == PartState::Waiting;
    if processor.session {
        if counted.lock == LockState::Idle && counted.parts.iter().any(waits) {
            each(Step::Queue(range));
        }
        if counted.lock == LockState::Queued
            && keeper::is_granted(&state.queues[range], Who::Processor(i))
        {
            each(Step::Granted(range));
        }
        if counted.lock == LockState::Held && keeper::is_asked(state, range, Who::Processor(i)) {
            each(Step::YieldAsked(range));
        }
        let unmarked = |part: &Part| part.state == PartState::Unmarked;
        if counted.parts.iter().any(unmarked) {
            each(Step::Marker(range));
        }
        if counted.lock.is_yielding() && may_release(bounds, processor, range) {
            each(Step::Release(range));
        }
    }
    for (number, part) in counted.parts.iter().enumerate() {
        if part.state != PartState::Waiting {
            continue;
        }
        let track = counted.tracks[part.partition].as_ref();
        let must_finish = || track.is_some_and(|track| track.must_finish(part.place));
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
    let waits = |part: &Part| part.state == PartState::Waiting;
    let at_rest = counted.parts.iter().all(waits);
    let settled = rule::is_drained(at_rest, counted.tracks.iter().flatten());
    let tracks = counted.tracks.iter().zip(&processor.partitions);
    let told = tracks
        .into_iter()
        .all(|(track, owned)| match (track, owned) {
            (Some(track), Some(owned)) => {
                rule::is_checkpointed(track, offset(owned.written[range]))
            }
            (None, _) | (_, None) => true,
        });
    (settled || bounds.lacks(Rule::FinishFirst)) && (told || bounds.lacks(Rule::TellFirst))
}

/// Processor `i` does this.
pub(crate) fn take(bounds: &Bounds, state: &mut State, i: usize, step: Step) {
    match step {
        Step::Take(partition) => partition::take(bounds, state, i, partition),
        Step::ReadEarly(partition) => {
            let resumed = state.progress[partition];
            state.processors[i].partitions[partition] =
                Some(partition::owned(PartitionState::Acquiring, resumed));
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
            keeper::queue(state, range, Who::Processor(i), Kind::Shared);
        }
        Step::Granted(range) => state.processors[i].ranges[range].lock = LockState::Held,
        Step::YieldAsked(range) => {
            state.processors[i].ranges[range].lock = LockState::Yielding { give_up: NEVER };
        }
        Step::Release(range) => {
            state.processors[i].ranges[range].lock = LockState::Idle;
            keeper::leave(state, range, Who::Processor(i));
        }
        Step::Send(range, number) => send(bounds, state, i, range, number),
        Step::GiveUp(range, number) => {
            state.faults.take(Fault::GiveUp);
            let counted = &mut state.processors[i].ranges[range];
            let part = counted.parts.remove(number);
            state.trusted[part.cell] = false;
            change(counted, part, AckTracker::give_up);
        }
        Step::Marker(range) => marker(bounds, state, i, range),
        Step::Heartbeat
        | Step::Cut
        | Step::Freeze(_)
        | Step::Wake
        | Step::Stop
        | Step::Crash
        | Step::Expire
        | Step::Join => crate::process::take(state, i, step, bounds),
    }
}

fn change(
    counted: &mut Counted,
    part: Part,
    how: impl FnOnce(&mut AckTracker, stitch_processor::engine::acks::EventSeq),
) {
    let track = counted.tracks[part.partition].as_mut();
    how(track.expect("a part has its track"), part.place);
}

fn send(bounds: &Bounds, state: &mut State, i: usize, range: usize, number: usize) {
    let processor = &mut state.processors[i];
    let counted = &mut processor.ranges[range];
    counted.parts[number].state = PartState::Sent;
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
    let same =
        |sent: &Sent| (sent.who, sent.event, sent.cell) == (Who::Processor(i), event, part.cell);
    if state.sent.iter().any(same) {
        state.broken = Some(Broken::I5);
    }
    state.sent.push(Sent {
        who: Who::Processor(i),
        held: false,
        awaited: true,
        before: Default::default(),
        cell: part.cell,
        event,
        amount: bounds.amount(part.partition, usize::from(part.offset)),
    });
    state.sent.sort_unstable();
}

/// One mark for all that is unknown.
fn marker(bounds: &Bounds, state: &mut State, i: usize, range: usize) {
    let counted = &mut state.processors[i].ranges[range];
    let unmarked = |part: &Part| part.state == PartState::Unmarked;
    let parts: Vec<Part> = counted.parts.iter().copied().filter(unmarked).collect();
    counted.parts.retain(|part| !unmarked(part));
    if !bounds.lacks(Rule::MarkFirst) {
        for part in parts {
            change(counted, part, AckTracker::ack_marked);
        }
    }
    keeper::marker(state, range);
}

/// The store has answered this processor.
pub(crate) fn answer(bounds: &Bounds, state: &mut State, i: usize, sent: &Sent, fate: Answer) {
    let range = bounds.cells[sent.cell];
    let counted = &mut state.processors[i].ranges[range];
    let this = |part: &Part| {
        (part.cell, Some((part.partition, part.offset))) == (sent.cell, sent.event)
            && part.state == PartState::Sent
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
            counted.parts[number].state = PartState::Waiting;
            change(counted, part, AckTracker::take_back);
        }
        Answer::Unknown if bounds.lacks(Rule::NoRetry) => {
            counted.parts[number].state = PartState::Waiting;
            change(counted, part, AckTracker::take_back);
        }
        Answer::Unknown if bounds.lacks(Rule::MarkFirst) => {
            counted.parts[number].state = PartState::Unmarked;
            change(counted, part, AckTracker::ack);
        }
        Answer::Unknown => {
            counted.parts[number].state = PartState::Unmarked;
            change(counted, part, AckTracker::doubt);
        }
    }
    counted.parts.sort_unstable();
}

/// What the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is applied.
    Applied,
    /// It is not.
    NotApplied,
    /// Nobody knows.
    Unknown,
}

/// A process that knows nothing yet.
pub(crate) fn new() -> Processor {
    Processor {
        standing: Standing::Up,
        session: true,
        fresh: true,
        partitions: [None; PARTITIONS],
        ranges: std::array::from_fn::<_, RANGES, _>(|_| Counted::default()),
        remembered: [None; PARTITIONS],
    }
}

/// Whether it runs and can reach ZooKeeper.
pub(crate) fn is_well(processor: &Processor) -> bool {
    runs(processor)
}
