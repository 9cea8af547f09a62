//! Looks at ZooKeeper and Kafka again and again, whoever asks for counts or not, and publishes what it sees: so that no
//! request waits for either of them, and however many come, each is asked about once a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::offset::Partition;
use stitch_common::ports::{Bounds, EventLog, Keeper, Session};
use stitch_common::range::RangeId;
use stitch_common::user_error::Failure;
use stitch_protocol::{Coordinator, definition_node, glance, restoration};
use tokio::sync::watch;

use super::{Board, History};
use crate::metrics;
use crate::session::Reopened;

/// How long a look may take: after that, what was seen is too old anyway.
const LOOK_BOUND: Duration = Duration::from_secs(8);
/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// A look that takes long, because there are many ranges, is followed by a pause that is so many times as long.
const PAUSE_TIMES: u32 = 9;
/// Records of restorations are many and change seldom: while none runs, only every so many looks are they read.
const RECORDS_EVERY: u32 = 10;

/// Looks.
pub(crate) struct Watching<'a, K: Keeper, L, C> {
    config: &'a Config,
    session: Reopened<K, C>,
    log: L,
    clock: C,
    published: watch::Sender<Arc<Board>>,
    history: History,
    not_proved: BTreeSet<RangeId>,
    looks: u32,
    in_trouble: bool,
}

/// Why a look showed nothing.
#[derive(Debug)]
pub(crate) enum Blind {
    /// A server could not be asked: perhaps the next time.
    Away(Failure),
    /// The namespace is not the one of this configuration: a person must act.
    Differs(Failure),
}

impl<'a, K: Keeper, L: EventLog, C: Clock> Watching<'a, K, L, C> {
    pub(crate) fn new(config: &'a Config, keeper: K, log: L, clock: C) -> Self {
        let board = Board::blank(config.definitions.range_bits);
        Self {
            config,
            session: Reopened::new(keeper, clock.clone(), &config.namespace),
            log,
            clock,
            published: watch::Sender::new(Arc::new(board)),
            history: History::new(config.api.lagging_after),
            not_proved: BTreeSet::new(),
            looks: 0,
            in_trouble: false,
        }
    }

    /// Where what was seen last is found.
    pub(crate) fn board(&self) -> watch::Receiver<Arc<Board>> {
        self.published.subscribe()
    }

    /// Looks once, and publishes what it sees.
    ///
    /// # Cancellation
    /// As if nothing had been seen.
    pub(crate) async fn look(&mut self) -> Result<(), Blind> {
        let clock = self.clock.clone();
        let bound = clock.sleep(LOOK_BOUND);
        let seen = tokio::select! {
            biased;
            // Both are this function's own.
            seen = self.see() => seen,
            () = bound => {
                let what = format!("ZooKeeper and Kafka did not answer within {} s", LOOK_BOUND.as_secs());
                Err(Blind::Away(Failure::new(what, "see whether they are up: `stitch-api check`")))
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

    async fn see(&mut self) -> Result<Board, Blind> {
        let config = self.config;
        let bits = config.definitions.range_bits;
        let coordinator = self.session.coordinator().await;
        let coordinator = coordinator.map_err(|error| Blind::Away(error.into()))?;
        agrees(config, coordinator).await?;
        let (glance, bounds) = tokio::join!(glance::glance(coordinator, bits), ends(&self.log));
        let glance = glance.map_err(|error| Blind::Away(error.into()))?;
        self.history.add(self.clock.now(), bounds?);
        if glance.restoring || self.looks.is_multiple_of(RECORDS_EVERY) {
            let records = restoration::records(coordinator).await;
            let records = records.map_err(|error| Blind::Away(error.into()))?;
            self.not_proved = glance::not_proved(&records);
        }
        self.looks = self.looks.wrapping_add(1);
        Ok(Board::new(bits, &glance, &self.not_proved, &self.history))
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
    fn tell(&mut self, seen: Result<(), Blind>) {
        let in_trouble = std::mem::replace(&mut self.in_trouble, seen.is_err());
        match seen {
            Ok(()) if in_trouble => tracing::info!("freshness is known again"),
            Err(Blind::Differs(failure)) if !in_trouble => {
                tracing::error!(%failure, "this configuration is not the namespace's, freshness is unknown");
            }
            Err(Blind::Away(failure)) if !in_trouble => {
                tracing::warn!(%failure, "a server cannot be asked, freshness is unknown");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Other definitions would put keys into other ranges, or name granularities that are not kept.
async fn agrees<S: Session, C: Clock>(
    config: &Config,
    coordinator: &Coordinator<S, C>,
) -> Result<(), Blind> {
    let defined = definition_node::read(coordinator).await;
    let Some(defined) = defined.map_err(|error| Blind::Away(error.into()))? else {
        let what = format!("the namespace \"{}\" is not initialised", config.namespace);
        return Err(Blind::Differs(Failure::new(
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
    let way_out = "use the configuration that the processors run with";
    Err(Blind::Differs(Failure::new(what, way_out)))
}

async fn ends<L: EventLog>(log: &L) -> Result<BTreeMap<Partition, Bounds>, Blind> {
    let asked = async { log.bounds(&log.partitions().await?).await };
    asked.await.map_err(|error| Blind::Away(error.into()))
}
