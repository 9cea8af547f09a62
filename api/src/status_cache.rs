//! What an operator sees of a namespace. It costs a read for every lock, so it is looked at only while somebody asks,
//! no more than once a second, and one look is shown to all who ask.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_app::status::{self, Status};
use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::ports::ZooKeeper;
use stitch_common::user_error::UserError;
use tokio::sync::{Notify, watch};

use crate::reconnecting_session::ReconnectingSession;

/// For so long what was seen is shown to whoever asks; then it is looked at anew.
const SHOWN_FOR: Duration = Duration::from_secs(1);
/// A look that takes long, because there are many ranges, is shown so many times as long.
const SHOWN_TIMES: u32 = 2;
/// How long a look may take, unless requests have less time.
const LOOK_BOUND: Duration = Duration::from_secs(4);

/// One look.
#[derive(Debug)]
pub(crate) struct StatusSnapshot {
    pub(crate) at: DateTime<Utc>,
    /// What was seen, or why nothing was.
    pub(crate) status: Result<Status, UserError>,
}

/// Between those who ask and the one who looks.
#[derive(Debug)]
pub(crate) struct StatusCache {
    asked: Notify,
    /// None once it is too old to be shown. Whoever waits for a look is a receiver.
    seen: watch::Sender<Option<Arc<StatusSnapshot>>>,
}

impl Default for StatusCache {
    fn default() -> Self {
        Self {
            asked: Notify::new(),
            seen: watch::Sender::new(None),
        }
    }
}

impl StatusCache {
    /// What was seen a moment ago, or is seen next. Dropping it leaves nothing behind.
    pub(crate) async fn latest(&self) -> Arc<StatusSnapshot> {
        let mut seen = self.seen.subscribe();
        self.asked.notify_one();
        let found = seen.wait_for(Option::is_some).await;
        let found = found.ok().and_then(|found| found.clone());
        found.expect("the sender lives as long as this, and what was waited for is there")
    }

    /// It was seen like this.
    pub(crate) fn show(&self, at: DateTime<Utc>, status: Result<Status, UserError>) {
        self.seen
            .send_replace(Some(Arc::new(StatusSnapshot { at, status })));
    }

    /// Looks whenever somebody asks, until it is dropped.
    pub(crate) async fn keep<C: Clock>(
        &self,
        clock: &C,
        mut look: impl AsyncFnMut() -> Result<Status, UserError>,
    ) -> Infallible {
        loop {
            if self.seen.receiver_count() == 0 {
                self.asked.notified().await;
                continue;
            }
            let began = clock.now();
            let status = look().await;
            let shown_for = match &status {
                Ok(_) => SHOWN_FOR.max(clock.now().since(began) * SHOWN_TIMES),
                Err(_) => SHOWN_FOR,
            };
            self.show(clock.wall(), status);
            clock.sleep(shown_for).await;
            self.seen.send_replace(None);
        }
    }
}

/// Looks at the real thing.
pub(crate) struct StatusPoller<'a, K: ZooKeeper, C> {
    config: &'a Config,
    session: ReconnectingSession<K, C>,
    clock: C,
}

impl<'a, K: ZooKeeper, C: Clock> StatusPoller<'a, K, C> {
    pub(crate) fn new(config: &'a Config, keeper: K, clock: C) -> Self {
        Self {
            config,
            session: ReconnectingSession::new(keeper, clock.clone(), &config.namespace),
            clock,
        }
    }

    /// Looks once. Cancelling it leaves nothing behind.
    pub(crate) async fn look(&mut self) -> Result<Status, UserError> {
        // Before whoever asked is told that time is up.
        let bound = LOOK_BOUND.min(self.config.api.request_timeout / 2);
        let clock = self.clock.clone();
        let seen = tokio::select! {
            biased;
            // Both are this function's own.
            seen = self.see() => seen,
            () = clock.sleep(bound) => {
                let servers = &self.config.zookeeper.connect;
                let what = format!("ZooKeeper ({servers}) did not answer within {} ms", bound.as_millis());
                let help = "see whether it is up: `stitch-api check`; counts are served without it";
                Err(UserError::new(what, help))
            }
        };
        if seen.is_err() {
            self.session.give_up();
        }
        seen
    }

    async fn see(&mut self) -> Result<Status, UserError> {
        let session = self.session.session().await?;
        Ok(status::collect(session, &self.config.namespace).await?)
    }
}

#[cfg(test)]
mod tests;
