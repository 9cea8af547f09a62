//! Waiting with a bound, and yielding to the process's other futures: a process is one future, heartbeat included.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::clock::Clock;

/// Awaits `future` for at most `bound`; at the bound drops it and returns `None`.
pub async fn within<C: Clock, F: Future>(
    clock: &C,
    bound: Duration,
    future: F,
) -> Option<F::Output> {
    match select(pin!(future), pin!(clock.sleep(bound))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}

/// Lets the other futures of the process run once. Long computations call it regularly; otherwise the heartbeat would
/// starve and the lease expire.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
