//! The trace of a history: each tracepoint goes into its hash, is counted, may be waited for by a fault, and is kept as a
//! line when the history is to be printed.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use stitch_testkit::time::Micros;
use stitch_testkit::wait::Waiters;

use crate::named::named_enum;
use crate::process::{Process, ProcessSlot, Role};

/// The process or server that does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// A process: its role, its slot and its number.
    Process(Role, usize, usize),
    ZooKeeper,
    /// A Cassandra node.
    Node(usize),
    Kafka,
    ObjectStore,
    /// The nemesis, the operator, the producer of events.
    World,
}

impl Actor {
    pub(crate) fn of(process: &Process) -> Self {
        let ProcessSlot(slot) = process.slot;
        Self::Process(process.role, slot, process.number)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(Role::Processor, slot, number) => {
                write!(f, "processor {slot} (#{number})")
            }
            Self::Process(Role::Restorator, _, number) => write!(f, "restorator (#{number})"),
            Self::Process(Role::Builder, _, number) => write!(f, "builder of totals (#{number})"),
            Self::Process(Role::Batch, _, number) => write!(f, "batch (#{number})"),
            Self::Process(Role::Archiver, slot, number) => write!(f, "archiver {slot} (#{number})"),
            Self::ZooKeeper => f.write_str("zookeeper"),
            Self::Node(node) => write!(f, "cassandra {node}"),
            Self::Kafka => f.write_str("kafka"),
            Self::ObjectStore => f.write_str("object store"),
            Self::World => f.write_str("world"),
        }
    }
}

named_enum! {
    /// Something that happens in a history and that a fault can be set to follow.
    Tracepoint {
        Started "process starts",
        Ended "process ends",
        Joined "member joins",
        MemberDeleted "member node is deleted",
        SessionExpired "session expires",
        SessionClosed "session is closed",
        Disconnected "ZooKeeper connection is lost",
        Reconnected "ZooKeeper connection is restored",
        Assigned "partition is assigned",
        Revoked "partition is revoked",
        Evicted "group evicts a member",
        PartitionQueued "partition lock is queued for",
        PartitionReleased "partition lock is released",
        SharedQueued "shared lock is queued for",
        SharedReleased "shared lock is released",
        IncrementSent "increment is sent",
        IncrementApplied "increment is applied",
        Acknowledged "applied is reported",
        NotApplied "not applied is reported",
        Refused "refusal is reported",
        Unknown "unknown is reported",
        MarkerCreated "in-doubt marker is created",
        MarkerDeleted "in-doubt marker is deleted",
        DoubtRecorded "doubt is recorded",
        DoubtRemoved "doubt is removed",
        CheckpointWritten "checkpoint is written",
        ConnectionUnlisted "connection is unlisted",
        ConnectionsProbed "connections are probed",
        RestorationQueued "restoration lock is queued for",
        ExclusiveQueued "exclusive lock is queued for",
        RevocationRequested "revocation is requested",
        BaselineTaken "r1-begun",
        Planned "r1-planned",
        Converged "r2-closed-in",
        Queued "r2-queued",
        Asked "r2-asked",
        Granted "r2-granted",
        Cut "r3-cut",
        Dirty "r4-touched",
        ReadUnderLock "r5-read",
        Journaled "r6-journaled",
        CorrectionSent "r6 correction is sent",
        AppliedAll "r6-applied",
        Verified "r7-verified",
        Released "r8-released",
        Recorded "r8-recorded",
        ExclusiveReleased "exclusive lock is released",
        CellsRead "cells are read",
        CorrectionUnknown "correction of unknown outcome",
        MembersListed "members are listed by a restorator",
        RangeListed "a range's queue is listed by a restorator",
        CorrectedAtRest "correction is sent without the lock",
        CutMoved "r1-cut-moved",
        Fault "fault",
        Event "event",
        SegmentSent "segment is sent",
        SegmentArchived "segment is archived",
        LogDeleted "log's beginning is deleted",
        TotalsPublished "totals are published",
        GapRefused "gap is refused",
        BegunInPart "request is begun in part",
        BatchLoading "load of batch counts is begun",
        BatchCellsSent "batch counts are sent",
        BatchScanned "batch counts are scanned",
        BatchPublished "batch counts are published",
    }
}

