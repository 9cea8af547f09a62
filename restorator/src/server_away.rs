//! Waits for a server that does not answer, where giving up would cost what was read, or would make an operator type the
//! command again. What is refused is not waited for.

use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::Clock;
use stitch_common::progress::Progress;
use stitch_common::server_failure::{self, ServerFailure};
use stitch_common::user_error::UserError;
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
    request: impl AsyncFnMut() -> Result<T, ServerFailure>,
) -> Result<T, UserError> {
    server_failure::while_away(clock, wait.bound, request, async |failure| {
        progress.note(&format!("waiting for a server: {}", failure.message));
        match select(pin!(clock.sleep(wait.pause)), pin!(stop.cancelled())).await {
            Either::Left(((), _)) => ControlFlow::Continue(()),
            Either::Right(((), _)) => {
                ControlFlow::Break(Err(Error::Interrupted(Interruption::Stopped).into()))
            }
        }
    })
    .await
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
