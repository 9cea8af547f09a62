//! R6: sends batches of corrections, each once. One that was certainly not applied may be sent again; one of unknown outcome
//! never is.

use std::cell::Cell;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use stitch_common::clock::{Clock, Moment};
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::{Backends, CounterBatch, Store};

use crate::context::RestoreContext;
use crate::error::Error;
use crate::journal::CorrectionOutcome;
use crate::rule;
use crate::unverified::Unverified;

/// The outcome of one batch.
pub(super) enum BatchOutcome {
    Applied,
    Unknown,
    /// It was not begun, because another one is unknown or has failed.
    NotBegun,
    NotApplied(Unverified),
    NotSent(Unverified),
}

impl BatchOutcome {
    pub(super) const fn of_correction(&self) -> CorrectionOutcome {
        match self {
            Self::Applied => CorrectionOutcome::Applied,
            Self::Unknown => CorrectionOutcome::Unknown,
            Self::NotApplied(_) => CorrectionOutcome::NotApplied,
            Self::NotBegun | Self::NotSent(_) => CorrectionOutcome::NotSent,
        }
    }
}

/// Sends these batches, several at once. Nothing is begun after `until`, or once one of them is unknown or has failed: a
/// store that stalls would be waited for once for each of them. What was begun is awaited, because dropping a request would
/// make its outcome unknown; the store's own timeout ends each.
pub(super) async fn all<B: Backends>(
    context: &RestoreContext<'_, B>,
    batches: &[CounterBatch],
    until: Option<Moment>,
) -> Vec<BatchOutcome> {
    let sender = Sender {
        context,
        until: until.filter(|_| rule::nothing_is_begun_after_the_bound()),
        has_stopped: Cell::new(false),
    };
    let in_flight = context.config.restorator.requests_in_flight_max.max(1);
    let sending = batches.iter().map(|batch| sender.send(batch));
    stream::iter(sending).buffered(in_flight).collect().await
}

struct Sender<'a, 'c, B: Backends> {
    context: &'a RestoreContext<'c, B>,
    until: Option<Moment>,
    /// A batch is unknown or has failed.
    has_stopped: Cell<bool>,
}

impl<B: Backends> Sender<'_, '_, B> {
    async fn send(&self, batch: &CounterBatch) -> BatchOutcome {
        let outcome = self.try_several_times(batch).await;
        let goes_on = matches!(outcome, BatchOutcome::Applied);
        if !goes_on && rule::nothing_is_begun_after_the_bound() {
            self.has_stopped.set(true);
        }
        outcome
    }

    async fn try_several_times(&self, batch: &CounterBatch) -> BatchOutcome {
        const TRIES: u32 = 5;
        const PAUSE: Duration = Duration::from_millis(200);
        let context = self.context;
        let mut last = None;
        for _ in 0..TRIES {
            if self.has_stopped.get() {
                return BatchOutcome::NotBegun;
            }
            let permit = match self.why_not() {
                None => context.lease.permit(context.clock),
                Some(why) => return not_sent(last.is_some(), why),
            };
            let Some(permit) = permit else {
                return not_sent(last.is_some(), Unverified::LeaseLost);
            };
            match context
                .store
                .increment(permit, std::slice::from_ref(batch))
                .await
            {
                Outcome::Applied => return BatchOutcome::Applied,
                Outcome::Unknown(cause) if !rule::unknown_corrections_are_not_resent() => {
                    last = Some(cause);
                }
                Outcome::Unknown(cause) => {
                    tracing::warn!(counter = %batch.counter, %cause, "outcome of a correction unknown");
                    return BatchOutcome::Unknown;
                }
                Outcome::Refused(cause) | Outcome::Unauthorized(cause) => {
                    return BatchOutcome::NotApplied(Unverified::CorrectionRejected(cause));
                }
                Outcome::NotApplied(cause) => last = Some(cause),
            }
            context.clock.sleep(PAUSE).await;
        }
        let last = last.unwrap_or_else(|| Cause(String::new()));
        BatchOutcome::NotApplied(Unverified::CorrectionRejected(last))
    }

    /// Why nothing may be sent now.
    fn why_not(&self) -> Option<Unverified> {
        let context = self.context;
        if let Some(why) = context.interruption() {
            return Some(Error::Interrupted(why).into());
        }
        let has_passed = self.until.is_some_and(|until| context.clock.now() >= until);
        has_passed.then(|| {
            let seconds = context.config.restorator.range_timeout.as_secs().max(1);
            let what = "sending the corrections";
            Error::Bound { what, seconds }.into()
        })
    }
}

fn not_sent(was_tried: bool, why: Unverified) -> BatchOutcome {
    match was_tried {
        true => BatchOutcome::NotApplied(why),
        false => BatchOutcome::NotSent(why),
    }
}
