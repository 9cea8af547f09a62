//! Waits for servers that are away when an archiver starts: it is alive, and not ready.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::Clock;
use stitch_common::liveness::Liveness;
use stitch_common::server_failure::{ServerFailure, while_away};
use stitch_common::user_error::UserError;
use tokio_util::sync::CancellationToken;

use super::Extent;

/// How long it pauses before it tries again.
const PAUSE: Duration = Duration::from_secs(2);
/// How often the process records that it is alive.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Makes a request of servers, and makes it again while one is away, as long as `stop` is not cancelled; for
/// [`Extent::Once`] only once. `None` if it was stopped.
///
/// # Errors
/// A server refused.
pub(crate) async fn once_servers_answer<T>(
    clock: &impl Clock,
    extent: Extent,
    liveness: &Liveness,
    stop: &CancellationToken,
    mut request: impl AsyncFnMut() -> Result<T, ServerFailure>,
) -> Result<Option<T>, UserError> {
    let bound = match extent {
        Extent::Once => Duration::ZERO,
        Extent::UntilStopped => Duration::MAX,
    };
    let mut said = None;
    let request = async || {
        // Dropped requests have changed nothing but put a segment's index, or the check of the store.
        let answer = while_alive(clock, liveness, stop, request()).await;
        answer.transpose()
    };
    while_away(clock, bound, request, async |failure| {
        // Said once, however often it is tried: a server may be away for hours.
        if said.as_ref() != Some(failure) {
            let UserError { message, help } = failure;
            tracing::warn!(error = %message, %help, "waiting for the servers: not archiving yet");
            said = Some(failure.clone());
        }
        match while_alive(clock, liveness, stop, clock.sleep(PAUSE)).await {
            Some(()) => ControlFlow::Continue(()),
            None => ControlFlow::Break(Ok(None)),
        }
    })
    .await
}

/// Runs `work`, and records meanwhile that the process is alive. `None` if it was stopped.
async fn while_alive<T>(
    clock: &impl Clock,
    liveness: &Liveness,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut stopped = pin!(stop.cancelled());
    loop {
        liveness.beat(clock.now());
        let beat = pin!(clock.sleep(BEAT_INTERVAL));
        match select(&mut stopped, select(&mut work, beat)).await {
            Either::Left(((), _)) => return None,
            Either::Right((Either::Left((output, _)), _)) => return Some(output),
            Either::Right((Either::Right(((), _)), _)) => {}
        }
    }
}
