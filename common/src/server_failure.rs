//! What an error of a server says about trying again.

use crate::ports::{LogError, ObjectError, StoreError, ZkError};
use crate::user_error::UserError;

/// Why work that needs several servers failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFailure {
    /// One did not answer, or a session was lost: a later attempt may succeed.
    Away(UserError),
    /// It fails until an operator acts.
    Refused(UserError),
}

impl From<ServerFailure> for UserError {
    fn from(failure: ServerFailure) -> Self {
        match failure {
            ServerFailure::Away(error) | ServerFailure::Refused(error) => error,
        }
    }
}

impl From<UserError> for ServerFailure {
    /// What is an error of no server is refused.
    fn from(error: UserError) -> Self {
        Self::Refused(error)
    }
}

impl From<ZkError> for ServerFailure {
    fn from(error: ZkError) -> Self {
        match error {
            ZkError::Ambiguous(_) | ZkError::SessionOver => Self::Away(error.into()),
            ZkError::Refused(_)
            | ZkError::Denied(_)
            | ZkError::NoNode
            | ZkError::NodeExists
            | ZkError::BadVersion
            | ZkError::NotEmpty => Self::Refused(error.into()),
        }
    }
}

impl From<StoreError> for ServerFailure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Away(error.into()),
            StoreError::Refused(_) | StoreError::Denied(_) => Self::Refused(error.into()),
        }
    }
}

impl From<LogError> for ServerFailure {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(_) => Self::Away(error.into()),
            LogError::Refused(_) => Self::Refused(error.into()),
        }
    }
}

impl From<ObjectError> for ServerFailure {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Unavailable(_) | ObjectError::Ambiguous { .. } => Self::Away(error.into()),
            ObjectError::Refused(_) | ObjectError::NotFound(_) => Self::Refused(error.into()),
        }
    }
}
