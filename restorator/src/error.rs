//! Why a command failed, and what to do about it.

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{LogError, StoreError};
use stitch_common::user_error::UserError;

use crate::lease_keeper::Interruption;
use crate::plan::merge::OutOfOrder;
use stitch_expected::expected_error::ExpectedError;
use stitch_expected::memory_pool::ResourcesExhausted;
use stitch_expected::range_totals::{AdvanceError, CheckpointRegression, Overflow};
use stitch_totals::records::RecordsError;
use stitch_totals::sorted::spill_folder::SpillError;
use stitch_totals::totals_error::TotalsError;

/// Why a command, or a step of it, failed. Variants by what the operator will do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Coordination(#[from] stitch_protocol::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Expected(#[from] ExpectedError),
    #[error(transparent)]
    CheckpointRegression(#[from] CheckpointRegression),
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    #[error(transparent)]
    ResourcesExhausted(#[from] ResourcesExhausted),
    #[error("{}", describe(.0))]
    Interrupted(Interruption),
    #[error("{what} took longer than {seconds} s")]
    Bound { what: &'static str, seconds: u64 },
    /// Events up to the ceiling may have been counted, and the log cannot be read that far.
    #[error(
        "Kafka delivers partition {partition} only up to offset {position}, though events up to {ceiling} may have been counted"
    )]
    BelowCeiling {
        partition: Partition,
        ceiling: Offset,
        position: Offset,
    },
    /// The quiescence barrier was not reached.
    #[error("{message}")]
    NotQuiescent { message: String, help: String },
    /// Refused by [`preflight`](crate::preflight), to protect correct counts.
    #[error("{}", .0.message)]
    Refused(UserError),
}

fn describe(interruption: &Interruption) -> &'static str {
    match interruption {
        Interruption::Lost => "the session with ZooKeeper is over",
        Interruption::Stopped => "it was stopped by a signal",
        Interruption::Aborted => "an operator aborted the restoration",
        Interruption::Paused => "an operator paused the restoration",
    }
}

impl Error {
    /// What the operator can do about it.
    pub fn help(&self) -> String {
        let text = match self {
            Self::Coordination(_) => "resolve what the message says, then run it again",
            Self::Store(StoreError::Unavailable(_)) => {
                "start the Cassandra nodes that are down (`stitch-restorator check` names them) and run it again, or \
                 accept less with --read-consistency QUORUM"
            }
            Self::Store(StoreError::Denied(denial)) => return denial.help.clone(),
            Self::Store(StoreError::Refused(_)) => {
                "check that the table, the user's permissions and the server's version are as `stitch-restorator check` \
                 expects them"
            }
            Self::Log(_) => {
                "check that Kafka is up and its topic readable (`stitch-restorator check`), then run it again"
            }
            Self::Expected(error) => return UserError::from(error.clone()).help,
            Self::CheckpointRegression(_) => {
                "ZooKeeper was restored from an old copy, or a checkpoint was changed by hand: stop the processors and see \
                 docs/operations/runbook.md, \"Loss of ZooKeeper\""
            }
            Self::Overflow(_) => {
                "run it again when the processors have caught up, or raise [restorator] memory_mib_max"
            }
            Self::OutOfOrder(_) => {
                "the table needs the Murmur3Partitioner and ascending clustering; if it has both, report this as a bug"
            }
            Self::ResourcesExhausted(error) => return UserError::from(*error).help,
            Self::Interrupted(Interruption::Lost) => {
                "run it again: the next run reads everything again and waits until no request of this one is in flight"
            }
            Self::Interrupted(Interruption::Stopped | Interruption::Aborted) => {
                "run it again when it suits"
            }
            Self::Interrupted(Interruption::Paused) => {
                "`stitch-restorator resume` lets it go on; `status` shows who paused it, and why"
            }
            Self::Bound { .. } => {
                "run it again; raise [restorator] range_timeout_ms if this happens often"
            }
            Self::BelowCeiling { .. } => {
                "a broker that lost the partition's leadership may still answer, or the topic lost its last records: see \
                 docs/operations/runbook.md, \"The log ends below the ceiling\""
            }
            Self::NotQuiescent { help, .. } => return help.clone(),
            Self::Refused(failure) => return failure.help.clone(),
        };
        text.to_owned()
    }
}

impl From<RecordsError> for Error {
    fn from(error: RecordsError) -> Self {
        Self::Expected(error.into())
    }
}

impl From<TotalsError> for Error {
    fn from(error: TotalsError) -> Self {
        Self::Expected(error.into())
    }
}

impl From<SpillError> for Error {
    fn from(error: SpillError) -> Self {
        Self::Expected(error.into())
    }
}

impl From<AdvanceError> for Error {
    fn from(error: AdvanceError) -> Self {
        match error {
            AdvanceError::CheckpointRegression(error) => error.into(),
            AdvanceError::Overflow(error) => error.into(),
        }
    }
}

impl From<Error> for UserError {
    fn from(error: Error) -> Self {
        let help = error.help();
        Self::new(error, help)
    }
}
