//! Looks at ZooKeeper and Kafka again and again, whoever asks for counts or not, and publishes what it sees: so that no
//! request waits for either of them, and however many come, each is asked about once a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::offset::Partition;
use stitch_common::ports::{Bounds, EventLog, Session, ZooKeeper};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_protocol::{NamespaceSession, definition_node, glance, restoration};
use tokio::sync::watch;

use super::{FreshnessSnapshot, History};
use crate::metrics;
use crate::reconnecting_session::ReconnectingSession;

/// How long a look may take: after that, what was seen is too old anyway.
const LOOK_BOUND: Duration = Duration::from_secs(8);
/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// A look that takes long, because there are many ranges, is followed by a pause that is so many times as long.
const PAUSE_TIMES: u32 = 9;
/// Records of restorations are many and change seldom: while none runs, only every so many looks are they read.
const RECORDS_EVERY: u32 = 10;

/// Looks.
pub(crate) struct FreshnessPoller<'a, K: ZooKeeper, L, C> {
    config: &'a Config,
    session: ReconnectingSession<K, C>,
    log: L,
    clock: C,
    published: watch::Sender<Arc<FreshnessSnapshot>>,
    history: History,
    unverified: BTreeSet<RangeId>,
    looks: u32,
    in_trouble: bool,
}

/// Why a look showed nothing.
#[derive(Debug)]
pub(crate) enum PollError {
    /// A server could not be asked: perhaps the next time.
    Away(UserError),
    /// The namespace is not the one of this configuration: a person must act.
    Differs(UserError),
}

impl<'a, K: ZooKeeper, L: EventLog, C: Clock> FreshnessPoller<'a, K, L, C> {
    pub(crate) fn new(config: &'a Config, keeper: K, log: L, clock: C) -> Self {
        let board = FreshnessSnapshot::blank(config.definitions.range_bits);
        Self {
            config,
            session: ReconnectingSession::new(keeper, clock.clone(), &config.namespace),
            log,
            clock,
            published: watch::Sender::new(Arc::new(board)),
            history: History::new(config.api.lagging_after),
            unverified: BTreeSet::new(),
            looks: 0,
            in_trouble: false,
        }
    }

    /// Where what was seen last is found.
    pub(crate) fn board(&self) -> watch::Receiver<Arc<FreshnessSnapshot>> {
        self.published.subscribe()
    }

    /// Looks once, and publishes what it sees.
    ///
    /// # Cancellation
    /// As if nothing had been seen.
    pub(crate) async fn look(&mut self) -> Result<(), PollError> {
        let clock = self.clock.clone();
        let bound = clock.sleep(LOOK_BOUND);
        let seen = tokio::select! {
            biased;
            // Both are this function's own.
            seen = self.see() => seen,
            () = bound => {
                let what = format!("ZooKeeper and Kafka did not answer within {} s", LOOK_BOUND.as_secs());
                Err(PollError::Away(UserError::new(what, "see whether they are up: `stitch-api check`")))
            }
        };
        if seen.is_err() {
            // A session that answers nothing is given up.
            self.session.give_up();
        }
        let board = seen?;
        let (whole, states) = board.summary(self.clock.now());
        metrics::freshness(whole, &states);
        self.published.send_replace(Arc::new(board));
        Ok(())
    }

    async fn see(&mut self) -> Result<FreshnessSnapshot, PollError> {
        let config = self.config;
        let bits = config.definitions.range_bits;
        let session = self.session.session().await;
        let session = session.map_err(|error| PollError::Away(error.into()))?;
        agrees(config, session).await?;
        let (glance, bounds) = tokio::join!(glance::glance(session, bits), ends(&self.log));
        let glance = glance.map_err(|error| PollError::Away(error.into()))?;
        self.history.add(self.clock.now(), bounds?);
        if glance.restoring || self.looks.is_multiple_of(RECORDS_EVERY) {
            let records = restoration::records(session).await;
            let records = records.map_err(|error| PollError::Away(error.into()))?;
            self.unverified = glance::unverified(&records);
        }
        self.looks = self.looks.wrapping_add(1);
        Ok(FreshnessSnapshot::new(
            bits,
            &glance,
            &self.unverified,
            &self.history,
        ))
    }

    /// Looks until it is dropped.
    pub(crate) async fn go_on(mut self) -> std::convert::Infallible {
        loop {
            let began = self.clock.now();
            let seen = self.look().await;
            self.tell(seen);
            let took = self.clock.now().since(began);
            self.clock.sleep(PAUSE.max(took * PAUSE_TIMES)).await;
        }
    }

    /// Logs where trouble begins and where it ends.
    fn tell(&mut self, seen: Result<(), PollError>) {
        let in_trouble = std::mem::replace(&mut self.in_trouble, seen.is_err());
        match seen {
            Ok(()) if in_trouble => tracing::info!("freshness is known again"),
            Err(PollError::Differs(failure)) if !in_trouble => {
                tracing::error!(%failure, "this configuration is not the namespace's, freshness is unknown");
            }
            Err(PollError::Away(failure)) if !in_trouble => {
                tracing::warn!(%failure, "a server cannot be asked, freshness is unknown");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Other definitions would put keys into other ranges, or name granularities that are not kept.
async fn agrees<S: Session, C: Clock>(
    config: &Config,
    session: &NamespaceSession<S, C>,
) -> Result<(), PollError> {
    let defined = definition_node::read(session).await;
    let Some(defined) = defined.map_err(|error| PollError::Away(error.into()))? else {
        let what = format!("the namespace \"{}\" is not initialised", config.namespace);
        return Err(PollError::Differs(UserError::new(
            what,
            "run `stitch-processor init`",
        )));
    };
    let differences = config.definitions.differences(&defined.record.definitions);
    if differences.is_empty() {
        return Ok(());
    }
    let (namespace, lines) = (&config.namespace, differences.join("; "));
    let what = format!("this configuration differs from the namespace \"{namespace}\": {lines}");
    let help = "use the configuration that the processors run with";
    Err(PollError::Differs(UserError::new(what, help)))
}

async fn ends<L: EventLog>(log: &L) -> Result<BTreeMap<Partition, Bounds>, PollError> {
    let asked = async { log.bounds(&log.partitions().await?).await };
    asked.await.map_err(|error| PollError::Away(error.into()))
}
