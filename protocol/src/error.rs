//! The errors of recipes; variants by what the caller will do.

use stitch_common::ports::{ZOOKEEPER_AWAY, ZOOKEEPER_REFUSED, ZkError};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;

/// Why a recipe failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The session is over: stop sending, and start again as a new member.
    #[error("the ZooKeeper session is over; everything that belonged to it is gone")]
    SessionOver,
    /// This session's own node is gone, or belongs to another session. Stop sending: it is as if the session were over.
    #[error(
        "{path} in ZooKeeper is not this session's any more: the lock or membership that it was is lost"
    )]
    Lost {
        /// The node.
        path: String,
    },
    /// No answer, several times: the request may or may not have been carried out. May be tried again.
    #[error("ZooKeeper did not answer about {path}: {why}; see whether its servers are up")]
    Unanswered {
        /// The node of the request.
        path: String,
        /// Why the last attempt failed.
        why: String,
    },
    /// ZooKeeper refused, and will again.
    #[error("ZooKeeper refused {path}: {why}; see the permissions and quotas of that node")]
    Refused {
        /// The node of the request.
        path: String,
        /// ZooKeeper's error.
        why: String,
    },
    /// The namespace does not exist.
    #[error(
        "{path} is missing in ZooKeeper: the namespace is not initialised; run `stitch-processor init`"
    )]
    NotInitialised {
        /// The missing node.
        path: String,
    },
    /// A node that must be there is missing; nothing may be counted.
    #[error("{path} is missing in ZooKeeper; {help}")]
    Missing {
        /// The node.
        path: String,
        /// What to do about it.
        help: &'static str,
    },
    /// The data of a node cannot be used; nothing may be counted on it.
    #[error("{path} in ZooKeeper cannot be used: {why}; {help}")]
    Corrupt {
        /// The node.
        path: String,
        /// What is wrong with it.
        why: String,
        /// What to do about it.
        help: &'static str,
    },
}

impl Error {
    /// A refusal that the recipe does not expect.
    pub fn unexpected(path: &str, error: ZkError) -> Self {
        match error {
            ZkError::SessionOver => Self::SessionOver,
            ZkError::Ambiguous(why) => Self::Unanswered {
                path: path.to_owned(),
                why,
            },
            ZkError::Refused(why) | ZkError::Denied(UserError { message: why, .. }) => {
                Self::Refused {
                    path: path.to_owned(),
                    why,
                }
            }
            ZkError::NoNode | ZkError::NodeExists | ZkError::BadVersion | ZkError::NotEmpty => {
                Self::Refused {
                    path: path.to_owned(),
                    why: error.to_string(),
                }
            }
        }
    }
}

impl From<Error> for UserError {
    fn from(error: Error) -> Self {
        match error {
            Error::SessionOver => Self::new(
                "the ZooKeeper session is over, and with it everything that belonged to it",
                "run it again; if it happens often, lengthen zookeeper.session_timeout_ms",
            ),
            Error::Lost { path } => Self::new(
                format!("{path} in ZooKeeper is not this session's any more"),
                "run it again; see who deletes nodes below /stitch",
            ),
            Error::Unanswered { path, why } => Self::new(
                format!("ZooKeeper did not answer about {path}: {why}"),
                ZOOKEEPER_AWAY,
            ),
            Error::Refused { path, why } => Self::new(
                format!("ZooKeeper refused {path}: {why}"),
                ZOOKEEPER_REFUSED,
            ),
            Error::NotInitialised { path } => Self::new(
                format!("the namespace is not initialised: {path} is missing in ZooKeeper"),
                "run `stitch-processor init`",
            ),
            Error::Missing { path, help } => {
                Self::new(format!("{path} is missing in ZooKeeper"), help)
            }
            Error::Corrupt { path, why, help } => {
                Self::new(format!("{path} in ZooKeeper cannot be used: {why}"), help)
            }
        }
    }
}

impl From<Error> for ServerFailure {
    fn from(error: Error) -> Self {
        match error {
            Error::SessionOver | Error::Lost { .. } | Error::Unanswered { .. } => {
                Self::Away(error.into())
            }
            Error::Refused { .. }
            | Error::NotInitialised { .. }
            | Error::Missing { .. }
            | Error::Corrupt { .. } => Self::Refused(error.into()),
        }
    }
}
