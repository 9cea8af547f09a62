//! Why a range could not be verified, and what to do about it.

use std::path::PathBuf;

use stitch_common::cell::Cell;
use stitch_common::offset::Partition;
use stitch_common::outcome::Cause;
use stitch_common::user_error::UserError;
use stitch_expected::expected_error::ExpectedError;

use crate::error::Error;
use crate::journal::JournalError;
use crate::limits::Exceeded;

/// Why a range could not be verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    #[error(transparent)]
    Error(#[from] Error),
    #[error("partition {0} has no checkpoint in ZooKeeper")]
    NoCheckpoint(Partition),
    #[error("the namespace's definition was changed meanwhile")]
    DefinitionChanged,
    #[error(transparent)]
    Limits(#[from] Exceeded),
    #[error("the journal {} cannot be written: {cause}", path.display())]
    Journal { path: PathBuf, cause: String },
    #[error("the lease with ZooKeeper ended while the range was restored")]
    LeaseLost,
    #[error("the outcome of corrections was unknown several times")]
    Unknown,
    #[error("Cassandra rejects corrections: {0}")]
    CorrectionRejected(Cause),
    #[error("{} cells ignore increments: {}", .0.len(), names(.0))]
    IgnoresIncrements(Vec<Cell>),
    #[error("{} cells are still wrong after several corrections: {}", .0.len(), names(.0))]
    KeepsChanging(Vec<Cell>),
    #[error(
        "the checkpoint of partition {0} passed an event of the range while the range was locked"
    )]
    Passed(Partition),
    /// The ring of Cassandra nodes changed, or a node is not in its normal state.
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
    /// What the operator can do about it.
    pub fn help(&self) -> String {
        let text = match self {
            Self::Error(error) => return error.help(),
            Self::NoCheckpoint(_) => {
                "start a processor, which starts counting the partition, and run it again; if it had a checkpoint before, see \
                 docs/operations/runbook.md, \"Loss of ZooKeeper\""
            }
            Self::DefinitionChanged => "run it again: it uses the current definition",
            Self::Limits(_) => {
                "review the plan; raise --max-cells or --max-change if the corrections are right"
            }
            Self::Journal { .. } => {
                "free disk space, or set [restorator] journal to a writable folder; nothing was sent for the range"
            }
            Self::LeaseLost => {
                "it was tried several times: see whether ZooKeeper answers in time and this machine has CPU time to spare, then run it \
                 again; if it happens often, raise [zookeeper] session_timeout_ms"
            }
            Self::Unknown | Self::CorrectionRejected(_) => "see Cassandra's log, then run it again",
            Self::IgnoresIncrements(_) => {
                "they were deleted by hand, and Cassandra's tombstones swallow later increments: let a compaction drop \
                 the tombstones after gc_grace_seconds, then run it again; never delete a counter"
            }
            Self::KeepsChanging(_) => {
                "something else writes to the table: stop it, then run it again; only Stitch may write counters"
            }
            Self::Passed(_) => {
                "a processor broke the protocol: stop all processors, run it again, and report this as a bug"
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
            path: error.path,
            cause: error.cause.to_string(),
        }
    }
}
