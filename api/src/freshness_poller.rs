//! Polls ZooKeeper and Kafka about once a second and publishes how fresh counts are, so that no request waits for
//! either of them, and the load on them does not grow with the number of requests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use stitch_batch::batch_node;
use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::Partition;
use stitch_common::ports::{Bounds, EventLog, Session, TableIdentity, ZooKeeper};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_control::verification::Verification;
use stitch_protocol::path::Paths;
use stitch_protocol::{NamespaceSession, definition_node, snapshot};
use tokio::sync::watch;

use crate::freshness::{BatchKnowledge, FreshnessSnapshot, History};
use crate::metrics;
use crate::reconnecting_session::ReconnectingSession;

/// How often it is read when counts were verified: restorations take minutes.
const VERIFICATION_EVERY: Duration = Duration::from_secs(60);
/// The longest that a poll may take: after that, its result would be too old anyway.
const POLL_TIMEOUT: Duration = Duration::from_secs(8);
/// The shortest pause between two polls.
const PAUSE: Duration = Duration::from_secs(1);
/// After a slow poll, of a namespace with many ranges, the pause is this many times as long as the poll,
const PAUSE_FACTOR: u32 = 9;
/// and not longer: what was read would be too old before it is read again.
const PAUSE_MAX: Duration = Duration::from_secs(4);

pub(crate) struct FreshnessPoller<'a, K: ZooKeeper, L, C> {
    config: &'a Config,
    session: ReconnectingSession<K, C>,
    log: L,
    clock: C,
    snapshots: watch::Sender<Arc<FreshnessSnapshot>>,
    history: History,
    /// When verifications were last read.
    verified: Option<Moment>,
    is_failing: bool,
    /// Whether the namespace was found to be the one of this configuration.
    is_validated: bool,
}

/// Why a poll failed.
#[derive(Debug)]
enum PollError {
    /// A server was not read; the next poll may succeed.
    Unavailable(Server, UserError),
    /// The namespace is not the one of this configuration: an operator must act.
    Mismatch(UserError),
}

/// What is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    ZooKeeper,
    Kafka,
}

impl Server {
    const fn name(self) -> &'static str {
        match self {
            Self::ZooKeeper => "ZooKeeper",
            Self::Kafka => "Kafka",
        }
    }
}

impl PollError {
    /// For whoever asks why freshness is unknown: no addresses, which are for the log.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable(Server::ZooKeeper, _) => "ZooKeeper cannot be read",
            Self::Unavailable(Server::Kafka, _) => "Kafka cannot be read",
            Self::Mismatch(_) => "this server's configuration is not the namespace's",
        }
    }
}

/// Shows as metrics what answers say now.
fn show(snapshot: &FreshnessSnapshot, now: Moment) {
    let (whole, states) = snapshot.summary(now);
    metrics::freshness(&whole, &states, &snapshot.causes(now));
}

/// ZooKeeper was not read.
fn unavailable(error: impl Into<UserError>) -> PollError {
    PollError::Unavailable(Server::ZooKeeper, error.into())
}

impl<'a, K: ZooKeeper, L: EventLog, C: Clock> FreshnessPoller<'a, K, L, C> {
    pub(crate) fn new(config: &'a Config, zookeeper: K, log: L, clock: C) -> Self {
        let snapshot = FreshnessSnapshot::empty(config.definitions.range_bits);
        show(&snapshot, clock.now());
        Self {
            config,
            session: ReconnectingSession::new(
                zookeeper,
                clock.clone(),
                Paths::below(&config.zookeeper.root, &config.namespace),
            ),
            log,
            clock,
            snapshots: watch::Sender::new(Arc::new(snapshot)),
            history: History::new(config.api.lagging_after),
            verified: None,
            is_failing: false,
            is_validated: false,
        }
    }

