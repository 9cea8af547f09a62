//! Every wait from the WRIT node on has a bound (rule R2): at the bound the range is given back, not proven. A calm has
//! its own bound, and what it takes is not counted.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::{Clock, Moment};

use crate::error::Error;
use crate::quiescence;
use crate::site::{Site, World};
use crate::unverified::Unverified;

/// The bound of one range's restoration.
pub struct Bound<'a, W: World> {
    site: &'a Site<'a, W>,
    until: Moment,
}

impl<'a, W: World> Bound<'a, W> {
    /// A bound that begins to run now.
    pub fn new(site: &'a Site<'a, W>) -> Self {
        let until = site.clock.now().plus(site.config.restorator.range_timeout);
        Self { site, until }
    }

    /// What `work` yields, unless the bound passes, the session ends or a stop is asked for first; then `work` is
    /// dropped where it stands.
    ///
    /// # Errors
    /// As told, or those of `work`.
    pub async fn wait<T, E: Into<Unverified>>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Unverified> {
        let left = self.until.since(self.site.clock.now());
        let over = pin!(self.site.clock.sleep(left));
        let interrupted = pin!(self.site.standing.interrupted());
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
    pub async fn wait_out(&mut self, in_doubt: quiescence::InDoubt) -> Result<(), Unverified> {
        let calm = in_doubt.wait_out(self.site);
        let site = self.site;
        self.beside(site, calm).await
    }

    /// Awaits a calm, beside the bound.
    ///
    /// # Errors
    /// No calm came, the session ended, or a stop was asked for.
    pub async fn calm(&mut self) -> Result<(), Unverified> {
        let site = self.site;
        self.beside(site, quiescence::calm(site)).await
    }

    async fn beside(
        &mut self,
        site: &Site<'_, W>,
        calm: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Unverified> {
        let began = site.clock.now();
        let interrupted = pin!(site.standing.interrupted());
        let came = match select(pin!(calm), interrupted).await {
            Either::Left((came, _)) => came.map_err(Unverified::from),
            Either::Right((why, _)) => Err(Error::Interrupted(why).into()),
        };
        self.until = self.until.plus(site.clock.now().since(began));
        came
    }

    fn passed(&self, what: &'static str) -> Unverified {
        let seconds = self
            .site
            .config
            .restorator
            .range_timeout
            .max(Duration::from_secs(1))
            .as_secs();
        Error::Bound { what, seconds }.into()
    }
}
