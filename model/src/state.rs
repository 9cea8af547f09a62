//! One state of the world: the data of the servers, the requests in flight, the memory of each process.

use stitch_common::checkpoint::Ceiling;
use stitch_processor::engine::acks::{AckTracker, TurnNumber};
use stitch_processor::engine::{LockState, PartitionState};
use stitch_protocol::contender::Kind;

use crate::bounds::{CELLS, PARTITIONS, PROCESSORS, RANGES};
use crate::fault::Faults;

/// An offset for each range.
pub type Offsets = [u8; RANGES];
/// An offset for each range of each partition.
pub type Cut = [Offsets; PARTITIONS];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Kafka: how many events of each partition there are.
    pub ends: [u8; PARTITIONS],
    /// Kafka: the processor that each partition is assigned to.
    pub owner: [usize; PARTITIONS],
    /// Cassandra: the value of each cell.
    pub cells: [i16; CELLS],
    /// Requests to Cassandra in flight; sorted, so that equal states are equal.
    pub sent: Vec<Sent>,
    /// ZooKeeper: the checkpoints.
    pub checkpoints: Cut,
    /// ZooKeeper: the ceilings.
    pub ceilings: [Ceiling; PARTITIONS],
    /// ZooKeeper: the processor that holds the lock of each partition.
    pub holders: [Option<usize>; PARTITIONS],
    /// ZooKeeper: the lock queue of each range, in the order of the sequence numbers.
    pub queues: [Vec<QueueEntry>; RANGES],
    /// ZooKeeper: whether there is a revocation request for each range.
    pub revocations: [bool; RANGES],
    /// ZooKeeper: in-doubt markers, sorted.
    pub markers: Vec<Marker>,
    /// ZooKeeper: dead members, each with who has read it; sorted.
    pub dead_members: Vec<Observers>,
    pub processors: [Processor; PROCESSORS],
    /// Whether a member waits for a barrier to clean up after dead members.
    pub cleaning_up: bool,
    pub restorator: Restorator,
    /// The faults that may still happen.
    pub faults: Faults,
    /// Whether each cell was shown to be right, with no fault since.
    pub trusted: [bool; CELLS],
    /// The promise that was broken.
    pub broken: Option<Broken>,
}

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    /// A judged cell changed although no event can have added to it.
    Judged,
    /// Nothing can happen, and work is left.
    Stuck,
}

/// The members that have read a node, or whose barriers cover a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Observers {
    pub restorator: bool,
    /// The member that cleans up.
    pub cleaner: bool,
}

/// An in-doubt marker: a session has, or had, a request in doubt in this range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker {
    pub range: usize,
    pub read_by: Observers,
}

/// An entry in the lock queue of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueEntry {
    pub who: Who,
    pub kind: Kind,
}

/// The sender of a request, the owner of a lock entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    Processor(usize),
    Restorator,
    /// A frozen restorator whose successor runs already.
    FrozenRestorator,
    /// A session that is over, whatever became of its process.
    Former,
}

/// A request to Cassandra in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sent {
    pub who: Who,
    /// It is in the driver of a frozen process.
    pub held: bool,
    /// Its sender still waits for the reply.
    pub awaited: bool,
    /// The barriers that began after it was sent.
    pub barriers: Observers,
    pub cell: usize,
    /// The event; `None` for a correction.
    pub event: Option<(usize, u8)>,
    pub amount: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessState {
    Up,
    Frozen,
    /// Killed, or ended.
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Processor {
    pub state: ProcessState,
    /// Whether its session lives.
    pub session: bool,
    /// Whether its lease is valid: ZooKeeper has acknowledged a write lately.
    pub fresh: bool,
    pub partitions: [Option<OwnedPartition>; PARTITIONS],
    pub ranges: [RangeState; RANGES],
    /// Checkpoints of partitions that it has handed over: used only without the rule that they are read again.
    pub remembered: [Option<Offsets>; PARTITIONS],
}

/// A partition as its owner knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnedPartition {
    pub stage: PartitionState,
    /// The offset at which each range resumed.
    pub resumed: Offsets,
    /// The checkpoint in ZooKeeper.
    pub written: Offsets,
    /// The ceiling in ZooKeeper.
    pub ceiling: Ceiling,
    /// The ceiling that it found.
    pub found: Ceiling,
    /// The checkpoint and the ceiling that are being written.
    pub writing: Option<(Offsets, Ceiling)>,
    /// The offset up to which events were ingested.
    pub ingested: u8,
}

