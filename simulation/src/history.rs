//! A history before it runs: the size of the world, the events, the operator's commands, the faults. It is drawn from a
//! seed; the kinds of faults that it leaves out are drawn first (swarm testing). It is plain data, so that it can be shrunk.

mod story;
mod archive;
mod control;
mod batch;

use std::fmt;

use stitch_testkit::time::Micros;

use crate::named::named_enum;
use crate::process::Role;
use crate::rng::Rng;
use crate::trace::Tracepoint;
use crate::world::cassandra::KEEPALIVE;
use crate::world::checker::{EVENTS_MAX, KEYS};
pub use batch::{BatchJob, BatchKind};
pub use story::Story;

named_enum! {
    /// A kind of fault.
    Fault {
        Kill "kill",
        Freeze "freeze",
        FreezeTwice "freeze twice",
        Slow "slow",
        Stop "clean stop",
        Disconnect "ZooKeeper connection breaks",
        IsolateFromZooKeeper "cut off from ZooKeeper",
        Election "ZooKeeper election",
        RebootZooKeeper "ZooKeeper gives session ids again",
        NodeFreeze "node frozen",
        NodeKill "node killed",
        NodeRemoved "node frozen and removed from the ring",
        StallCommitLog "commit log stalled",
        IsolateFromNode "cut off from a node",
        Unavailable "increments unavailable",
        Timeouts "increments time out",
        Late "increments late",
        Unreplicated "replication delayed",
        RefuseBatches "large batches refused",
        Delete "cell deleted by hand",
        Rebalance "rebalance",
        Evict "evicted from the group",
        BrokersDown "brokers down",
        SlowFeed "slow feed",
        StalledFeed "stalled feed",
        DeposedLeader "deposed leader answers",
        Overdue "increments overdue",
        SlowZooKeeper "ZooKeeper answers slowly",
        Corrupt "cell changed by hand",
        DeleteLock "partition lock deleted by hand",
        Produce "event produced just then",
        Refuse "increments refused",
        Unauthorize "permissions cannot be looked up",
        RefuseDeadLetters "dead-letter topic refuses",
        UnauthorizeTopic "topic may not be read",
        RefuseNodes "ZooKeeper refuses checkpoints or markers",
        EndGroup "membership of the group ends",
        AmbiguousWrites "object store's writes have unknown outcomes",
        StoreUnavailable "object store is unavailable",
        RefuseWrites "object store refuses writes",
        SlowStore "object store answers slowly",
        LaggingLists "object store's lists lag",
        PauseRun "restoration paused",
        AbortRun "restoration aborted",
        ThrottleRun "restoration throttled",
        HoldRuns "restorations held",
        CorruptBatch "cell of batch counts changed by hand",
    }
}

impl Fault {
    /// Whether it is an operator's command to a restoration, which have a share of their own ([`control`]).
    pub(crate) const fn is_of_operators(self) -> bool {
        matches!(
            self,
            Self::PauseRun | Self::AbortRun | Self::ThrottleRun | Self::HoldRuns
        )
    }

    /// Whether it is one of the object store's, which have a share of their own ([`archive`]).
    pub(crate) const fn is_of_the_store(self) -> bool {
        matches!(
            self,
            Self::AmbiguousWrites
                | Self::StoreUnavailable
                | Self::RefuseWrites
                | Self::SlowStore
                | Self::LaggingLists
        )
    }
}

/// When a fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    At(Micros),
    /// After a tracepoint. The fault strikes the process that passed it, if it was a process.
    After {
        /// Earlier occurrences do not count.
        from: Micros,
        point: Tracepoint,
        /// A second tracepoint to wait for.
        next: Option<Tracepoint>,
        /// How many occurrences of `point` to wait for.
        times: u32,
        delay: Micros,
    },
}

impl When {
    const fn delay_by(&mut self, more: Micros) {
        match self {
            Self::At(at) => *at += more,
            Self::After { delay, .. } => *delay += more,
        }
    }
}

/// What ends a fault early: a tracepoint, and a delay after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyEnd {
    pub point: Tracepoint,
    pub delay: Micros,
}

