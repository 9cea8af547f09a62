//! Waiting with a bound, and letting the process's other futures run: it is one future, heartbeat included.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::clock::Clock;
use futures_util::future::{Either, select};

/// What `future` yields, or `None` if `bound` passes first; then the future is dropped.
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

/// Lets the other futures of the process run once. Whatever works long without waiting calls it now and then, or the
/// heartbeat would starve and the lease end.
pub async fn yield_now() {
    let mut asked = false;
    poll_fn(|context| {
        if asked {
            return Poll::Ready(());
        }
        asked = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
