//! Why a command could not be done, and the way out.

use stitch_common::user_error::UserError;

use stitch_common::ports::{LogError, StoreError};

use crate::lease_keeper::Interruption;
use crate::plan::merge::OutOfOrder;
use stitch_totals::memory_pool::TooLarge;
use stitch_totals::range_totals::WentBack;
use stitch_totals::source::ExpectedError;

/// Why something could not be done; variants by what the operator will do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// ZooKeeper.
    #[error(transparent)]
    Coordination(#[from] stitch_protocol::Error),
    /// Cassandra.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Kafka.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What the log adds up to could not be found.
    #[error(transparent)]
    Expected(#[from] ExpectedError),
    /// Checkpoint went back.
    #[error(transparent)]
    WentBack(#[from] WentBack),
    /// The table cannot be scanned in order.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// It does not fit into memory.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Stopped from outside.
    #[error("{}", interruption(.0))]
    Interrupted(Interruption),
    /// Something took longer than its bound.
    #[error("{what} took longer than {seconds} s")]
    Bound {
        /// What.
        what: &'static str,
        /// The bound.
        seconds: u64,
    },
    /// No calm came.
    #[error("{what}")]
    NotCalm {
        /// What stood in its way.
        what: String,
        /// What to do about it.
        help: String,
    },
    /// One of the refusals that protect the counts.
    #[error("{}", .0.message)]
    Refused(UserError),
}

fn interruption(interruption: &Interruption) -> &'static str {
    match interruption {
        Interruption::Lost => "the session with ZooKeeper is over",
        Interruption::Stopped => "it was asked to stop",
    }
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        let text = match self {
            Self::Coordination(_) => "the message says what; then run it again",
            Self::Store(StoreError::Unavailable(_)) => {
                "start the Cassandra nodes that are down (`stitch-restorator check` names them) and run it again, or \
                 accept less by --read-consistency QUORUM"
            }
            Self::Store(StoreError::Refused(_)) => {
                "see that the table, the user's permissions and the server's version are as `stitch-restorator check` \
                 expects them"
            }
            Self::Log(_) => {
                "see that Kafka is up and its topic readable (`stitch-restorator check`), and run it again"
            }
            Self::Expected(error) => return expected_way_out(error),
            Self::WentBack(_) => {
                "ZooKeeper was restored from an old copy, or progress was changed by hand: stop the processors and see \
                 docs/operations.md, \"Loss of ZooKeeper\""
            }
            Self::OutOfOrder(_) => {
                "the table's partitioner must be Murmur3Partitioner and its clustering ascending; else report this"
            }
            Self::TooLarge(_) => TOO_LARGE,
            Self::Interrupted(Interruption::Lost) => {
                "run it again: the next run reads everything anew and waits until nothing of this one is on its way"
            }
            Self::Interrupted(Interruption::Stopped) => "run it again when it suits",
            Self::Bound { .. } => {
                "run it again; raise [restorator] range_timeout_ms if this is usual here"
            }
            Self::NotCalm { help, .. } => return help.clone(),
            Self::Refused(failure) => return failure.help.clone(),
        };
        text.to_owned()
    }
}

const TOO_LARGE: &str = "restore a part at a time by --ranges A-B or --counter NAME, or raise [restorator] memory_mib_max";

fn expected_way_out(error: &ExpectedError) -> String {
    let text = match error {
        ExpectedError::TooLarge(_) => TOO_LARGE,
        ExpectedError::Gone { .. } => {
            "the topic must keep every record (retention.ms=-1, retention.bytes=-1, cleanup.policy=delete); counts of \
             what is gone cannot be restored from the log"
        }
        ExpectedError::Stalled { .. } | ExpectedError::Log(_) => {
            "see that Kafka is up and its topic readable (`stitch-restorator check`), and run it again"
        }
    };
    text.to_owned()
}

impl From<Error> for UserError {
    fn from(error: Error) -> Self {
        let help = error.help();
        Self::new(error, help)
    }
}