impl Tracepoint {
    /// The steps of a restoration, in their order: all tracepoints from the first to the last one.
    pub const STEPS: &[Self] = Self::between(Self::BaselineTaken, Self::Recorded);

    /// The steps until corrections are applied: up to there an operator's command can change what becomes of a range.
    pub const STEPS_TO_CORRECTION: &[Self] = Self::between(Self::BaselineTaken, Self::AppliedAll);

    const fn between(first: Self, last: Self) -> &'static [Self] {
        let (up_to_last, _) = Self::EVERY.split_at(last.index() + 1);
        up_to_last.split_at(first.index()).1
    }

    /// Whether the product passes it only in a build with failpoints.
    pub fn is_failpoint(self) -> bool {
        self.is_step() || self == Self::CutMoved
    }

    /// Whether it is a step of a restoration, which stays at this step until the next one.
    pub fn is_step(self) -> bool {
        Self::STEPS.contains(&self)
    }
}

/// A line of the printed history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    pub at: Micros,
    pub actor: Actor,
    pub point: Tracepoint,
    pub text: String,
}

/// The tracepoints of one history.
#[derive(Default)]
pub(crate) struct Trace {
    hash: RefCell<DefaultHasher>,
    counts: RefCell<PerPoint<u32>>,
    last: RefCell<PerPoint<Option<Last>>>,
    /// The node that the next tracepoint concerns.
    target: Cell<Option<usize>>,
    /// The step that a restoration has reached.
    pub(crate) step: Cell<Option<Tracepoint>>,
    lines: RefCell<Option<Vec<TraceLine>>>,
    waiters: PerPoint<Waiters>,
}

/// The actor of the last occurrence, and the node that it concerned.
type Last = (Actor, Option<usize>);

#[derive(Debug)]
struct PerPoint<T>([T; Tracepoint::COUNT]);

impl<T: Default> Default for PerPoint<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| T::default()))
    }
}

impl Trace {
    /// Starts keeping lines.
    pub(crate) fn keep_lines(&self) {
        *self.lines.borrow_mut() = Some(Vec::new());
    }

    pub(crate) fn lines(&self) -> Vec<TraceLine> {
        self.lines.borrow_mut().take().unwrap_or_default()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.borrow().finish()
    }

    pub(crate) fn counts(&self) -> [u32; Tracepoint::COUNT] {
        self.counts.borrow().0
    }

    /// Names the node that the next tracepoint concerns.
    pub(crate) fn set_target(&self, node: usize) {
        self.target.set(Some(node));
    }

    pub(crate) fn record(
        &self,
        at: Micros,
        actor: Actor,
        point: Tracepoint,
        text: impl FnOnce() -> String,
    ) {
        (at, actor, point).hash(&mut *self.hash.borrow_mut());
        self.counts.borrow_mut().0[point.index()] += 1;
        let node = match actor {
            Actor::Node(node) => Some(node),
            Actor::Process(..)
            | Actor::ZooKeeper
            | Actor::Kafka
            | Actor::ObjectStore
            | Actor::World => self.target.take(),
        };
        self.last.borrow_mut().0[point.index()] = Some((actor, node));
        if point.is_step() {
            self.step.set(Some(point));
        }
        if let Some(lines) = self.lines.borrow_mut().as_mut() {
            lines.push(TraceLine {
                at,
                actor,
                point,
                text: text(),
            });
        }
        self.waiters.0[point.index()].wake();
    }

    /// Waits until `point` has occurred `times` times from now on; returns the last occurrence.
    pub(crate) async fn after(&self, point: Tracepoint, times: u32) -> Last {
        let from = self.counts.borrow().0[point.index()];
        self.waiters.0[point.index()]
            .until(|| {
                let now = self.counts.borrow().0[point.index()];
                let last = self.last.borrow().0[point.index()];
                last.filter(|_| now >= from + times)
            })
            .await
    }
}
