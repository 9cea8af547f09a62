//! The counting machine: what a processor decides, apart from all waiting.
//!
//! Its methods take what has happened; [`Engine::advance`] says what is to be done now. It reads no clock, opens no
//! socket and spawns nothing, so one test, one simulation and one process drive it alike. The way of an event through
//! the files:
//!
//! 1. [`intake`]: records are decoded, rejected ones copied away, events taken in range by range;
//! 2. [`pending`]: the parts of events wait for their counter and are folded into one batch;
//! 3. [`dispatch`]: batches are sent under a shared lock and a valid lease, and their outcomes judged;
//! 4. [`track`]: what is answered, per partition and range;
//! 5. [`settle`]: progress, yields, hand-overs: all that lets go of something.
//!
//! What it asks before it does anything stands in [`rule`].

pub(crate) mod ingest;
pub(crate) mod buffer;
pub(crate) mod dispatch;
pub mod acks;
pub(crate) mod drain;
pub mod rule;
mod partition;
mod range;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use stitch_common::checkpoint::Checkpoint;
use stitch_common::clock::Moment;
use stitch_common::config;
use stitch_common::definition::Definitions;
use stitch_common::event::Decoder;
use stitch_common::lease::{Lease, Permit};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{AssignmentEpoch, CounterBatch, Record};
use stitch_common::range::{RangeBits, RangeId};

pub use partition::PartitionState;
pub use range::LockState;

use buffer::{CounterRef, Granularities};
use dispatch::InFlight;
use partition::PartitionProgress;
use range::RangeState;

/// Numbers the batches of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId(pub(crate) u64);

/// What is to be done. Each is answered by the method of [`Engine`] that it names.
#[derive(Debug)]
pub(crate) enum Command {
    /// Queue for the range's shared lock: [`Engine::granted`].
    Acquire(RangeId),
    /// Delete the range's READ node: [`Engine::released`].
    Release(RangeId),
    /// Make a new mark in the range: [`Engine::marked`].
    Marker(RangeId),
    /// Send once: [`Engine::answered`].
    Send {
        id: BatchId,
        permit: Permit,
        batch: CounterBatch,
    },
    /// Take the partition's lock and read its progress: [`Engine::taken`].
    Take(Partition),
    /// Write progress, fenced by the partition's lock: [`Engine::progress_written`].
    WriteProgress(Partition, Checkpoint),
    /// Stop waiting for the partition's lock, or release it: [`Engine::given_back`].
    GiveBack(Partition),
    /// Deliver the partition's records from here.
    Start {
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    },
    /// Deliver no more of them.
    Stop(Partition),
    /// Copy a rejected record to the topic of rejects: [`Engine::copied`].
    Copy {
        partition: Partition,
        epoch: AssignmentEpoch,
        record: Record,
        reason: String,
    },
    /// Tell the group how far the log is answered.
    Commit(Offsets),
}

/// The limits that it keeps; see [`config::Processor`].
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) requests_in_flight_max: usize,
    pub(crate) window_events_max: usize,
    pub(crate) window_bytes_max: usize,
    pub(crate) window_counters_max: usize,
    pub(crate) cells_per_batch_max: usize,
    /// Of a yield, which a restoration waits for, and repairs.
    pub(crate) drain_timeout: Duration,
    /// Of a hand-over or a stop, after which nobody repairs: what is given up is wrong until somebody restores it.
    pub(crate) hand_over_timeout: Duration,
    pub(crate) checkpoint_interval: Duration,
}

impl Limits {
    /// What a cell of a counter batch is taken to weigh, in bytes. Measured on Cassandra 5.0: it warns above 5 KiB, at
    /// about 50 cells.
    const CELL_BYTES: usize = 100;

    pub(crate) fn from_config(config: &config::Processor) -> Self {
        Self {
            requests_in_flight_max: config.requests_in_flight_max,
            window_events_max: config.window_events_max,
            window_bytes_max: config.window_bytes_max,
            window_counters_max: config.window_counters_max,
            cells_per_batch_max: (config.batch_bytes_max / Self::CELL_BYTES).max(1),
            drain_timeout: config.drain_timeout,
            // A quarter is left for progress, locks and connections.
            hand_over_timeout: config.drain_timeout.max(config.stop_timeout * 3 / 4),
            checkpoint_interval: config.checkpoint_interval,
        }
    }
}

/// Everything that one member knows of its counting. It ends with the member: a new session starts with a new one.
#[derive(Debug)]
pub(crate) struct Engine {
    limits: Limits,
    bits: RangeBits,
    decoder: Decoder,
    /// By definition: the counter's name for batches, and the granularities of a whole part.
    definitions: Vec<(stitch_common::cell::CounterName, Granularities)>,
    partitions: BTreeMap<Partition, PartitionProgress>,
    ranges: Vec<RangeState>,
    /// Ranges that have something to send, each at most once.
    ready: VecDeque<RangeId>,
    /// Ranges that yield, have unknown parts or are in trouble: the only ones that [`settle`] looks at.
    attention: BTreeSet<RangeId>,
    in_flight: BTreeMap<BatchId, InFlight>,
    held: Held,
    batches: u64,
    epochs: u64,
    stopping: bool,
    commit_due: bool,
    commands: Vec<Command>,
}

