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
    /// Counted from the first failure: a server under load takes longer than this to fail once, and is tried again all the
    /// same.
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

/// Makes a request, and makes it again while a server is away, for at most the bound of `wait` after its first failure and
/// until `stop` is cancelled.
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
    let mut failed_first = None;
    loop {
        let failure = match request().await {
            Ok(answer) => return Ok(answer),
            Err(ServerFailure::Refused(failure)) => return Err(failure),
            Err(ServerFailure::Away(failure)) => failure,
        };
        let now = clock.now();
        if now.since(*failed_first.get_or_insert(now)) >= wait.bound {
            return Err(failure);
        }
        progress.note(&format!("waiting for a server: {}", failure.message));
        match select(pin!(clock.sleep(wait.pause)), pin!(stop.cancelled())).await {
            Either::Left(((), _)) => {}
            Either::Right(((), _)) => return Err(Error::Interrupted(Interruption::Stopped).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::clock::VirtualClock;
    use stitch_common::progress::NoProgress;

    const WAIT: Wait = Wait {
        bound: Duration::from_secs(10),
        pause: Duration::from_secs(1),
    };

    /// A server that fails after `takes` each time, until it answered `failures` times so.
    fn answers(takes: Duration, failures: usize) -> (Result<usize, UserError>, u64) {
        let clock = VirtualClock::default();
        let mut requests = 0;
        let answer = clock.run(while_away(
            &clock,
            &NoProgress,
            &CancellationToken::new(),
            WAIT,
            async || {
                clock.sleep(takes).await;
                requests += 1;
                if requests <= failures {
                    return Err(ServerFailure::Away(UserError::new("away", "wait")));
                }
                Ok(requests)
            },
        ));
        (answer, clock.seconds())
    }

    #[test]
    fn a_server_that_takes_longer_than_the_bound_to_fail_is_tried_again() {
        let (answer, seconds) = answers(Duration::from_secs(15), 1);
        assert_eq!((answer.unwrap(), seconds), (2, 31));
    }

    #[test]
    fn a_server_that_stays_away_ends_the_wait_at_its_bound() {
        let (answer, seconds) = answers(Duration::ZERO, usize::MAX);
        assert_eq!(
            (answer.unwrap_err().message.as_str(), seconds),
            ("away", 10)
        );
    }
}
