//! Waits for a server that does not answer, where giving up would cost what was read, or would make an operator type the
//! command again. What is refused is not waited for.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::Clock;
use stitch_common::progress::Progress;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use stitch_protocol::namespace;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::lease_keeper::Interruption;

/// How long, and how often, it is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) bound: Duration,
    pub(crate) pause: Duration,
}

/// What the error of a coordinated request says about trying again.
pub(crate) fn of_coordination(error: stitch_protocol::Error) -> ServerFailure {
    match error {
        stitch_protocol::Error::SessionOver
        | stitch_protocol::Error::Lost { .. }
        | stitch_protocol::Error::Unanswered { .. } => ServerFailure::Away(error.into()),
        stitch_protocol::Error::Refused { .. }
        | stitch_protocol::Error::NotInitialised { .. }
        | stitch_protocol::Error::Missing { .. }
        | stitch_protocol::Error::Corrupt { .. } => ServerFailure::Refused(error.into()),
    }
}

/// What the error of a validation says about trying again.
pub(crate) fn of_validation(error: namespace::Error) -> ServerFailure {
    match error {
        namespace::Error::Coordination(error) => of_coordination(error),
        namespace::Error::Log(error) => error.into(),
        namespace::Error::Store(error) => error.into(),
        namespace::Error::Mismatch(error) => ServerFailure::Refused(error),
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
