//! One state of the world: what the servers hold, what is on its way, and what each process remembers.

use stitch_processor::engine::acks::{AckTracker, EventSeq};
use stitch_processor::engine::{LockState, PartitionState};
use stitch_protocol::contender::Kind;

use crate::bounds::{CELLS, PARTITIONS, PROCESSORS, RANGES};
use crate::fault::Faults;

/// An offset for each range.
pub type Offsets = [u8; RANGES];
/// An offset for each range of each partition.
pub type Cut = [Offsets; PARTITIONS];

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Kafka: how many events of each partition there are.
    pub ends: [u8; PARTITIONS],
    /// Kafka: which processor each partition is dealt to.
    pub owner: [usize; PARTITIONS],
    /// Cassandra: what each cell holds.
    pub cells: [i16; CELLS],
    /// On their way to Cassandra; in order, so that equal states are equal.
    pub sent: Vec<Sent>,
    /// ZooKeeper: progress.
    pub progress: Cut,
    /// ZooKeeper: whose session holds the lock of each partition.
    pub holders: [Option<usize>; PARTITIONS],
    /// ZooKeeper: the lock queue of each range, in the order of the sequence numbers.
    pub queues: [Vec<Waiting>; RANGES],
    /// ZooKeeper: whether a request to yield stands for the exclusive node of each range.
    pub asked: [bool; RANGES],
    /// ZooKeeper: marks, in order.
    pub markers: Vec<Marker>,
    /// ZooKeeper: members without a session, in order.
    pub dead_members: Vec<Seen>,
    /// The processes that count.
    pub processors: [Processor; PROCESSORS],
    /// Whether a member waits for a calm to delete what dead ones left.
    pub sweeping: bool,
    /// The process that restores.
    pub restorator: Restorator,
    /// What may still go wrong.
    pub faults: Faults,
    /// Of each cell, whether it was shown right and no fault has come since.
    pub trusted: [bool; CELLS],
    /// What was promised and does not hold.
    pub broken: Option<Broken>,
}

/// A promise that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Invariant I2.
    I2,
    /// Invariant I3.
    I3,
    /// Invariant I4.
    I4,
    /// Invariant I5.
    I5,
    /// Invariant I6.
    I6,
    /// A cell that was judged changed although no event can have touched it.
    Judged,
    /// Nothing can happen any more, and something is left to do.
    Stuck,
}

/// Who has read a node, or before whose calm a request was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seen {
    /// The restorator.
    pub restorator: bool,
    /// The member that sweeps.
    pub sweeper: bool,
}

/// A mark: somebody has, or had, an unsettled request in this range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker {
    /// The range.
    pub range: usize,
    /// Who has read it.
    pub seen: Seen,
}

/// A node in the lock queue of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// Whose.
    pub who: Who,
    /// What it wants.
    pub kind: Kind,
}

/// A process, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// A processor.
    Processor(usize),
    /// The restorator that runs.
    Restorator,
    /// A restorator whose successor runs already.
    FrozenRestorator,
    /// A session that is over, in a process that goes on or is gone.
    Former,
}

/// A request on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sent {
    /// Who sent it.
    pub who: Who,
    /// It waits in the driver of a frozen process.
    pub held: bool,
    /// Its sender still waits for an answer.
    pub awaited: bool,
    /// The calms that began after it was sent.
    pub before: Seen,
    /// The cell.
    pub cell: usize,
    /// Of which event, if it is none of a restorator's corrections.
    pub event: Option<(usize, u8)>,
    /// How much it adds.
    pub amount: i16,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It runs.
    Up,
    /// It is frozen.
    Frozen,
    /// It was killed, or has ended.
    Down,
}

/// A processor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Processor {
    /// How it is.
    pub standing: Standing,
    /// Whether its session lives.
    pub session: bool,
    /// Whether a write to ZooKeeper was acknowledged lately.
    pub fresh: bool,
    /// What it knows of each partition.
    pub partitions: [Option<Owned>; PARTITIONS],
    /// What it knows of each range.
    pub ranges: [Counted; RANGES],
    /// Checkpoint of partitions that it has given back: remembered only in a model without the rule that makes it void.
    pub remembered: [Option<Offsets>; PARTITIONS],
}

