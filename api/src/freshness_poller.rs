//! Polls ZooKeeper and Kafka about once a second and publishes how fresh counts are, so that no request waits for
//! either of them, and the load on them does not grow with the number of requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stitch_batch::batch_node;
use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::Partition;
use stitch_common::ports::{Bounds, EventLog, Session, ZooKeeper};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_control::verification::Verification;
use stitch_protocol::path::Paths;
use stitch_protocol::{NamespaceSession, definition_node, snapshot};
use tokio::sync::watch;

use crate::freshness::{FreshnessSnapshot, History};
use crate::metrics;
use crate::reconnecting_session::ReconnectingSession;

/// How often it is read when counts were verified: restorations take minutes.
const VERIFICATION_EVERY: Duration = Duration::from_secs(60);
/// The longest that a poll may take: after that, its result would be too old anyway.
const POLL_TIMEOUT: Duration = Duration::from_secs(8);
/// The shortest pause between two polls.
const PAUSE: Duration = Duration::from_secs(1);
/// After a slow poll, of a namespace with many ranges, the pause is this many times as long as the poll.
const PAUSE_FACTOR: u32 = 9;

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
}

/// Why a poll failed.
#[derive(Debug)]
pub(crate) enum PollError {
    /// A server did not answer; the next poll may succeed.
    Unavailable(UserError),
    /// The namespace is not the one of this configuration: an operator must act.
    Mismatch(UserError),
}

/// A server that did not answer.
fn unavailable(error: impl Into<UserError>) -> PollError {
    PollError::Unavailable(error.into())
}

impl<'a, K: ZooKeeper, L: EventLog, C: Clock> FreshnessPoller<'a, K, L, C> {
    pub(crate) fn new(config: &'a Config, zookeeper: K, log: L, clock: C) -> Self {
        let snapshot = FreshnessSnapshot::empty(config.definitions.range_bits);
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
        }
    }

    /// The latest snapshot, and the ones to come.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<FreshnessSnapshot>> {
        self.snapshots.subscribe()
    }

    /// Polls once and publishes the snapshot.
    ///
    /// # Cancellation
    /// Nothing is published.
    pub(crate) async fn poll(&mut self) -> Result<(), PollError> {
        let clock = self.clock.clone();
        let timeout = clock.sleep(POLL_TIMEOUT);
        let snapshot = tokio::select! {
            biased;
            // Both futures belong to this call alone.
            snapshot = self.read() => snapshot,
            () = timeout => {
                let seconds = POLL_TIMEOUT.as_secs();
                let message = format!("ZooKeeper and Kafka did not answer within {seconds} s");
                Err(unavailable(UserError::new(message, "see whether they are up: `stitch-api check`")))
            }
        };
        if snapshot.is_err() {
            // The next poll opens a session of its own: this one may never answer again.
            self.session.discard();
        }
        let snapshot = snapshot?;
        let now = self.clock.now();
        let (whole, states) = snapshot.summary(now);
        metrics::freshness(&whole, &states, &snapshot.causes(now));
        self.snapshots.send_replace(Arc::new(snapshot));
        Ok(())
    }

    async fn read(&mut self) -> Result<FreshnessSnapshot, PollError> {
        let config = self.config;
        let bits = config.definitions.range_bits;
        let session = self.session.session().await.map_err(unavailable)?;
        check_definitions(config, session).await?;
        let batch = match config.batch.enabled {
            true => batch_node::read(session).await.map_err(unavailable)?,
            false => None,
        };
        metrics::batch(batch.as_ref());
        let batch = batch.map(Arc::new);
        if !config.batch.realtime {
            // There are neither checkpoints nor a backlog.
            return Ok(FreshnessSnapshot::purely_in_batch(bits, self.clock.now()).with_batch(batch));
        }
        let (snapshot, bounds) = tokio::join!(snapshot::light(session, bits), bounds(&self.log));
        let snapshot = snapshot.map_err(unavailable)?;
        self.history.record(self.clock.now(), bounds?);
        self.read_verification().await;
        Ok(FreshnessSnapshot::new(bits, &snapshot, &self.history).with_batch(batch))
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
    pub(crate) async fn run(mut self) -> std::convert::Infallible {
        loop {
            let start = self.clock.now();
            let result = self.poll().await;
            self.log(result);
            let took = self.clock.now().since(start);
            self.clock.sleep(PAUSE.max(took * PAUSE_FACTOR)).await;
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
            Err(PollError::Unavailable(error)) if !was_failing => {
                tracing::warn!(%error, "ZooKeeper or Kafka does not answer, freshness is unknown");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Compares definitions: others would map keys to other ranges, or name granularities that are not kept.
async fn check_definitions<S: Session, C: Clock>(
    config: &Config,
    session: &NamespaceSession<S, C>,
) -> Result<(), PollError> {
    let namespace = &config.namespace;
    let node = definition_node::read(session).await.map_err(unavailable)?;
    let Some(node) = node else {
        let message = format!("the namespace \"{namespace}\" is not initialised");
        let help = "run `stitch-processor init`";
        return Err(PollError::Mismatch(UserError::new(message, help)));
    };
    let differences = config.definitions.differences(&node.record.definitions);
    if differences.is_empty() {
        return Ok(());
    }
    let lines = differences.join("; ");
    let message = format!("this configuration differs from the namespace \"{namespace}\": {lines}");
    let help = "use the configuration that the processors run with";
    Err(PollError::Mismatch(UserError::new(message, help)))
}

async fn bounds<L: EventLog>(log: &L) -> Result<BTreeMap<Partition, Bounds>, PollError> {
    let bounds = async { log.bounds(&log.partitions().await?).await };
    bounds.await.map_err(unavailable)
}