    /// The latest snapshot, and the ones to come.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<FreshnessSnapshot>> {
        self.snapshots.subscribe()
    }

    /// Polls once, and publishes the snapshot, or why there is none.
    ///
    /// # Errors
    /// The namespace is not the one of this configuration, and was not found to be when it was read before.
    ///
    /// # Cancellation
    /// Nothing is published.
    pub(crate) async fn poll(&mut self) -> Result<(), UserError> {
        let result = self.read().await;
        match &result {
            Ok(snapshot) => {
                show(snapshot, self.clock.now());
                self.log_batch(snapshot.batch());
                self.snapshots.send_replace(Arc::new(snapshot.clone()));
            }
            Err(error) => {
                // The next poll opens a session of its own: this one may never answer again.
                self.session.discard();
                let last = FreshnessSnapshot::clone(&self.snapshots.borrow());
                let last = last.with_failure(error.reason());
                show(&last, self.clock.now());
                self.snapshots.send_replace(Arc::new(last));
            }
        }
        if !self.is_validated
            && let Err(PollError::Mismatch(error)) = result
        {
            return Err(error);
        }
        self.log(result.map(|_| ()));
        Ok(())
    }

    async fn read(&mut self) -> Result<FreshnessSnapshot, PollError> {
        let config = self.config;
        let bits = config.definitions.range_bits;
        let clock = self.clock.clone();
        let deadline = clock.now().plus(POLL_TIMEOUT);
        let namespace = async {
            let session = self.session.session().await.map_err(unavailable)?;
            let table = check_definitions(config, session).await?;
            let batch = match config.batch.enabled {
                true => batch_node::read(session).await,
                false => Ok(None),
            };
            let batch = BatchKnowledge::of_read(batch).map_err(unavailable)?;
            Ok((session, table, batch))
        };
        let namespace = within(Server::ZooKeeper, &clock, deadline, namespace).await;
        let (session, table, batch) = namespace?;
        self.is_validated = true;
        metrics::batch(&batch);
        if !config.batch.realtime {
            // There are neither checkpoints nor a backlog.
            return Ok(FreshnessSnapshot::purely_in_batch(bits, clock.now()).with_batch(batch));
        }
        let light = async { snapshot::light(session, bits).await.map_err(unavailable) };
        let (snapshot, bounds) = tokio::join!(
            within(Server::ZooKeeper, &clock, deadline, light),
            within(Server::Kafka, &clock, deadline, bounds(&self.log)),
        );
        let snapshot = snapshot?;
        self.history.record(clock.now(), bounds?);
        self.read_verification().await;
        let snapshot = FreshnessSnapshot::new(bits, &snapshot, &self.history);
        Ok(snapshot.with_table(table).with_batch(batch))
    }

    /// Reads when counts were verified, if that is due. Freshness does not depend on it.
    async fn read_verification(&mut self) {
        let now = self.clock.now();
        if self
            .verified
            .is_some_and(|last| now.since(last) < VERIFICATION_EVERY)
        {
            return;
        }
        self.verified = Some(now);
        let Ok(session) = self.session.session().await else {
            return;
        };
        match Verification::read(session, self.config.definitions.range_bits).await {
            Ok(known) => metrics::verification(self.config.definitions.range_bits, &known),
            Err(error) => tracing::warn!(%error, "when counts were verified cannot be read"),
        }
    }

    /// Polls until it is dropped.
    ///
    /// # Errors
    /// As of [`FreshnessPoller::poll`].
    pub(crate) async fn run(mut self) -> Result<Infallible, UserError> {
        loop {
            let start = self.clock.now();
            self.poll().await?;
            let took = self.clock.now().since(start);
            self.clock.sleep(pause(took, self.is_failing)).await;
        }
    }

    /// Logs that the record of batch counts cannot be used, once, and that it can be again.
    fn log_batch(&self, batch: &BatchKnowledge) {
        let last = self.snapshots.borrow();
        match (last.batch().failure(), batch.failure()) {
            (last, Some(error)) if last != Some(error) => {
                let UserError { message, help } = error;
                tracing::error!(
                    error = message,
                    help,
                    "what is published in batch is not known"
                );
            }
            (Some(_), None) => tracing::info!("what is published in batch is known again"),
            (Some(_) | None, Some(_)) | (None, None) => {}
        }
    }

    /// Logs the first failure of several, and the first success after it.
    fn log(&mut self, result: Result<(), PollError>) {
        let was_failing = std::mem::replace(&mut self.is_failing, result.is_err());
        match result {
            Ok(()) if was_failing => tracing::info!("freshness is known again"),
            Err(PollError::Mismatch(error)) if !was_failing => {
                tracing::error!(%error, "configuration differs from the namespace, freshness is unknown");
            }
            Err(PollError::Unavailable(server, error)) if !was_failing => {
                let server = server.name();
                // Counts are served without: each answer says that its freshness is unknown.
                tracing::warn!(%error, server, "freshness is unknown, because a server cannot be read");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// The pause after a poll. One that failed took as long as it waited for a server, which is no measure of what a poll costs
/// that server.
fn pause(took: Duration, has_failed: bool) -> Duration {
    match has_failed {
        true => PAUSE,
        false => (took * PAUSE_FACTOR).clamp(PAUSE, PAUSE_MAX),
    }
}

/// Compares definitions: others would map keys to other ranges, or name granularities that are not kept. Returns the table
/// that the namespace counts in.
async fn check_definitions<S: Session, C: Clock>(
    config: &Config,
    session: &NamespaceSession<S, C>,
) -> Result<TableIdentity, PollError> {
    let namespace = &config.namespace;
    let node = definition_node::read(session).await.map_err(unavailable)?;
    let Some(node) = node else {
        let message = format!("the namespace \"{namespace}\" is not initialised");
        let help = "run `stitch-processor init`";
        return Err(PollError::Mismatch(UserError::new(message, help)));
    };
    let differences = config.definitions.differences(&node.record.definitions);
    if differences.is_empty() {
        return Ok(node.record.table);
    }
    let lines = differences.join("; ");
    let message = format!("this configuration differs from the namespace \"{namespace}\": {lines}");
    let help = "use the configuration that the processors run with";
    Err(PollError::Mismatch(UserError::new(message, help)))
}

async fn bounds<L: EventLog>(log: &L) -> Result<BTreeMap<Partition, Bounds>, PollError> {
    let bounds = async { log.bounds(&log.partitions().await?).await };
    let bounds = bounds.await;
    bounds.map_err(|error| PollError::Unavailable(Server::Kafka, error.into()))
}

/// Reads from a server until `deadline`.
async fn within<T, C: Clock>(
    server: Server,
    clock: &C,
    deadline: Moment,
    read: impl Future<Output = Result<T, PollError>>,
) -> Result<T, PollError> {
    let left = deadline.since(clock.now());
    tokio::select! {
        biased;
        // Both futures belong to this call alone.
        read = read => read,
        () = clock.sleep(left) => {
            let (name, seconds) = (server.name(), POLL_TIMEOUT.as_secs());
            let message = format!("{name} did not answer within {seconds} s");
            let error = UserError::new(message, "see whether it is up: `stitch-api check`");
            Err(PollError::Unavailable(server, error))
        }
    }
}

#[cfg(test)]
mod tests;
