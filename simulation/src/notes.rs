//! What happens in the world, told once: it goes into the trace's hash, is counted, may be waited for by a fault, and is
//! kept as a line of the table if somebody wants to read the history.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::executor::Micros;
use crate::process::{Process, Role, Seat};
use crate::slot::Waiting;

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// A process: its role, its seat and its number.
    Process(Kind, usize, usize),
    /// ZooKeeper.
    Keeper,
    /// A Cassandra node.
    Node(usize),
    /// Kafka.
    Topic,
    /// Whoever makes faults, operates and produces events.
    World,
}

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It counts.
    Processor,
    /// It restores.
    Restorator,
}

impl Who {
    pub(crate) fn of(process: &Process) -> Self {
        let kind = match process.role {
            Role::Processor => Kind::Processor,
            Role::Restorator => Kind::Restorator,
        };
        let Seat(seat) = process.seat;
        Self::Process(kind, seat, process.number)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(Kind::Processor, seat, number) => {
                write!(f, "processor {seat} (#{number})")
            }
            Self::Process(Kind::Restorator, _, number) => write!(f, "restorator (#{number})"),
            Self::Keeper => f.write_str("zookeeper"),
            Self::Node(node) => write!(f, "cassandra {node}"),
            Self::Topic => f.write_str("kafka"),
            Self::World => f.write_str("world"),
        }
    }
}

macro_rules! phases {
    ($($phase:ident $name:literal,)*) => {
        /// Something that happens, and that a fault can follow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]

        pub enum Phase { $($phase,)* }

        impl Phase {
            /// Every phase.
            pub const EVERY: &[Self] = &[$(Self::$phase,)*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$phase => $name,)* }
            }
        }
    };
}

phases! {
    Started "process starts",
    Ended "process ends",
    Joined "member joins",
    DeclaredDead "member node goes",
    Expired "session expires",
    Closed "session is closed",
    Unlinked "connection to ZooKeeper breaks",
    Linked "connection to ZooKeeper is back",
    Dealt "partition is dealt",
    Revoked "partition is revoked",
    PutOut "group puts a member out",
    Taken "partition lock is queued for",
    Returned "partition lock goes",
    Shared "shared lock is queued for",
    Yielded "shared lock goes",
    Sent "increment is sent",
    Applied "increment is applied",
    Answered "applied is told",
    NotApplied "not applied is told",
    Refused "refusal is told",
    Unknown "unknown is told",
    Marked "mark is made",
    Unmarked "mark is deleted",
    Told "progress is written",
    Unlisted "connection is unlisted",
    Calming "connections are looked at",
    Alone "restoration lock is queued for",
    Writ "exclusive lock is queued for",
    Requested "yield is asked for",
    Begun "r1-begun",
    Audited "r1-planned",
    ClosedIn "r2-closed-in",
    Queued "r2-queued",
    Asked "r2-asked",
    Granted "r2-granted",
    Cut "r3-cut",
    Touched "r4-touched",
    ReadUnderLock "r5-read",
    Journaled "r6-journaled",
    Corrected "r6 correction is sent",
    AppliedAll "r6-applied",
    Verified "r7-verified",
    Released "r8-released",
    Recorded "r8-recorded",
    Unlocked "exclusive lock goes",
    Read "cells are read",
    Doubtful "correction of unknown outcome",
    Listed "members are listed by a restorator",
    Looked "a range's nodes are listed by a restorator",
    Again "range is locked again",
    Fault "fault",
    Event "event",
}

impl Phase {
    pub(crate) const COUNT: usize = Self::EVERY.len();

    /// Its place in [`Phase::EVERY`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether a restoration is at this step from then on.
    #[must_use]
    pub fn is_step(self) -> bool {
        (Self::Begun..=Self::Recorded).contains(&self)
    }
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Microseconds since the beginning.
    pub at: Micros,
    /// Who.
    pub who: Who,
    /// What kind of thing.
    pub phase: Phase,
    /// What.
    pub what: String,
}

/// All that has happened.
#[derive(Default)]
pub(crate) struct Notes {
    hash: RefCell<DefaultHasher>,
    counts: RefCell<PerPhase<u32>>,
    /// Of each phase the last time.
    last: RefCell<PerPhase<Option<Last>>>,
    /// The node at which happens what is noted next.
    aim: Cell<Option<usize>>,
    /// The step that a restoration has reached.
    pub(crate) step: Cell<Option<Phase>>,
    table: RefCell<Option<Vec<Line>>>,
    /// Of each phase, who waits for it.
    happened: PerPhase<Waiting>,
}

/// Who did something last, and at which node if it was at one.
type Last = (Who, Option<usize>);

/// One of them for each phase.
#[derive(Debug)]
struct PerPhase<T>([T; Phase::COUNT]);

impl<T: Default> Default for PerPhase<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| T::default()))
    }
}

impl Notes {
    /// From now on, lines are kept.
    pub(crate) fn keep(&self) {
        *self.table.borrow_mut() = Some(Vec::new());
    }

    pub(crate) fn table(&self) -> Vec<Line> {
        self.table.borrow_mut().take().unwrap_or_default()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.borrow().finish()
    }

    pub(crate) fn counts(&self) -> [u32; Phase::COUNT] {
        self.counts.borrow().0
    }

    /// What is noted next happens at this node.
    pub(crate) fn aim(&self, node: usize) {
        self.aim.set(Some(node));
    }

    pub(crate) fn note(&self, at: Micros, who: Who, phase: Phase, what: impl FnOnce() -> String) {
        (at, who, phase).hash(&mut *self.hash.borrow_mut());
        self.counts.borrow_mut().0[phase.index()] += 1;
        let node = match who {
            Who::Node(node) => Some(node),
            Who::Process(..) | Who::Keeper | Who::Topic | Who::World => self.aim.take(),
        };
        self.last.borrow_mut().0[phase.index()] = Some((who, node));
        if phase.is_step() {
            self.step.set(Some(phase));
        }
        if let Some(table) = self.table.borrow_mut().as_mut() {
            table.push(Line {
                at,
                who,
                phase,
                what: what(),
            });
        }
        self.happened.0[phase.index()].wake();
    }

    /// Waits until `phase` has happened `times` times from now on; who did it at last, and at which node.
    pub(crate) async fn after(&self, phase: Phase, times: u32) -> Last {
        let from = self.counts.borrow().0[phase.index()];
        self.happened.0[phase.index()]
            .until(|| {
                let now = self.counts.borrow().0[phase.index()];
                let last = self.last.borrow().0[phase.index()];
                last.filter(|_| now >= from + times)
            })
            .await
    }
}
