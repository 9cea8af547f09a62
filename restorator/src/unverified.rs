//! Why a range was given back without proof, and what to do about it.

use std::path::PathBuf;

use stitch_common::cell::Cell;
use stitch_common::offset::{Offset, Partition};
use stitch_common::outcome::Cause;
use stitch_common::user_error::UserError;

use crate::error::Error;
use crate::journal::JournalError;
use crate::limits::Exceeded;
use stitch_totals::source::ExpectedError;

/// Why a range is not proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Something could not be done.
    #[error(transparent)]
    Error(#[from] Error),
    /// A partition has no progress.
    #[error("partition {0} has no progress in ZooKeeper")]
    NoProgress(Partition),
    /// Checkpoint is beyond the end of the log.
    #[error("progress of partition {partition} is {progress}, beyond the end of the log at {end}")]
    BeyondEnd {
        /// Which partition.
        partition: Partition,
        /// Its progress.
        progress: Offset,
        /// The log's end.
        end: Offset,
    },
    /// The namespace is not what it was when this began.
    #[error("the namespace's definition was changed meanwhile")]
    DefinitionChanged,
    /// It would correct more than the operator expected.
    #[error(transparent)]
    Limits(#[from] Exceeded),
    /// The journal cannot be written.
    #[error("the journal {} cannot be written: {cause}", place.display())]
    Journal {
        /// The file.
        place: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The lease ended.
    #[error("the lease with ZooKeeper ended while the range was locked")]
    LeaseLost,
    /// Corrections of unknown outcome, again and again.
    #[error("the outcome of corrections stayed unknown several times")]
    Unknown,
    /// Cassandra does not take a correction.
    #[error("Cassandra does not take corrections: {0}")]
    CorrectionRejected(Cause),
    /// A cell takes no increments.
    #[error("{} cells stay as they are whatever is added to them: {}", .0.len(), names(.0))]
    IgnoresIncrements(Vec<Cell>),
    /// Cells do not become right.
    #[error("{} cells were not right after several corrections: {}", .0.len(), names(.0))]
    KeepsChanging(Vec<Cell>),
    /// An event of the range was passed while it was locked.
    #[error("progress of partition {0} passed an event of the range while it was locked")]
    Passed(Partition),
    /// The ring changed, or a node is not normal.
    #[error("{0}")]
    Ring(String),
}

const NAMED: usize = 3;

fn names(cells: &[Cell]) -> String {
    let named: Vec<_> = cells.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if cells.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}

impl Unverified {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        let text = match self {
            Self::Error(error) => return error.help(),
            Self::NoProgress(_) => {
                "start a processor, which takes the partition up, and run it again; if it had progress before, see \
                 docs/operations.md, \"Loss of ZooKeeper\""
            }
            Self::BeyondEnd { .. } => {
                "the topic lost records or is another one: see docs/operations.md, \"Loss of Kafka\""
            }
            Self::DefinitionChanged => {
                "run it again: it plans with the definition that there is now"
            }
            Self::Limits(_) => {
                "look at the plan; raise --max-cells or --max-change if the corrections are right"
            }
            Self::Journal { .. } => {
                "make room or set [restorator] journal to a folder that can be written; nothing was sent for the range"
            }
            Self::LeaseLost => {
                "run it again: the next run waits until nothing of this one is on its way; if it happens often, raise \
                 [zookeeper] session_timeout_ms"
            }
            Self::Unknown | Self::CorrectionRejected(_) => "see Cassandra's log; then run it again",
            Self::IgnoresIncrements(_) => {
                "they were deleted by hand, and Cassandra's tombstones swallow later increments: let a compaction drop \
                 the tombstones after gc_grace_seconds, then run it again; never delete a counter"
            }
            Self::KeepsChanging(_) => {
                "something else writes to the table: stop it, then run it again; counters are written by stitch alone"
            }
            Self::Passed(_) => {
                "a processor broke the protocol: stop all processors, run it again, and report this"
            }
            Self::Ring(_) => {
                "wait until every node is up and normal (`stitch-restorator check`), then run it again"
            }
        };
        text.to_owned()
    }
}

impl From<&Unverified> for UserError {
    fn from(unverified: &Unverified) -> Self {
        Self::new(unverified, unverified.help())
    }
}

impl From<ExpectedError> for Unverified {
    fn from(error: ExpectedError) -> Self {
        Self::Error(error.into())
    }
}

impl From<stitch_protocol::Error> for Unverified {
    fn from(error: stitch_protocol::Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<JournalError> for Unverified {
    fn from(error: JournalError) -> Self {
        Self::Journal {
            place: error.place,
            cause: error.cause.to_string(),
        }
    }
}