/// A partition, as its owner knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owned {
    /// What it is doing.
    pub stage: PartitionState,
    /// Where each range resumed.
    pub resumed: Offsets,
    /// Checkpoint as it stands in ZooKeeper.
    pub written: Offsets,
    /// Checkpoint on its way to ZooKeeper.
    pub writing: Option<Offsets>,
    /// Up to where its events were taken in.
    pub taken_in: u8,
}

/// A range, as a processor knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counted {
    /// Its lock.
    pub lock: LockState,
    /// What is not answered, by partition.
    pub tracks: [Option<AckTracker>; PARTITIONS],
    /// What each event adds to one cell, as long as that is not answered; in order.
    pub parts: Vec<Part>,
}

/// What one event adds to one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// The partition.
    pub partition: usize,
    /// The event.
    pub offset: u8,
    /// The cell.
    pub cell: usize,
    /// The event's place in the track.
    pub place: EventSeq,
    /// How it stands.
    pub state: PartState,
}

/// How a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartState {
    /// It is to be sent.
    Waiting,
    /// It is on its way.
    Sent,
    /// Nobody knows what became of it, and no mark says so.
    Unmarked,
}

/// The restorator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Restorator {
    /// Where it stands.
    pub phase: Phase,
    /// The last base cut.
    pub base: Cut,
    /// What each cell held when it was last read without a lock.
    pub read: [i16; CELLS],
    /// By how much each cell that was judged wrong is to be corrected.
    pub wrong: [i16; CELLS],
    /// The cells that are wrong for sure, and may be corrected without a lock.
    pub sure: [bool; CELLS],
    /// The cells that were.
    pub corrected: [bool; CELLS],
    /// The log's end, in a model that asks for it too early.
    pub early_ends: Option<[u8; PARTITIONS]>,
    /// The cells that the lock is for, if that is for a portion of those that are wrong.
    pub chunk: Option<[bool; CELLS]>,
    /// The ranges that are proved.
    pub verified: [bool; RANGES],
    /// The outcome of a correction is unknown, and no calm has come since.
    pub doubts: bool,
    /// An earlier restorator is frozen and will wake.
    pub has_frozen: bool,
}

impl Restorator {
    /// One that knows nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Idle,
            base: Cut::default(),
            read: [0; CELLS],
            wrong: [0; CELLS],
            sure: [false; CELLS],
            corrected: [false; CELLS],
            early_ends: None,
            doubts: false,
            chunk: None,
            verified: [false; RANGES],
            has_frozen: false,
        }
    }
}

/// Where a restoration stands; each names what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Read the base cut.
    Idle,
    /// Read the base cut after marks and tombstones, in a model that turns them around.
    Looked,
    /// Read marks and tombstones.
    Based,
    /// Read the cell of this number.
    Scanning(usize),
    /// Ask for the end of the log.
    Scanned,
    /// Close in, correct, or lock a range.
    Audited,
    /// Closing in: read marks and tombstones.
    ClosingIn(Cut),
    /// Closing in: read the cell of this number, if the cut has passed an event of it.
    Rescanning(Cut, usize),
    /// Corrections without a lock are on their way.
    Correcting,
    /// A portion is right, and its lock given back: read a later base cut.
    Portioned,
    /// The range's lock is waited for.
    Locking(usize),
    /// It is held: read marks and tombstones.
    Locked(usize),
    /// Read the cut.
    Cutting(usize),
    /// Ask for the end of the log.
    Following(usize, [u8; PARTITIONS]),
    /// Read these cells and correct what is wrong.
    CellSelection(usize, CellSelection),
    /// Corrections are on their way.
    Applying(usize, CellSelection),
    /// Wait for a calm, then go on.
    Calming(After),
    /// It was killed or frozen, and its session is not over yet.
    Dead,
    /// Everything is restored.
    Done,
}

/// What comes after a calm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum After {
    /// The base cut, in a model that reads it too late.
    Base,
    /// The scan.
    Scan,
    /// Reading what the later cut has passed.
    Rescan(Cut),
    /// The cut under the lock.
    Cut(usize),
    /// Reading again what had a correction of unknown outcome.
    Read(usize, CellSelection),
    /// A new audit, after a correction of unknown outcome without a lock.
    Audit,
}

/// What is read under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellSelection {
    /// The cut.
    pub cut: [u8; PARTITIONS],
    /// The cells.
    pub cells: [bool; CELLS],
    /// Those of them that were corrected.
    pub corrected: [bool; CELLS],
}