/// A fault that the nemesis injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injection {
    pub fault: Fault,
    pub when: When,
    /// The slot of the process, unless `when` determines a process.
    pub slot: usize,
    pub node: usize,
    /// Strike the node that the awaited tracepoint concerned, instead of `node`.
    pub at_target: bool,
    pub length: Micros,
    pub early_end: Option<EarlyEnd>,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} ms", self.fault.name(), self.length / 1000)
    }
}

/// A record to produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedEvent {
    pub at: Micros,
    pub partition: usize,
    /// The keys of the event; `None` for a record that is rejected.
    pub keys: Option<(usize, usize)>,
}

/// A moment at which the log loses its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDeletion {
    pub at: Micros,
    /// What is counted goes, whether it is archived or not; without it, what neither archive nor totals make up for stays.
    pub unarchived: bool,
}

/// A build of totals by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotalsBuild {
    pub at: Micros,
    pub kind: TotalsKind,
}

/// What totals an operator builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TotalsKind {
    /// Everything that is in the log.
    LogEnd,
    /// Without a counter, which is added when the log has lost its past.
    LateCounter,
}

/// A command of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    pub at: Micros,
    /// Runs `plan`, which changes nothing, instead of `run`.
    pub only_plan: bool,
    /// One range; all without it.
    pub range: Option<u16>,
    /// Only the counters of this definition; all without it.
    pub counter: Option<&'static str>,
    /// When the command is asked to stop, counted from its start.
    pub stop_after: Option<Micros>,
}

/// A history before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The seed of every delay and order.
    pub noise: u64,
    /// There are two to the power of this ranges.
    pub bits: u8,
    pub partitions: usize,
    pub processors: usize,
    /// The longest time that a packet takes.
    pub latency: Micros,
    /// How fast the clock of each slot runs ahead, in parts per million; the last slot is the restorator's.
    pub drifts: Vec<i64>,
    /// How often the driver of a processor probes an idle connection, and how long it waits for the answer.
    pub processors_keepalive: Micros,
    /// The most requests that a processor, or a restorator, has in flight.
    pub in_flight: usize,
    /// `window_mib_max` of a processor, in bytes: in some histories so little that it is full after a few events.
    pub window: usize,
    /// The most counters of one turn of a range.
    pub turn_counters: usize,
    /// The most ranges that are restored at once.
    pub ranges_in_flight: usize,
    /// The number of dirty cells at which the restorator stops converging.
    pub dirty_cells_target: usize,
    /// `memory_mib_max` of a restoration, in bytes: in half of all histories so little that its cuts have to move.
    pub memory: usize,
    /// Restorations leave totals, and begin with those of the one before.
    pub totals: bool,
    /// How many archivers there are.
    pub archivers: usize,
    /// How long a record waits for its segment to become full, and the bytes that a full one has.
    pub segment_age: Micros,
    pub segment_bytes: usize,
    /// When the log loses its beginning.
    pub deletions: Vec<LogDeletion>,
    /// The operator's builds of totals.
    pub builds: Vec<TotalsBuild>,
    /// What the operator has loaded in batch; nothing in most histories.
    pub batch: Vec<BatchJob>,
    /// There are totals of an earlier namespace of the same name.
    pub is_made_again: bool,
    pub stop_timeout: Micros,
    /// Events arrive without a pause during the last restoration.
    pub steady_load: bool,
    /// The story that the history follows.
    pub story: Option<Story>,
    /// When faults end.
    pub faults_end_at: Micros,
    pub events: Vec<ProducedEvent>,
    pub commands: Vec<Command>,
    pub faults: Vec<Injection>,
}

/// When production ends, and about when the last fault begins.
const ACTIVE: Micros = 3_500_000;
/// How many events are produced once faults have ended.
pub(crate) const LAST_EVENTS: usize = 4;
/// How many events are produced then under a steady load.
pub(crate) const STEADY_EVENTS: usize = 44;
pub(crate) const AMPLE_MEMORY: usize = 1 << 30;
/// What every history fits into, if nothing is kept that the checkpoints have passed.
const LITTLE_MEMORY: usize = 24 << 10;
/// The percentage of histories that follow a story.
const STORIES: u64 = 50;

