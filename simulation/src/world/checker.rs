//! Checks the invariants at every step. It knows the log, the tree and the table, and nothing of the product.
//!
//! Every event adds an amount of its own, a power of two, so that a sum shows which events are in it: of each increment
//! that is sent, applied or acknowledged the checker knows the events.

mod events;
mod increments;
mod checkpoints;
pub(in crate::world) mod locks;
mod verification;
mod certainty;
mod final_state;
pub(crate) mod archive;
pub(crate) mod batch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stitch_common::cell::{Cell, CellSlot, Counter, CounterName};
use stitch_common::invariant::Invariant;
use stitch_common::offset::Offset;
use stitch_common::ports::CounterBatch;
use stitch_common::range::RangeBits;
use stitch_testkit::time::Micros;

use crate::rng::Rng;
use crate::world::cassandra::IncrementId;
pub(crate) use events::{EVENTS_MAX, KEYS};

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub text: String,
}

/// The kinds of violations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An invariant does not hold.
    Broken(Invariant),
    /// A cell differs from the total of the log after a restoration that met no fault.
    WrongCount,
    /// A cell had drifted before the last restoration without any event that explains it.
    Unexplained,
    /// A restoration that met no fault did not verify every range.
    Unverified,
    /// A command or a process does not end, or events remain uncounted.
    NoEnd,
    /// Something is left behind that is no longer needed.
    LeftOver,
    Panicked,
    /// A member has the id of an earlier one.
    RepeatedId,
    /// A process gave up although its servers were healthy.
    GaveUp,
    /// Readers hear of certain counts, and one is wrong by a cause that a process could know.
    FalselyCertain,
    /// A segment has other records than the log, does not follow on the chain, or is gone.
    WrongArchive,
    /// Totals differ from the sums of the events below their cut.
    WrongTotals,
    /// What is published in batch is not the sum of the events below its cut, or both layers differ after a restoration.
    WrongBatch,
    /// Batch counts are not published although servers are healthy.
    Unpublished,
    /// A restoration keeps a range locked while an operator has it wait.
    LockedWhilePaused,
    /// Records that are in neither archive nor log were passed over, or refused in another way than by their offsets.
    Gap,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(invariant) => write!(f, "{invariant} broken"),
            Self::WrongCount => f.write_str("wrong count"),
            Self::Unexplained => f.write_str("unexplained drift"),
            Self::Unverified => f.write_str("not verified"),
            Self::NoEnd => f.write_str("no end"),
            Self::LeftOver => f.write_str("left over"),
            Self::Panicked => f.write_str("panicked"),
            Self::RepeatedId => f.write_str("repeated id"),
            Self::GaveUp => f.write_str("gave up"),
            Self::FalselyCertain => f.write_str("falsely certain"),
            Self::WrongArchive => f.write_str("wrong archive"),
            Self::WrongTotals => f.write_str("wrong totals"),
            Self::WrongBatch => f.write_str("wrong batch counts"),
            Self::Unpublished => f.write_str("batch counts not published"),
            Self::LockedWhilePaused => f.write_str("locked while paused"),
            Self::Gap => f.write_str("gap passed over"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

impl Finding {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    pub(crate) fn broken(invariant: Invariant, text: impl Into<String>) -> Self {
        Self::new(Kind::Broken(invariant), text)
    }
}

/// The outcome of an increment as its sender knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SenderOutcome {
    Pending,
    Applied,
    /// Certainly not applied.
    NotApplied,
    Unknown,
}

/// One attempt to send what an event adds to a cell.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    increment: IncrementId,
    session: i64,
    at: Micros,
    outcome: SenderOutcome,
}

/// What one event adds to one cell.
#[derive(Clone, Debug, Default)]
struct Contribution {
    attempts: Vec<Attempt>,
}

#[derive(Clone, Debug)]
struct Event {
    partition: i32,
    offset: i64,
    /// What it adds, each with the index of the cell.
    contributions: Vec<(usize, Contribution)>,
}

#[derive(Clone, Debug)]
struct CheckedCell {
    cell: Cell,
    range: u16,
    /// Why it may have drifted.
    cause: Option<&'static str>,
    /// When it was last changed by hand.
    changed_by_hand: Option<Micros>,
    /// How often something happened that may have made it drift. It is found wrong no more often: it may be corrected after
    /// each.
    causes: usize,
}

/// Something wrong in a range: of one counter, or of the whole range.
#[derive(Clone, Debug)]
struct Wrong {
    counter: Option<CounterName>,
    text: String,
}

/// The history so far, as far as the invariants are about it.
pub(crate) struct Checker {
    bits: RangeBits,
    events: Vec<Event>,
    /// The event at each partition and offset; `None` for a rejected record.
    records: BTreeMap<(i32, i64), Option<usize>>,
    cells: Vec<CheckedCell>,
    by_cell: BTreeMap<(Counter, CellSlot), usize>,
    pending: BTreeMap<IncrementId, Vec<(usize, usize)>>,
    corrections: BTreeMap<IncrementId, Vec<usize>>,
    /// The sessions that have sent corrections.
    correctors: BTreeSet<i64>,
    /// Sessions and cells with a correction of unknown outcome that was not read since.
    uncertain: Vec<(i64, usize)>,
    /// In-doubt markers that were created: session, range, when.
    markers: Vec<(i64, u16, Micros)>,
    /// The session that is past R2 under the exclusive lock, by range.
    restoring: BTreeMap<u16, i64>,
    /// What was wrong in the range when a session released its exclusive lock.
    verifications: BTreeMap<(i64, u16), Vec<Wrong>>,
    /// When a partition was last to be handed over.
    hand_overs: BTreeMap<i32, Micros>,
    /// When a revocation of a range was last requested or withdrawn.
    revocations: BTreeMap<u16, Micros>,
    /// The number of each session's process, and when the session began.
    sessions: BTreeMap<i64, (usize, Micros)>,
    /// The names of all member nodes so far.
    members: BTreeSet<String>,
    /// Sessions, and partitions whose lock entry was deleted by hand.
    deprived: BTreeSet<(i64, i32)>,
    /// How long a processor may take to drain.
    pub(crate) stop_timeout: Micros,
    /// By process: until when it has to drain, once it has begun to stop.
    stop_deadlines: BTreeMap<usize, Micros>,
}

