//! The engine: a processor's decisions, apart from all waiting.
//!
//! Its methods take what has happened; [`Engine::advance`] returns the commands that follow. It reads no clock, opens no
//! socket and spawns nothing, so one test, one simulation and one process drive it alike. An event's way through the
//! files:
//!
//! 1. [`ingest`]: records are decoded, rejected ones copied to the dead-letter topic ([`dead_letters`]), the ceiling
//!    raised above the rest, events divided by range;
//! 2. [`buffer`]: contributions wait for their counter and are folded into one batch; [`usage`] bounds them;
//! 3. [`dispatch`]: batches are sent under a shared lock and a valid lease, range by range in [`turn`], and their outcomes
//!    judged;
//! 4. [`acks`]: which events are acknowledged, per partition and range;
//! 5. [`drain`]: checkpoints, ceilings, markers, yields and hand-overs: everything that precedes the release of a lock.
//!
//! [`suspend`] stops a partition that cannot be counted now, [`set_aside`] keeps a range that stands still from filling
//! the window. [`partition`] and [`range`] are the engine's records of one partition and one range. [`rule`] has the
//! questions that it asks before it acts.

mod ingest;
mod dead_letters;
mod buffer;
mod usage;
mod turn;
mod dispatch;
pub mod acks;
mod drain;
mod suspend;
mod set_aside;
pub mod rule;
mod partition;
mod range;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use stitch_common::cell::CounterName;
use stitch_common::checkpoint::{Ceiling, Checkpoint};
use stitch_common::clock::Moment;
use stitch_common::definition::Definitions;
use stitch_common::event::Decoder;
use stitch_common::lease::{Lease, Permit};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{AssignmentEpoch, CounterBatch, Record};
use stitch_common::range::{RangeBits, RangeId};

use stitch_protocol::doubt::DoubtCause;

pub use partition::PartitionState;
pub use range::LockState;
pub(crate) use suspend::SuspensionReason;

use buffer::{CounterRef, Granularities};
use dispatch::InFlight;
use partition::PartitionTask;
use range::RangeQueue;
use suspend::Suspension;
use usage::BufferUsage;

/// Numbers the batches of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId(pub(crate) u64);

/// The request that a batch is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchRequest {
    /// One of its own.
    Own,
    /// One that it may share with other batches of this range.
    Shared(RangeId),
}

/// A request of the engine. When it is carried out, the method of [`Engine`] that it names is called.
#[derive(Debug)]
pub(crate) enum Command {
    /// Queue for the range's shared lock: [`Engine::on_range_acquired`].
    AcquireRange(RangeId),
    /// Delete the range's READ node: [`Engine::on_range_released`].
    ReleaseRange(RangeId),
    /// Create an in-doubt marker in the range: [`Engine::on_marker_created`].
    CreateMarker(RangeId),
    /// Record that counts of the range may be wrong: [`Engine::on_doubt_recorded`].
    RecordDoubt(RangeId, DoubtCause, String),
    /// Send a batch once: [`Engine::on_batch_outcome`].
    Send(BatchId, Permit, CounterBatch, BatchRequest),
    /// Acquire the partition's lock and read its checkpoint: [`Engine::on_partition_acquired`].
    AcquirePartition(Partition),
    /// Write a checkpoint and a ceiling, fenced by the partition's lock: [`Engine::on_checkpoint_written`].
    WriteCheckpoint(Partition, Checkpoint, Ceiling),
    /// Stop waiting for the partition's lock, or release it: [`Engine::on_partition_released`].
    ReleasePartition(Partition),
    /// Deliver the partition's records from this offset.
    StartFeed(Partition, Offset, AssignmentEpoch),
    /// Deliver no more of them.
    StopFeed(Partition),
    /// Copy a rejected record to the dead-letter topic, with the reason: [`Engine::on_rejected_copied`].
    CopyRejected(Partition, AssignmentEpoch, Record, String),
    /// Commit the checkpoints to the consumer group.
    Commit(Offsets),
    /// The partition is not suspended any more.
    EndSuspension(Partition),
}