/// What is taken in and not answered.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    events: usize,
    bytes: usize,
    /// With parts that wait or are on their way: at least so many batches are still to be sent or answered.
    counters: usize,
}

impl Engine {
    /// A member that counts nothing yet.
    pub(crate) fn new(limits: Limits, definitions: &Definitions) -> Self {
        let bits = definitions.range_bits;
        Self {
            limits,
            bits,
            decoder: Decoder::new(definitions),
            definitions: definitions
                .counters
                .iter()
                .map(|one| (one.name.clone(), Granularities::of(&one.granularities)))
                .collect(),
            partitions: BTreeMap::new(),
            ranges: bits.ranges().map(|_| RangeState::default()).collect(),
            ready: VecDeque::new(),
            attention: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            held: Held::default(),
            batches: 0,
            epochs: 0,
            stopping: false,
            commit_due: false,
            commands: Vec::new(),
        }
    }

    /// What is to be done at `now`. Nothing changes the store unless `lease` is valid.
    pub(crate) fn advance(&mut self, now: Moment, lease: &Lease) -> Vec<Command> {
        self.settle(now);
        self.dispatch(now, lease);
        std::mem::take(&mut self.commands)
    }

    /// When [`Engine::advance`] is due, after `now`, although nothing has happened.
    pub(crate) fn next_wakeup(&self, now: Moment) -> Option<Moment> {
        let of_range = |range: &RangeId| self.ranges[usize::from(range.0)].wakeups();
        let settling = self.attention.iter().flat_map(of_range);
        let writing = self
            .partitions
            .values()
            .filter_map(PartitionProgress::next_wakeup);
        settling.chain(writing).filter(|moment| *moment > now).min()
    }

    /// Whether there is room for more records: memory, and what a stop has to finish, stay bounded whatever the backlog.
    pub(crate) const fn wants_records(&self) -> bool {
        self.held.events < self.limits.window_events_max
            && self.held.bytes < self.limits.window_bytes_max
            && self.held.counters < self.limits.window_counters_max
    }

    /// Whether everything that was begun is answered, written and given back after [`Engine::stop`].
    pub(crate) fn is_finished(&self) -> bool {
        self.stopping
            && self.partitions.is_empty()
            && self.in_flight.is_empty()
            && self.ranges.iter().all(RangeState::is_at_rest)
    }

    /// Whether anything is known of this partition: until then it may not go to another process.
    pub(crate) fn has(&self, partition: Partition) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Whether this start of the feed is the one that counts.
    pub(crate) fn is_delivered(&self, partition: Partition, epoch: AssignmentEpoch) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(|known| known.epoch == epoch && known.holds_lock())
    }

    /// The numbers that the metrics show.
    pub(crate) fn gauges(&self) -> Gauges {
        let parked = |range: &RangeState| if range.may_send() { 0 } else { range.events() };
        Gauges {
            held_events: self.held.events,
            held_bytes: self.held.bytes,
            held_counters: self.held.counters,
            parked_events: self.ranges.iter().map(parked).sum(),
            requests_in_flight: self.in_flight.len(),
            range_locks: self
                .ranges
                .iter()
                .filter(|range| range.holds_lock())
                .count(),
            ranges_stopped: self
                .ranges
                .iter()
                .filter(|range| range.is_stopped())
                .count(),
            partitions: self
                .partitions
                .values()
                .filter(|one| one.holds_lock())
                .count(),
        }
    }

    /// Forgets a counter of this range for which nothing waits and nothing is on its way.
    fn tidy(&mut self, range: RangeId, counter: &CounterRef) {
        if self.range(range).tidy(counter) {
            self.held.counters -= 1;
        }
    }

    fn range(&mut self, range: RangeId) -> &mut RangeState {
        &mut self.ranges[usize::from(range.0)]
    }

    /// Puts the range into the queue of those that have something to send, unless it stands there. One that yields
    /// comes first: a restoration waits for it, and it is done soon.
    fn wake(&mut self, range: RangeId) {
        let state = &mut self.ranges[usize::from(range.0)];
        if state.is_ready() {
            return;
        }
        state.set_ready(true);
        if state.lock.is_yielding() {
            self.ready.push_front(range);
        } else {
            self.ready.push_back(range);
        }
    }
}

/// What is held at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gauges {
    pub(crate) held_events: usize,
    pub(crate) held_bytes: usize,
    pub(crate) held_counters: usize,
    pub(crate) parked_events: usize,
    pub(crate) requests_in_flight: usize,
    pub(crate) range_locks: usize,
    pub(crate) ranges_stopped: usize,
    pub(crate) partitions: usize,
}

#[cfg(test)]
mod tests;
