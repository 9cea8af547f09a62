//! Every wait from the WRIT node on has a bound (rule R2): at the bound the range is given back, not proven. A calm has
//! its own bound, and what it takes is not counted.

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

/// The bound of one range's restoration.
pub(crate) struct Bound<'a, B: Backends> {
    context: &'a RestoreContext<'a, B>,
    until: Moment,
}

impl<'a, B: Backends> Bound<'a, B> {
    /// A bound that begins to run now.
    pub(crate) fn new(context: &'a RestoreContext<'a, B>) -> Self {
        let until = context
            .clock
            .now()
            .plus(context.config.restorator.range_timeout);
        Self { context, until }
    }

    /// What `work` yields, unless the bound passes, the session ends or a stop is asked for first; then `work` is
    /// dropped where it stands.
    ///
    /// # Errors
    /// As told, or those of `work`.
    pub(crate) async fn wait<T, E: Into<Unverified>>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Unverified> {
        let left = self.until.since(self.context.clock.now());
        let over = pin!(self.context.clock.sleep(left));
        let interrupted = pin!(self.context.lease.interrupted());
        match select(pin!(work), select(over, interrupted)).await {
            Either::Left((done, _)) => done.map_err(Into::into),
            Either::Right((Either::Left(((), _)), _)) => Err(self.passed(what)),
            Either::Right((Either::Right((why, _)), _)) => Err(Error::Interrupted(why).into()),
        }
    }

    /// Waits out what `in_doubt` tells of, beside the bound.
    ///
    /// # Errors
    /// No calm came, the session ended, or a stop was asked for.
    pub(crate) async fn wait_out(
        &mut self,
        in_doubt: quiescence::InDoubt,
    ) -> Result<(), Unverified> {
        let calm = in_doubt.wait_out(self.context);
        let context = self.context;
        self.beside(context, calm).await
    }

    /// Awaits a calm, beside the bound.
    ///
    /// # Errors
    /// No calm came, the session ended, or a stop was asked for.
    pub(crate) async fn calm(&mut self) -> Result<(), Unverified> {
        let context = self.context;
        self.beside(context, quiescence::calm(context)).await
    }

    async fn beside(
        &mut self,
        context: &RestoreContext<'_, B>,
        calm: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Unverified> {
        let began = context.clock.now();
        let interrupted = pin!(context.lease.interrupted());
        let came = match select(pin!(calm), interrupted).await {
            Either::Left((came, _)) => came.map_err(Unverified::from),
            Either::Right((why, _)) => Err(Error::Interrupted(why).into()),
        };
        self.until = self.until.plus(context.clock.now().since(began));
        came
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
