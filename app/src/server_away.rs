//! Waits for a server that does not answer, in commands that set something up: they may be repeated, and whoever runs them,
//! an operator or a job of a roll-out, should not have to.

use std::ops::ControlFlow;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::server_failure::{self, ServerFailure};
use stitch_common::user_error::UserError;

/// How long servers may be away: as at the start of a restoration. An address that is wrong is reported after it.
const BOUND: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// Makes requests that change nothing when they are repeated, from the beginning whenever a server was away, for at most ten
/// seconds after the first failure.
///
/// # Errors
/// A server refused, or was away for too long.
///
/// # Cancellation
/// As of `requests`.
pub async fn while_away<T>(
    clock: &impl Clock,
    requests: impl AsyncFnMut() -> Result<T, ServerFailure>,
) -> Result<T, UserError> {
    server_failure::while_away(clock, BOUND, requests, async |failure| {
        let UserError { message, help } = failure;
        tracing::warn!(error = message, help, "waiting for a server: trying again");
        clock.sleep(PAUSE).await;
        ControlFlow::Continue(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_testkit::tokio_clock::TokioClock;

    fn away() -> ServerFailure {
        ServerFailure::Away(UserError::new("away", "wait"))
    }

    #[tokio::test(start_paused = true)]
    async fn what_breaks_off_in_the_middle_is_begun_again() {
        let clock = TokioClock::start();
        let start = clock.now();
        let mut begun = 0;
        let done = while_away(&clock, async || {
            begun += 1;
            if begun < 3 {
                return Err(away());
            }
            Ok(begun)
        });
        assert_eq!(done.await, Ok(3));
        assert_eq!(clock.now().since(start), PAUSE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_away_is_reported_in_the_end_and_a_refusal_at_once() {
        let clock = TokioClock::start();
        let start = clock.now();
        let ended: Result<(), _> = while_away(&clock, async || Err(away())).await;
        assert_eq!(ended.unwrap_err().message, "away");
        assert_eq!(clock.now().since(start), BOUND);
        let refused = ServerFailure::Refused(UserError::new("no", "act"));
        let ended: Result<(), _> = while_away(&clock, async || Err(refused.clone())).await;
        assert_eq!(ended.unwrap_err().message, "no");
        assert_eq!(clock.now().since(start), BOUND);
    }
}