/// The engine's limits; see [`stitch_config::Processor`].
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) requests_in_flight_max: usize,
    pub(crate) window_bytes_max: usize,
    /// Counters of a turn, each as often as its events fall into another bucket or partition: that is what a stop may have to
    /// finish.
    pub(crate) turn_counters_max: usize,
    pub(crate) cells_per_batch_max: usize,
    /// Of a yield: a restoration waits for it, and repairs what is given up.
    pub(crate) drain_timeout: Duration,
    /// Of a hand-over or a stop: what is given up stays wrong until an operator restores it.
    pub(crate) hand_over_timeout: Duration,
    pub(crate) checkpoint_interval: Duration,
    /// How often the ceiling of one partition is raised.
    pub(crate) ceiling_interval: Duration,
}

impl Limits {
    /// The estimated size of one cell in a counter batch, in bytes. Measured on Cassandra 5.0: it warns above 5 KiB, at
    /// about 50 cells.
    const CELL_BYTES: usize = 100;

    /// The limits in a topic of this many partitions.
    pub(crate) fn from_config(config: &stitch_config::Processor, partitions: usize) -> Self {
        Self {
            requests_in_flight_max: config.requests_in_flight_max,
            window_bytes_max: config.window_bytes_max,
            turn_counters_max: config.turn_counters_max,
            cells_per_batch_max: (config.batch_bytes_max / Self::CELL_BYTES).max(1),
            drain_timeout: config.drain_timeout,
            // A quarter is left for checkpoints, locks and connections.
            hand_over_timeout: config.drain_timeout.max(config.stop_timeout * 3 / 4),
            checkpoint_interval: config.checkpoint_interval,
            ceiling_interval: Self::ceiling_interval(partitions, config.checkpoint_interval),
        }
    }

    /// The interval between two raises of one ceiling, in a topic of this many partitions: all members together write to
    /// ZooKeeper about 250 times a second at most, or as often as their checkpoints alone take, which these writes carry,
    /// too.
    fn ceiling_interval(partitions: usize, checkpoint_interval: Duration) -> Duration {
        const EACH: Duration = Duration::from_millis(4);
        /// A shorter one would not be noticed beside the write itself.
        const SHORTEST: Duration = Duration::from_millis(20);
        let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
        let interval = EACH.saturating_mul(partitions);
        interval.max(SHORTEST).min(checkpoint_interval)
    }
}

/// The counting of one member. It ends with the member: a new session starts with a new engine.
#[derive(Debug)]
pub(crate) struct Engine {
    limits: Limits,
    range_bits: RangeBits,
    decoder: Decoder,
    /// By definition: the counter's name for batches, and the granularities of a whole contribution.
    definitions: Vec<(CounterName, Granularities)>,
    partitions: BTreeMap<Partition, PartitionTask>,
    /// Partitions of this process that cannot be counted now, whether they are drained, pause, or are tried again.
    suspensions: BTreeMap<Partition, Suspension>,
    ranges: Vec<RangeQueue>,
    /// Ranges with something to send in their present turn, each at most once.
    in_turn: VecDeque<RangeId>,
    /// Ranges that have collected something for their next turn, in the order of turns, each at most once.
    awaiting_turn: VecDeque<RangeId>,
    /// Ranges that yield, have unknown outcomes or pause: the only ones that [`drain`] looks at.
    attention: BTreeSet<RangeId>,
    /// Ranges of which events are set aside.
    aside: BTreeSet<RangeId>,
    in_flight: BTreeMap<BatchId, InFlight>,
    usage: BufferUsage,
    last_batch: u64,
    last_epoch: u64,
    stopping: bool,
    commit_due: bool,
    commands: Vec<Command>,
}

impl Engine {
    /// The engine of a new member, without partitions.
    pub(crate) fn new(limits: Limits, definitions: &Definitions) -> Self {
        let range_bits = definitions.range_bits;
        Self {
            limits,
            range_bits,
            decoder: Decoder::new(definitions),
            definitions: definitions
                .counters
                .iter()
                .map(|counter| {
                    let granularities = counter.granularities.iter().copied();
                    (counter.name.clone(), Granularities::of(granularities))
                })
                .collect(),
            partitions: BTreeMap::new(),
            suspensions: BTreeMap::new(),
            ranges: range_bits.ranges().map(|_| RangeQueue::default()).collect(),
            in_turn: VecDeque::new(),
            awaiting_turn: VecDeque::new(),
            attention: BTreeSet::new(),
            aside: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            usage: BufferUsage::default(),
            last_batch: 0,
            last_epoch: 0,
            stopping: false,
            commit_due: false,
            commands: Vec::new(),
        }
    }

