//! The namespace status for operators. It costs a read for every lock, so it is read only while there are requests for
//! it, at most once a second, and each snapshot is shared by all of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_app::status::{self, Status};
use stitch_common::clock::Clock;
use stitch_common::ports::ZooKeeper;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_protocol::path::Paths;
use tokio::sync::{Notify, watch};

use crate::reconnecting_session::ReconnectingSession;

/// How long a snapshot is served before it is refreshed.
const MAX_AGE: Duration = Duration::from_secs(1);
/// After a slow poll, of a namespace with many ranges, a snapshot is served this many times as long as the poll took.
const MAX_AGE_FACTOR: u32 = 2;
/// The longest that a poll may take, unless requests have less time.
const POLL_TIMEOUT: Duration = Duration::from_secs(4);

/// The result of one poll.
#[derive(Debug)]
pub(crate) struct StatusSnapshot {
    pub(crate) at: DateTime<Utc>,
    pub(crate) status: Result<Status, UserError>,
}

/// Holds the latest snapshot, and has it refreshed on request.
#[derive(Debug)]
pub(crate) struct StatusCache {
    requested: Notify,
    /// `None` once the snapshot is too old. Requests that wait for one are receivers.
    snapshot: watch::Sender<Option<Arc<StatusSnapshot>>>,
}

impl Default for StatusCache {
    fn default() -> Self {
        Self {
            requested: Notify::new(),
            snapshot: watch::Sender::new(None),
        }
    }
}

impl StatusCache {
    /// The latest snapshot, or the next one if that is too old.
    ///
    /// # Cancellation
    /// Leaves nothing behind.
    pub(crate) async fn latest(&self) -> Arc<StatusSnapshot> {
        let mut receiver = self.snapshot.subscribe();
        self.requested.notify_one();
        let snapshot = receiver.wait_for(Option::is_some).await;
        let snapshot = snapshot.ok().and_then(|snapshot| snapshot.clone());
        snapshot
            .expect("the sender lives as long as this, and `wait_for` returns only on a snapshot")
    }

    pub(crate) fn publish(&self, at: DateTime<Utc>, status: Result<Status, UserError>) {
        let snapshot = StatusSnapshot { at, status };
        self.snapshot.send_replace(Some(Arc::new(snapshot)));
    }

    /// Has the next request wait for a new snapshot: something has changed.
    pub(crate) fn forget(&self) {
        self.snapshot.send_replace(None);
    }

    /// Polls whenever a request waits for a snapshot, until it is dropped.
    pub(crate) async fn run<C: Clock>(
        &self,
        clock: &C,
        mut poll: impl AsyncFnMut() -> Result<Status, UserError>,
    ) -> Infallible {
        loop {
            if self.snapshot.receiver_count() == 0 {
                self.requested.notified().await;
                continue;
            }
            let start = clock.now();
            let status = poll().await;
            let max_age = match &status {
                Ok(_) => MAX_AGE.max(clock.now().since(start) * MAX_AGE_FACTOR),
                Err(_) => MAX_AGE,
            };
            self.publish(clock.wall(), status);
            clock.sleep(max_age).await;
            self.snapshot.send_replace(None);
        }
    }
}

/// Reads the status from ZooKeeper.
pub(crate) struct StatusPoller<'a, K: ZooKeeper, C> {
    config: &'a Config,
    session: ReconnectingSession<K, C>,
    clock: C,
}

impl<'a, K: ZooKeeper, C: Clock> StatusPoller<'a, K, C> {
    pub(crate) fn new(config: &'a Config, zookeeper: K, clock: C) -> Self {
        Self {
            config,
            session: ReconnectingSession::new(
                zookeeper,
                clock.clone(),
                Paths::below(&config.zookeeper.root, &config.namespace),
            ),
            clock,
        }
    }

    /// Polls once.
    ///
    /// # Cancellation
    /// Leaves nothing behind.
    pub(crate) async fn poll(&mut self) -> Result<Status, UserError> {
        // Shorter than the request timeout, so that those who wait get this error and not their own timeout.
        let timeout = POLL_TIMEOUT.min(self.config.api.request_timeout / 2);
        let clock = self.clock.clone();
        let status = tokio::select! {
            biased;
            // Both futures belong to this call alone.
            status = self.read() => status,
            () = clock.sleep(timeout) => {
                let (servers, ms) = (&self.config.zookeeper.connect, timeout.as_millis());
                let message = format!("ZooKeeper ({servers}) did not answer within {ms} ms");
                let help = "see whether it is up: `stitch-api check`; counts are served without it";
                Err(UserError::new(message, help))
            }
        };
        if status.is_err() {
            self.session.discard();
        }
        status
    }

    async fn read(&mut self) -> Result<Status, UserError> {
        let session = self.session.session().await?;
        Ok(status::collect(session, &self.config.namespace).await?)
    }
}

#[cfg(test)]
mod tests;
