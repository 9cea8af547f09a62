//! Waits for a server that does not answer, where giving up would cost what was read, or would make an operator type the
//! command again. What is refused is not waited for.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::Clock;
use stitch_common::ports::{LogError, StoreError, ZkError};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use stitch_protocol::namespace;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::lease_keeper::Interruption;

/// Why a request of several servers failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerFailure {
    /// One did not answer, or the session was lost: a later attempt may succeed.
    Away(UserError),
    /// It fails until an operator acts, or would not be made any more.
    Refused(UserError),
}

/// How long, and how often, it is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) bound: Duration,
    pub(crate) pause: Duration,
}

impl ServerFailure {
    pub(crate) fn into_error(self) -> UserError {
        match self {
            Self::Away(error) | Self::Refused(error) => error,
        }
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

impl From<stitch_protocol::Error> for ServerFailure {
    fn from(error: stitch_protocol::Error) -> Self {
        use stitch_protocol::Error as Failure;
        match error {
            Failure::SessionOver | Failure::Lost { .. } | Failure::Unanswered { .. } => {
                Self::Away(error.into())
            }
            Failure::Refused { .. }
            | Failure::NotInitialised { .. }
            | Failure::Missing { .. }
            | Failure::Corrupt { .. } => Self::Refused(error.into()),
        }
    }
}

impl From<namespace::Error> for ServerFailure {
    fn from(error: namespace::Error) -> Self {
        match error {
            namespace::Error::Coordination(error) => error.into(),
            namespace::Error::Log(error) => error.into(),
            namespace::Error::Store(error) => error.into(),
            namespace::Error::Mismatch(error) => Self::Refused(error),
        }
    }
}

/// Makes a request, and makes it again while a server is away, for at most the bound of `wait` and until `stop` is cancelled.
///
/// # Errors
/// A server refused, or was away for too long: its last error.
pub(crate) async fn while_away<T>(
    clock: &impl Clock,
    progress: &dyn Progress,
    stop: &CancellationToken,
    wait: Wait,
    mut request: impl AsyncFnMut() -> Result<T, ServerFailure>,
) -> Result<T, UserError> {
    let start = clock.now();
    loop {
        let failure = match request().await {
            Ok(answer) => return Ok(answer),
            Err(ServerFailure::Refused(failure)) => return Err(failure),
            Err(ServerFailure::Away(failure)) => failure,
        };
        if clock.now().since(start) >= wait.bound {
            return Err(failure);
        }
        progress.note(&format!("waiting for a server: {}", failure.message));
        match select(pin!(clock.sleep(wait.pause)), pin!(stop.cancelled())).await {
            Either::Left(((), _)) => {}
            Either::Right(((), _)) => return Err(Error::Interrupted(Interruption::Stopped).into()),
        }
    }
}
