//! Whoever watches the world. It knows the log, the tree and the table, and nothing of what the product thinks.
//!
//! Every event adds an amount of its own, a power of two, so that a sum tells which events are in it: of each increment
//! that is sent, applied or answered the checker knows whose events it stands for.

mod ledger;
mod increments;
mod progress;
mod locks;
mod proof;
mod end;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stitch_common::cell::{Cell, CellSlot, Counter};
use stitch_common::invariant::Invariant;
use stitch_common::offset::Offset;
use stitch_common::ports::CounterBatch;
use stitch_common::range::RangeBits;

use crate::cassandra::FrameId;
use crate::executor::Micros;
use crate::rng::Rng;
pub(crate) use ledger::{EVENTS_MAX, KEYS};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// What exactly.
    pub what: String,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An invariant does not hold.
    Broken(Invariant),
    /// A cell does not hold what the log adds up to, after a restoration that met no fault.
    WrongCount,
    /// A cell had drifted before the last restoration, and nothing that happened explains it.
    Unexplained,
    /// A restoration that met no fault did not prove every range.
    Unverified,
    /// A command or a process does not end, or events stay uncounted.
    NoEnd,
    /// Something is left behind that nobody needs any more.
    LeftOver,
    /// The product panicked.
    Panicked,
    /// A process gave up although nothing was wrong with its servers.
    GaveUp,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(invariant) => write!(f, "{invariant} broken"),
            Self::WrongCount => f.write_str("wrong count"),
            Self::Unexplained => f.write_str("unexplained drift"),
            Self::Unverified => f.write_str("not proved"),
            Self::NoEnd => f.write_str("no end"),
            Self::LeftOver => f.write_str("left over"),
            Self::Panicked => f.write_str("panicked"),
            Self::GaveUp => f.write_str("gave up"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.what)
    }
}

impl Finding {
    pub(crate) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
        }
    }

    pub(crate) fn broken(invariant: Invariant, what: impl Into<String>) -> Self {
        Self::new(Kind::Broken(invariant), what)
    }
}

/// What the sender of an increment was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Applied,
    /// Certainly not applied.
    Not,
    Unknown,
}

/// One sending of one event's part.
#[derive(Clone, Copy, Debug)]
struct Sending {
    frame: FrameId,
    session: i64,
    at: Micros,
    told: Told,
}

/// What one event adds to one cell.
#[derive(Clone, Debug, Default)]
struct Part {
    sendings: Vec<Sending>,
}

/// One event of the log.
#[derive(Clone, Debug)]
struct Event {
    partition: i32,
    offset: i64,
    /// Positions of cells, and what happened to each part.
    parts: Vec<(usize, Part)>,
}

/// One cell that events add to.
#[derive(Clone, Debug)]
struct Known {
    cell: Cell,
    range: u16,
    /// Why it may have drifted.
    cause: Option<&'static str>,
    /// When somebody last changed it by hand.
    by_hand: Option<Micros>,
}

/// What is known of the history so far.
pub(crate) struct Checker {
    bits: RangeBits,
    events: Vec<Event>,
    /// By partition and offset: the event, or none if the record is rejected.
    places: BTreeMap<(i32, i64), Option<usize>>,
    cells: Vec<Known>,
    by_cell: BTreeMap<(Counter, CellSlot), usize>,
    frames: BTreeMap<FrameId, Vec<(usize, usize)>>,
    corrections: BTreeMap<FrameId, Vec<usize>>,
    /// Sessions and cells with a correction of unknown outcome that nothing was read after.
    uncertain: Vec<(i64, usize)>,
    /// Marks that were made: session, range, when.
    markers: Vec<(i64, u16, Micros)>,
    /// By range, the session that is past R2 under its exclusive lock.
    inside: BTreeMap<u16, i64>,
    /// What each session's exclusive lock on a range ended with.
    proofs: BTreeMap<(i64, u16), Result<(), String>>,
    /// When a partition was last to be handed over.
    leaving: BTreeMap<i32, Micros>,
    /// When a range was last asked for.
    asked: BTreeMap<u16, Micros>,
    /// Of each session the number of its process, and when it began.
    sessions: BTreeMap<i64, (usize, Micros)>,
    /// Ranges that a session has queued for alone.
    locks: BTreeSet<(i64, u16)>,
    /// Sessions, and partitions whose lock was taken from them by hand.
    robbed: BTreeSet<(i64, i32)>,
}

