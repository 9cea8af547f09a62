//! The bound on every wait after the WRIT node is created (rule R2): at the bound the range is released, unverified. A
//! quiescence barrier has a bound of its own, and its time does not count.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::{Clock, Moment};

use crate::context::RestoreContext;
use crate::error::Error;
use crate::quiescence;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// The bound of one lock.
pub(crate) struct Bound<'a, B: Backends> {
    context: &'a RestoreContext<'a, B>,
    until: Moment,
}

impl<'a, B: Backends> Bound<'a, B> {
    /// A bound that starts now.
    pub(crate) fn new(context: &'a RestoreContext<'a, B>) -> Self {
        let until = context
            .clock
            .now()
            .plus(context.config.restorator.range_timeout);
        Self { context, until }
    }

    /// When it passes.
    pub(crate) const fn until(&self) -> Moment {
        self.until
    }

    /// Awaits `work`, unless the bound passes, the session ends or the process has to stop first; then `work` is dropped.
    pub(crate) async fn wait<T, E: Into<Unverified>>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Unverified> {
        let left = self.until.since(self.context.clock.now());
        let over = pin!(self.context.clock.sleep(left));
        let interrupted = pin!(self.context.interrupted());
        match select(pin!(work), select(over, interrupted)).await {
            Either::Left((result, _)) => result.map_err(Into::into),
            Either::Right((Either::Left(((), _)), _)) => Err(self.passed(what)),
            Either::Right((Either::Right((why, _)), _)) => Err(Error::Interrupted(why).into()),
        }
    }

    /// Waits out `in_doubt`. The time does not count.
    pub(crate) async fn wait_out(
        &mut self,
        in_doubt: quiescence::InDoubt,
    ) -> Result<(), Unverified> {
        let context = self.context;
        self.uncounted(context, in_doubt.wait_out(context)).await
    }

    /// Awaits a quiescence barrier that begins now. The time does not count.
    pub(crate) async fn await_quiescence(&mut self) -> Result<(), Unverified> {
        let context = self.context;
        self.uncounted(context, quiescence::barrier(context)).await
    }

    async fn uncounted(
        &mut self,
        context: &RestoreContext<'_, B>,
        barrier: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Unverified> {
        let start = context.clock.now();
        let interrupted = pin!(context.interrupted());
        let result = match select(pin!(barrier), interrupted).await {
            Either::Left((result, _)) => result.map_err(Unverified::from),
            Either::Right((why, _)) => Err(Error::Interrupted(why).into()),
        };
        self.until = self.until.plus(context.clock.now().since(start));
        result
    }

    fn passed(&self, what: &'static str) -> Unverified {
        let seconds = self
            .context
            .config
            .restorator
            .range_timeout
            .max(Duration::from_secs(1))
            .as_secs();
        Error::Bound { what, seconds }.into()
    }
}