impl Checker {
    pub(crate) fn new(bits: RangeBits) -> Self {
        Self {
            bits,
            events: Vec::new(),
            records: BTreeMap::new(),
            cells: Vec::new(),
            by_cell: BTreeMap::new(),
            pending: BTreeMap::new(),
            corrections: BTreeMap::new(),
            correctors: BTreeSet::new(),
            uncertain: Vec::new(),
            markers: Vec::new(),
            restoring: BTreeMap::new(),
            verifications: BTreeMap::new(),
            hand_overs: BTreeMap::new(),
            revocations: BTreeMap::new(),
            sessions: BTreeMap::new(),
            members: BTreeSet::new(),
            deprived: BTreeSet::new(),
            stop_timeout: 0,
            stop_deadlines: BTreeMap::new(),
        }
    }

    /// When the process that has this session began its first one; the start of the history if it is not known.
    fn start_of_process(&self, session: i64) -> Micros {
        let Some((process, _)) = self.sessions.get(&session) else {
            return Micros::default();
        };
        let own = self.sessions.values().filter(|(other, _)| other == process);
        own.map(|(_, began)| *began).min().unwrap_or_default()
    }

    /// Whether what this event adds to the cell was sent before this moment, and perhaps applied. Sessions whose lock was
    /// deleted by hand do not count: they send above the ceiling.
    fn was_begun(&self, event: &Event, cell: usize, before: Micros) -> bool {
        let mut contributions = event.contributions.iter().filter(|(of, _)| *of == cell);
        contributions.any(|(_, contribution)| {
            contribution.attempts.iter().any(|attempt| {
                attempt.at < before
                    && attempt.outcome != SenderOutcome::NotApplied
                    && !self.deprived.contains(&(attempt.session, event.partition))
            })
        })
    }

    fn cell(&mut self, counter: &Counter, slot: CellSlot) -> usize {
        let key = (counter.clone(), slot);
        if let Some(index) = self.by_cell.get(&key) {
            return *index;
        }
        self.cells.push(CheckedCell {
            cell: Cell {
                counter: counter.clone(),
                slot,
            },
            range: self.bits.range_of(counter.token()).0,
            cause: None,
            changed_by_hand: None,
            causes: 0,
        });
        let index = self.cells.len() - 1;
        self.by_cell.insert(key, index);
        index
    }

    /// The events in a batch, each with the index of the contribution.
    fn contributions_of(&mut self, batch: &CounterBatch) -> Vec<(usize, usize)> {
        let mut contributions = Vec::new();
        for (slot, amount) in &batch.amounts {
            let cell = self.cell(&batch.counter, *slot);
            for (index, event) in self.events.iter().enumerate() {
                if amount.0 & events::amount(index) == 0 {
                    continue;
                }
                let contribution = event.contributions.iter().position(|(of, _)| *of == cell);
                contributions.extend(contribution.map(|contribution| (index, contribution)));
            }
        }
        contributions
    }

    /// The total of a cell over the events below these offsets.
    fn expected(&self, cell: usize, below: impl Fn(i32) -> Offset) -> i64 {
        let mut sum = 0;
        for (index, event) in self.events.iter().enumerate() {
            let adds = event.contributions.iter().any(|(of, _)| *of == cell);
            if adds && event.offset < below(event.partition).0 {
                sum += events::amount(index);
            }
        }
        sum
    }

    /// Any cell that something was added to.
    pub(crate) fn some_cell(&self, rng: &Rng) -> Option<Cell> {
        let count = self.cells.len();
        (count > 0).then(|| self.cells[rng.index(count)].cell.clone())
    }

    /// Notes that a cell was changed by hand.
    pub(crate) fn changed_by_hand(&mut self, cell: &Cell, now: Micros) {
        let index = self.cell(&cell.counter, cell.slot);
        self.cells[index].changed_by_hand = Some(now);
        self.blame(index, "changed by hand");
    }

    /// Notes that a partition's lock entry was deleted by hand: what its holder has not checkpointed is counted twice.
    pub(crate) fn lock_deleted_by_hand(&mut self, partition: i32, session: i64) {
        self.deprived.insert((session, partition));
        let counted = self
            .events
            .iter()
            .filter(|event| event.partition == partition);
        let cells = counted.flat_map(|event| &event.contributions);
        let cells: BTreeSet<_> = cells.map(|(cell, _)| *cell).collect();
        for cell in cells {
            self.blame(cell, "a lock deleted by hand");
        }
    }

    /// Whether a session of this process has sent a correction.
    pub(crate) fn has_corrected(&self, process: usize) -> bool {
        let own = |session: &i64| self.sessions.get(session).is_some_and(|of| of.0 == process);
        self.correctors.iter().any(own)
    }

    /// How often cells may be found wrong.
    fn suspects(&self) -> usize {
        self.cells.iter().map(|cell| cell.causes).sum()
    }

    /// Notes why a cell may have drifted.
    fn blame(&mut self, cell: usize, cause: &'static str) {
        let cell = &mut self.cells[cell];
        cell.cause.get_or_insert(cause);
        cell.causes += 1;
    }
}