impl Checker {
    pub(crate) fn new(bits: RangeBits) -> Self {
        Self {
            bits,
            events: Vec::new(),
            places: BTreeMap::new(),
            cells: Vec::new(),
            by_cell: BTreeMap::new(),
            frames: BTreeMap::new(),
            corrections: BTreeMap::new(),
            uncertain: Vec::new(),
            markers: Vec::new(),
            inside: BTreeMap::new(),
            proofs: BTreeMap::new(),
            leaving: BTreeMap::new(),
            asked: BTreeMap::new(),
            sessions: BTreeMap::new(),
            locks: BTreeSet::new(),
            robbed: BTreeSet::new(),
        }
    }

    fn cell(&mut self, counter: &Counter, slot: CellSlot) -> usize {
        let key = (counter.clone(), slot);
        if let Some(known) = self.by_cell.get(&key) {
            return *known;
        }
        self.cells.push(Known {
            cell: Cell {
                counter: counter.clone(),
                slot,
            },
            range: self.bits.range_of(counter.token()).0,
            cause: None,
            by_hand: None,
        });
        let index = self.cells.len() - 1;
        self.by_cell.insert(key, index);
        index
    }

    /// The events, and their parts, that a batch stands for.
    fn parts_of(&mut self, batch: &CounterBatch) -> Vec<(usize, usize)> {
        let mut parts = Vec::new();
        for (slot, amount) in &batch.amounts {
            let cell = self.cell(&batch.counter, *slot);
            for (index, event) in self.events.iter().enumerate() {
                if amount.0 & ledger::amount(index) == 0 {
                    continue;
                }
                let part = event.parts.iter().position(|(known, _)| *known == cell);
                parts.extend(part.map(|part| (index, part)));
            }
        }
        parts
    }

    /// What the cell should hold when every partition stands at these offsets.
    fn expected(&self, cell: usize, below: impl Fn(i32) -> Offset) -> i64 {
        let mut sum = 0;
        for (index, event) in self.events.iter().enumerate() {
            let adds = event.parts.iter().any(|(known, _)| *known == cell);
            if adds && event.offset < below(event.partition).0 {
                sum += ledger::amount(index);
            }
        }
        sum
    }

    /// A cell that something was added to, if there is one.
    pub(crate) fn some_cell(&self, rng: &Rng) -> Option<Cell> {
        let count = self.cells.len();
        (count > 0).then(|| self.cells[rng.index(count)].cell.clone())
    }

    /// Somebody has changed it by hand.
    pub(crate) fn changed_by_hand(&mut self, cell: &Cell, now: Micros) {
        let index = self.cell(&cell.counter, cell.slot);
        self.cells[index].by_hand = Some(now);
        self.blame(index, "changed by hand");
    }

    /// Somebody has deleted the lock of a partition by hand: what its holder has not told is counted twice.
    pub(crate) fn robbed_by_hand(&mut self, partition: i32, session: i64) {
        self.robbed.insert((session, partition));
        for event in 0..self.events.len() {
            if self.events[event].partition == partition {
                for part in 0..self.events[event].parts.len() {
                    let cell = self.events[event].parts[part].0;
                    self.blame(cell, "a lock deleted by hand");
                }
            }
        }
    }

    /// How many cells may have drifted by now.
    fn suspects(&self) -> usize {
        self.cells
            .iter()
            .filter(|known| known.cause.is_some())
            .count()
    }

    fn blame(&mut self, cell: usize, cause: &'static str) {
        self.cells[cell].cause.get_or_insert(cause);
    }
}
