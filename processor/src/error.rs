//! Why a processor's work as a member, or as a process, ends early.

use stitch_common::member::MemberId;
use stitch_common::offset::Partition;
use stitch_common::ports::{LogError, StoreError, Unreadable, ZkError};
use stitch_common::user_error::UserError;
use stitch_protocol::namespace;

use stitch_protocol::start_offset::Refusal;

/// An error that ends a member's work; variants by what follows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The session is over, or as good as over: start again as a new member.
    #[error("the ZooKeeper session is over")]
    SessionOver,
    /// ZooKeeper does not answer.
    #[error(transparent)]
    Coordination(stitch_protocol::Error),
    /// ZooKeeper cannot be reached.
    #[error(transparent)]
    ZooKeeper(#[from] ZkError),
    /// Cassandra cannot be reached, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Kafka cannot be reached, or refuses.
    #[error(transparent)]
    Log(#[from] LogError),
    /// To go on counting would make counts wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A partition of the log cannot be read on.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Another member has written the checkpoint of a partition whose lock this member holds.
    #[error("the checkpoint of partition {partition} was written by {}", name(writer.as_ref()))]
    ForeignCheckpoint {
        partition: Partition,
        writer: Option<MemberId>,
    },
    /// The namespace is not the one that this process is configured for.
    #[error("{0}")]
    Disagreement(UserError),
}

fn name(writer: Option<&MemberId>) -> String {
    writer.map_or_else(
        || "an unknown member".to_owned(),
        |member| format!("member {member}"),
    )
}

impl From<stitch_protocol::Error> for Error {
    fn from(error: stitch_protocol::Error) -> Self {
        match error {
            stitch_protocol::Error::SessionOver | stitch_protocol::Error::Lost { .. } => {
                Self::SessionOver
            }
            other @ (stitch_protocol::Error::Unanswered { .. }
            | stitch_protocol::Error::Refused { .. }
            | stitch_protocol::Error::NotInitialised { .. }
            | stitch_protocol::Error::Missing { .. }
            | stitch_protocol::Error::Corrupt { .. }) => Self::Coordination(other),
        }
    }
}

impl From<namespace::Error> for Error {
    fn from(error: namespace::Error) -> Self {
        match error {
            namespace::Error::Coordination(error) => error.into(),
            namespace::Error::Log(error) => Self::Log(error),
            namespace::Error::Store(error) => Self::Store(error),
            namespace::Error::Mismatch(error) => Self::Disagreement(error),
        }
    }
}

impl Error {
    /// Whether the process may start again as a new member; otherwise an operator must act first.
    pub(crate) const fn is_transient(&self) -> bool {
        match self {
            Self::SessionOver
            | Self::Coordination(stitch_protocol::Error::Unanswered { .. })
            | Self::ZooKeeper(ZkError::Ambiguous(_) | ZkError::SessionOver)
            | Self::Store(StoreError::Unavailable(_))
            | Self::Log(LogError::Unavailable(_)) => true,
            Self::Coordination(_)
            | Self::ZooKeeper(_)
            | Self::Store(StoreError::Refused(_))
            | Self::Log(LogError::Refused(_))
            | Self::Refused(_)
            | Self::Unreadable(_)
            | Self::ForeignCheckpoint { .. }
            | Self::Disagreement(_) => false,
        }
    }

    /// The message and the help for the operator.
    pub(crate) fn user_error(&self) -> UserError {
        match self {
            Self::Refused(refusal) => refusal.into(),
            Self::Disagreement(error) => error.clone(),
            Self::ForeignCheckpoint { .. } => UserError::new(
                self,
                "two processes counted one partition: stop every processor, make sure that only this version runs, \
                 then run a restoration",
            ),
            Self::Unreadable(error) => error.clone().into(),
            Self::SessionOver => {
                UserError::new(self, "see ZooKeeper with `stitch-processor check`")
            }
            Self::Coordination(error) => error.clone().into(),
            Self::ZooKeeper(error) => error.clone().into(),
            Self::Store(error) => error.clone().into(),
            Self::Log(error) => error.clone().into(),
        }
    }
}