/// The tracepoints that faults follow: the moments that the rules are about.
const TRIGGERS: [&[Tracepoint]; 3] = [
    &[
        Tracepoint::Joined,
        Tracepoint::Assigned,
        Tracepoint::Revoked,
        Tracepoint::PartitionQueued,
        Tracepoint::PartitionReleased,
        Tracepoint::SharedQueued,
        Tracepoint::SharedReleased,
        Tracepoint::IncrementSent,
        Tracepoint::IncrementSent,
        Tracepoint::IncrementSent,
        Tracepoint::IncrementApplied,
        Tracepoint::Unknown,
        Tracepoint::CorrectionUnknown,
        Tracepoint::MembersListed,
        Tracepoint::MarkerCreated,
        Tracepoint::CheckpointWritten,
        Tracepoint::ConnectionsProbed,
    ],
    Tracepoint::STEPS_TO_CORRECTION,
    &[Tracepoint::CellsRead],
];

impl History {
    /// How often the driver of a process with this role probes an idle connection.
    pub(crate) const fn keepalive_of(&self, role: Role) -> Micros {
        match role {
            Role::Processor => self.processors_keepalive,
            Role::Restorator | Role::Archiver | Role::Builder | Role::Batch => KEEPALIVE,
        }
    }

    /// Draws the history of a seed.
    pub fn from_seed(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let partitions = rng.index(3) / 2 + 1;
        let processors = rng.index(4) / 2 + 1;
        let kinds: Vec<Fault> = Fault::EVERY
            .iter()
            .copied()
            .filter(|fault| !fault.is_of_the_store() && !fault.is_of_operators())
            .filter(|fault| *fault != Fault::CorruptBatch)
            .filter(|_| rng.percent(25))
            .collect();
        let drift = |bound: u64| {
            i64::try_from(rng.below(2 * bound + 1)).unwrap_or_default()
                - i64::try_from(bound).unwrap_or_default()
        };
        let drifts_apart = rng.percent(30);
        let drifts = (0..=processors).map(|_| if drifts_apart { drift(10_000) } else { 0 });
        let drifts = drifts.collect();
        let bits = u8::from(rng.percent(50));
        let mut history = Self {
            bits,
            partitions,
            processors,
            latency: rng.pick(&[500, 2000, 8000]),
            drifts,
            processors_keepalive: KEEPALIVE,
            in_flight: rng.pick(&[1, 2, 8]),
            // Drawn apart: most of what else is drawn depends on what came before.
            window: Rng::new(!seed).pick(&[64 << 20, 64 << 20, 4096]),
            turn_counters: Rng::new(!seed.rotate_left(16)).pick(&[50_000, 2, 1]),
            ranges_in_flight: rng.pick(&[1, 2]),
            dirty_cells_target: rng.pick(&[0, 1000]),
            memory: rng.pick(&[AMPLE_MEMORY, LITTLE_MEMORY]),
            totals: Rng::new(!seed.rotate_left(32)).percent(50),
            archivers: 0,
            segment_age: 0,
            segment_bytes: 0,
            deletions: Vec::new(),
            builds: Vec::new(),
            batch: Vec::new(),
            is_made_again: false,
            stop_timeout: rng.pick(&[1_200_000, 1_200_000, 300_000]),
            steady_load: false,
            story: None,
            faults_end_at: ACTIVE + rng.pick(&[ACTIVE / 8, ACTIVE / 2]),
            events: events(&rng, partitions),
            commands: commands(&rng, bits),
            faults: faults(&rng, &kinds, processors),
            noise: rng.next(),
        };
        if rng.percent(STORIES) {
            // Sometimes there is another fault, too.
            let others = rng.pick(&[0, 0, 1]);
            history.faults.truncate(others);
            let others = std::mem::take(&mut history.faults);
            rng.pick(Story::EVERY).apply(&rng, &mut history);
            history.faults.extend(others);
        }
        archive::apply(seed, &mut history);
        control::apply(seed, &mut history);
        batch::apply(seed, &mut history);
        history
    }

