//! What an error of a server says about trying again, and the loop that does.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::clock::Clock;
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

/// Makes a request, and makes it again while a server is away, until `bound` after its first failure: a server under load may
/// take longer than this to fail once, and is tried again all the same. What is refused is not tried again. `between`
/// reports a failure and waits, or ends the loop with an answer.
///
/// # Errors
/// A server refused, or was away for too long: its last error.
///
/// # Cancellation
/// As of `request` and `between`.
pub async fn while_away<T>(
    clock: &impl Clock,
    bound: Duration,
    mut request: impl AsyncFnMut() -> Result<T, ServerFailure>,
    mut between: impl AsyncFnMut(&UserError) -> ControlFlow<Result<T, UserError>>,
) -> Result<T, UserError> {
    let mut failed_first = None;
    loop {
        let failure = match request().await {
            Ok(answer) => return Ok(answer),
            Err(ServerFailure::Refused(failure)) => return Err(failure),
            Err(ServerFailure::Away(failure)) => failure,
        };
        let now = clock.now();
        if now.since(*failed_first.get_or_insert(now)) >= bound {
            return Err(failure);
        }
        if let ControlFlow::Break(answer) = between(&failure).await {
            return answer;
        }
    }
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
            LogError::Refused(_) | LogError::Denied(_) => Self::Refused(error.into()),
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
