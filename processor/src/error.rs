//! Why a processor's work as a member, or as a process, ends early.

use stitch_common::member::MemberId;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{
    LogError, StoreError, TableIdentity, Unreadable, UnreadableReason, ZkError,
};
use stitch_common::user_error::UserError;
use stitch_protocol::doubt::DoubtCause;
use stitch_protocol::namespace;

use stitch_protocol::start_offset::Refusal;

use crate::engine::{SuspensionReason, rule};

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
    /// The topic was deleted and created again.
    #[error(
        "partition {partition} begins with another record than the one that was counted first: the topic was deleted and \
         created again"
    )]
    Recreated { partition: Partition },
    /// The lock of a partition is gone, although the session lives: somebody has deleted its node.
    #[error("the lock of partition {partition} in ZooKeeper was deleted")]
    LockLost { partition: Partition },
    /// The dead-letter topic does not take a rejected record.
    #[error(
        "the rejected record at offset {offset} of partition {partition} cannot be copied to the dead-letter topic: {cause}"
    )]
    DeadLetter {
        partition: Partition,
        offset: Offset,
        cause: String,
    },
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
    /// The table of counts is another one than that of the namespace.
    pub(crate) fn other_table(counted: &TableIdentity, now: &TableIdentity) -> Self {
        Self::Disagreement(UserError::new(
            format!(
                "the table of counts was dropped and made again: its id was {}, and is {} now",
                counted.table, now.table
            ),
            "what the former one had is gone, and no program of this namespace takes the new one for it: stop every \
             processor, and follow docs/operations/runbook.md, \"Loss of Cassandra\"",
        ))
    }

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
            | Self::Store(StoreError::Refused(_) | StoreError::Denied(_))
            | Self::Log(LogError::Refused(_) | LogError::Denied(_))
            | Self::Refused(_)
            | Self::Unreadable(_)
            | Self::Recreated { .. }
            | Self::LockLost { .. }
            | Self::DeadLetter { .. }
            | Self::ForeignCheckpoint { .. }
            | Self::Disagreement(_) => false,
        }
    }

    /// Whether it ends a member at once, as if the process were killed: only the end of its session does. Whatever else
    /// fails, the member still holds its locks, and drains.
    pub(crate) fn ends_at_once(&self) -> bool {
        *self == Self::SessionOver || !rule::drains_after_failure()
    }

    /// Where an operator looks if it makes it impossible to count a partition.
    pub(crate) const fn suspension_reason(&self) -> SuspensionReason {
        match self {
            Self::Refused(_) | Self::ForeignCheckpoint { .. } => SuspensionReason::Checkpoint,
            Self::Log(_) | Self::Unreadable(_) | Self::Recreated { .. } => SuspensionReason::Log,
            Self::DeadLetter { .. } => SuspensionReason::DeadLetters,
            Self::SessionOver
            | Self::Coordination(_)
            | Self::ZooKeeper(_)
            | Self::Store(_)
            | Self::LockLost { .. }
            | Self::Disagreement(_) => SuspensionReason::ZooKeeper,
        }
    }

    /// What it says of counts, all of which may have events of the partition: none if they are as right as before.
    pub(crate) const fn doubt(&self) -> Option<DoubtCause> {
        match self {
            Self::Unreadable(Unreadable {
                reason: UnreadableReason::Truncated | UnreadableReason::Deleted,
                ..
            })
            | Self::Refused(Refusal::Beyond { .. } | Refusal::Gone { .. }) => {
                Some(DoubtCause::LogTruncated)
            }
            Self::Recreated { .. } => Some(DoubtCause::LogRecreated),
            // Two processes count one partition.
            Self::ForeignCheckpoint { .. } => Some(DoubtCause::Invariant),
            // What a lost lock leaves is for its successor to doubt.
            Self::LockLost { .. }
            | Self::Unreadable(_)
            | Self::Refused(_)
            | Self::SessionOver
            | Self::Coordination(_)
            | Self::ZooKeeper(_)
            | Self::Store(_)
            | Self::Log(_)
            | Self::DeadLetter { .. }
            | Self::Disagreement(_) => None,
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
            Self::Recreated { .. } => UserError::new(
                self,
                "what is counted since is another log's: give the new topic a namespace of its own, and follow \
                 docs/operations/runbook.md, \"The log is not the one that was counted\"",
            ),
            Self::LockLost { .. } => UserError::new(
                self,
                "see who deletes nodes below /stitch; what was counted since the last checkpoint is counted again: run a \
                 restoration",
            ),
            Self::DeadLetter { .. } => UserError::new(
                self,
                "see the dead-letter topic: it must have a leader and enough replicas in sync, its max.message.bytes must be \
                 as large as the event topic's, and this client must be allowed to write to it",
            ),
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