/// A range as a processor knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RangeState {
    pub lock: LockState,
    /// Unacknowledged events, by partition.
    pub tracks: [Option<AckTracker>; PARTITIONS],
    /// Unacknowledged contributions; sorted.
    pub parts: Vec<Contribution>,
}

/// What one event adds to one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contribution {
    pub partition: usize,
    pub offset: u8,
    pub cell: usize,
    pub state: ContributionState,
}

impl Contribution {
    /// The turn that sends it: each event is one of its own. With several events in one, fewer histories are left.
    pub fn turn(&self) -> TurnNumber {
        TurnNumber(self.offset.into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContributionState {
    /// Not sent yet.
    Waiting,
    /// In flight.
    Sent,
    /// Of unknown outcome, without an in-doubt marker yet.
    Unmarked,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Restorator {
    pub phase: Phase,
    /// The last base cut.
    pub base: Cut,
    /// The value of each cell when it was last read without a lock.
    pub read: [i16; CELLS],
    /// The correction of each cell that was judged wrong.
    pub wrong: [i16; CELLS],
    /// The cells that are certainly wrong and may be corrected without a lock.
    pub sure: [bool; CELLS],
    /// The cells that were corrected without a lock.
    pub corrected: [bool; CELLS],
    /// The ceilings, in a model that reads them too early.
    pub early_ceilings: Option<Cut>,
    /// The ends of the log as a deposed leader reports them.
    pub old_ends: Option<[u8; PARTITIONS]>,
    pub verified: [bool; RANGES],
    /// A correction has an unknown outcome, and no barrier has held since.
    pub in_doubt: bool,
    /// An earlier restorator is frozen and will wake up.
    pub has_frozen: bool,
}

impl Restorator {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Idle,
            base: Cut::default(),
            read: [0; CELLS],
            wrong: [0; CELLS],
            sure: [false; CELLS],
            corrected: [false; CELLS],
            early_ceilings: None,
            old_ends: None,
            in_doubt: false,
            verified: [false; RANGES],
            has_frozen: false,
        }
    }
}

/// The phase of a restoration. Each says what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Read the base cut.
    Idle,
    /// Read the base cut after markers and dead members, in a model that reverses the order.
    MarkersRead,
    /// Read markers and dead members.
    BaseCut,
    /// Read the cell of this number.
    Scanning(usize),
    /// Read the ceilings, and follow the log to them.
    Scanned,
    /// Converge, correct, or lock a range.
    Audited,
    /// Converging: read markers and dead members.
    Converging(Cut),
    /// Converging: read the cell of this number, if the cut has passed an event of it.
    Rescanning(Cut, usize),
    /// Wait for the replies to corrections without a lock.
    Correcting,
    /// Read the cell of this number again, if it was corrected without a lock.
    ReadingAgain(usize),
    /// Wait for the lock of the range.
    Locking(usize),
    /// The lock is held: read markers and dead members.
    Locked(usize),
    /// Read the cut and the ceilings.
    Cutting(usize),
    /// Follow the log to the ceilings.
    Following(usize, [u8; PARTITIONS]),
    /// Read these cells and correct what is wrong.
    Reading(usize, Reading),
    /// Wait for the replies to corrections.
    Applying(usize, Reading),
    /// Wait for the barrier.
    AwaitingBarrier(After),
    /// Killed or frozen, and the session is not over yet.
    Dead,
    Done,
}

/// What comes after a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum After {
    /// The base cut, in a model that reads it too late.
    Base,
    Scan,
    /// Reading the cells that the later cut has passed.
    Rescan(Cut),
    /// The cut under the lock.
    Cut(usize),
    /// Reading cells again after a correction of unknown outcome.
    Read(usize, Reading),
}

/// The cells that are read under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reading {
    pub cut: [u8; PARTITIONS],
    pub cells: [bool; CELLS],
    /// The cells that were corrected.
    pub corrected: [bool; CELLS],
}