    /// Returns what is to be done at `now`. Nothing changes Cassandra unless `lease` is valid.
    pub(crate) fn advance(&mut self, now: Moment, lease: &Lease) -> Vec<Command> {
        self.retry_suspended(now);
        self.resume_set_aside();
        self.drain(now);
        self.dispatch(now, lease);
        std::mem::take(&mut self.commands)
    }

    /// When [`Engine::advance`] is due, after `now`, although nothing has happened.
    pub(crate) fn next_wakeup(&self, now: Moment) -> Option<Moment> {
        let of_range = |range: &RangeId| self.ranges[usize::from(range.0)].wakeups();
        let ranges = self.attention.iter().flat_map(of_range);
        let partitions = self
            .partitions
            .values()
            .filter_map(PartitionTask::next_wakeup);
        let suspensions = self
            .suspensions
            .values()
            .filter_map(Suspension::next_wakeup);
        ranges
            .chain(partitions)
            .chain(suspensions)
            .filter(|wakeup| *wakeup > now)
            .min()
    }

    /// How many cells one request may have.
    pub(crate) const fn cells_per_request_max(&self) -> usize {
        self.limits.cells_per_batch_max
    }

    /// Whether there is room for more records. It bounds memory, whatever the backlog.
    pub(crate) const fn wants_records(&self) -> bool {
        self.usage.is_below(&self.limits)
    }

    /// Whether everything begun is acknowledged, checkpointed and released after [`Engine::stop`].
    pub(crate) fn is_finished(&self) -> bool {
        self.stopping
            && self.partitions.is_empty()
            && self.in_flight.is_empty()
            && self.ranges.iter().all(RangeQueue::is_quiet)
    }

    /// Whether the engine still works on this partition: until it does not, no other process may.
    pub(crate) fn has(&self, partition: Partition) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Whether deliveries of this start of the feed count.
    pub(crate) fn is_current(&self, partition: Partition, epoch: AssignmentEpoch) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(|task| task.epoch == epoch && task.holds_lock())
    }

    /// How many partitions are suspended for this reason.
    pub(crate) fn suspended(&self, reason: SuspensionReason) -> usize {
        let suspensions = self.suspensions.values();
        suspensions.filter(|one| one.reason == reason).count()
    }

    /// The numbers for the metrics.
    pub(crate) fn gauges(&self) -> Gauges {
        let ranges = || self.ranges.iter();
        let partitions = self.partitions.values();
        let blocked = ranges().filter(|range| !range.may_send() || range.is_refused());
        Gauges {
            buffered_events: self.usage.events(),
            buffered_bytes: self.usage.bytes(),
            buffered_counters: self.usage.counters(),
            blocked_events: blocked.map(RangeQueue::events).sum(),
            requests_in_flight: self.in_flight.len(),
            range_locks: ranges().filter(|range| range.holds_lock()).count(),
            refused_ranges: ranges().filter(|range| range.is_refused()).count(),
            partitions: partitions.filter(|task| task.holds_lock()).count(),
        }
    }

    /// Removes a counter of this range with nothing waiting and nothing in flight.
    fn remove_idle(&mut self, range: RangeId, counter: &CounterRef) {
        if self.range(range).remove_idle(counter) {
            self.usage.remove_counter(counter);
        }
    }

    fn range(&mut self, range: RangeId) -> &mut RangeQueue {
        &mut self.ranges[usize::from(range.0)]
    }
}

/// The engine's numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    pub(crate) buffered_events: usize,
    pub(crate) buffered_bytes: usize,
    pub(crate) buffered_counters: usize,
    pub(crate) blocked_events: usize,
    pub(crate) requests_in_flight: usize,
    pub(crate) range_locks: usize,
    pub(crate) refused_ranges: usize,
    pub(crate) partitions: usize,
}

#[cfg(test)]
mod tests;