    /// The slot of a builder of totals: behind those of the processors, the restorator's and the archivers'.
    pub(crate) const fn builder_slot(&self) -> usize {
        self.archiver_slot(self.archivers)
    }

    /// The slot of one of the runs of `stitch-batch`: behind that of builders.
    pub(crate) const fn batch_slot(&self, number: usize) -> usize {
        self.builder_slot() + 1 + number
    }

    /// The slot of an archiver: behind those of the processors and the restorator's.
    pub(crate) const fn archiver_slot(&self, number: usize) -> usize {
        self.processors + 1 + number
    }
}

fn events(rng: &Rng, partitions: usize) -> Vec<ProducedEvent> {
    let count = 4 + rng.index(20);
    let mut at = 0;
    let keys = 1 + rng.index(KEYS.len());
    let mut events = Vec::with_capacity(count.min(EVENTS_MAX));
    let pause = 2 * ACTIVE / 24;
    for _ in 0..count {
        // Bursts, and pauses between them.
        at += if rng.percent(50) {
            rng.below(3000)
        } else {
            rng.below(pause)
        };
        let keys = rng.percent(95).then(|| (rng.index(keys), rng.index(keys)));
        events.push(ProducedEvent {
            at,
            partition: rng.index(partitions),
            keys,
        });
    }
    events
}

fn commands(rng: &Rng, bits: u8) -> Vec<Command> {
    let count = rng.pick(&[0, 1, 1, 1, 2, 2, 3]);
    let command = |_| Command {
        at: rng.below(ACTIVE),
        only_plan: rng.percent(20),
        range: (bits > 0 && rng.percent(20)).then(|| u16::from(rng.percent(50))),
        counter: rng.percent(20).then(|| rng.pick(&["a", "b"])),
        stop_after: rng.percent(10).then(|| rng.below(3_000_000)),
    };
    let mut commands: Vec<Command> = (0..count).map(command).collect();
    commands.sort_by_key(|command| command.at);
    commands
}

fn faults(rng: &Rng, kinds: &[Fault], processors: usize) -> Vec<Injection> {
    // The fault that the documentation warns operators of has a story of its own.
    let kinds: Vec<Fault> = kinds
        .iter()
        .copied()
        .filter(|kind| *kind != Fault::DeleteLock)
        .collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let count = rng.index(7);
    let triggers = TRIGGERS.concat();
    let fault = |_| {
        let when = if rng.percent(30) {
            When::At(rng.below(ACTIVE))
        } else {
            When::After {
                from: if rng.percent(40) {
                    0
                } else {
                    rng.below(ACTIVE)
                },
                point: rng.pick(&triggers),
                next: None,
                times: 1 + u32::from(rng.percent(40)) + u32::from(rng.percent(20)),
                delay: rng.pick(&[0, 300, 1500, 20_000]),
            }
        };
        Injection {
            fault: rng.pick(&kinds),
            when,
            // The last slot is the restorator's.
            slot: rng.index(processors + 1),
            node: rng.index(crate::world::cassandra::NODES),
            at_target: rng.percent(50),
            early_end: rng.percent(15).then(|| EarlyEnd {
                point: rng.pick(&triggers),
                delay: rng.pick(&[0, 1500]),
            }),
            length: match rng.below(4) {
                0 => rng.between(5000, 100_000),
                1 => rng.between(100_000, 500_000),
                2 => rng.between(400_000, 900_000),
                _ => rng.between(900_000, 3_000_000),
            },
        }
    };
    (0..count).map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_history() {
        assert_eq!(History::from_seed(5), History::from_seed(5));
        assert_ne!(History::from_seed(5), History::from_seed(6));
    }

    #[test]
    fn no_history_has_more_events_than_there_are_distinct_amounts() {
        for seed in 0..500 {
            let history = History::from_seed(seed);
            let produced = history
                .faults
                .iter()
                .filter(|one| one.fault == Fault::Produce);
            let last = if history.steady_load {
                STEADY_EVENTS
            } else {
                LAST_EVENTS
            };
            let events = history.events.len() + produced.count() + last;
            assert!(events <= EVENTS_MAX, "seed {seed}: {events}");
        }
    }
}
