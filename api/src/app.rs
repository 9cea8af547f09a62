//! What every request may use.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use stitch_common::clock::Moment;
use stitch_common::config::{Api, Config};
use stitch_common::definition::Definitions;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::calendar::Time;
use crate::cells::Cells;
use crate::freshness::Board;
use crate::landscape::Landscape;
use crate::metrics;
use crate::problem::{Kind, Problem};
use crate::shelf::Shelf;

/// This moment, on the calendar and on the clock that waiting is measured by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall: DateTime<Utc>,
    pub(crate) moment: Moment,
}

impl Now {
    pub(crate) fn time(self) -> Time {
        Time(self.wall.timestamp_millis())
    }
}

/// Asks the clock; any clock, so that a test can set it.
pub(crate) type AskClock = Arc<dyn Fn() -> Now + Send + Sync>;

/// Shared by all requests.
pub(crate) struct App {
    pub(crate) namespace: String,
    pub(crate) definitions: Definitions,
    pub(crate) limits: Api,
    pub(crate) shelf: Shelf,
    pub(crate) board: watch::Receiver<Arc<Board>>,
    pub(crate) landscape: Arc<Landscape>,
    pub(crate) metrics: PrometheusHandle,
    clock: AskClock,
    /// One permit for each read that the requests which are being answered may have on their way.
    pub(crate) admission: Semaphore,
}

impl App {
    pub(crate) fn new(
        config: &Config,
        cells: Arc<dyn Cells>,
        board: watch::Receiver<Arc<Board>>,
        landscape: Arc<Landscape>,
        metrics: PrometheusHandle,
        clock: AskClock,
    ) -> Self {
        let limits = config.api.clone();
        Self {
            namespace: config.namespace.clone(),
            definitions: config.definitions.clone(),
            shelf: Shelf::new(cells, limits.reads_in_flight_max),
            admission: Semaphore::new(limits.requests_in_flight_max),
            limits,
            board,
            landscape,
            metrics,
            clock,
        }
    }

    pub(crate) fn now(&self) -> Now {
        (self.clock)()
    }

    /// So many places among those that are answered at once, until it is dropped; or the problem that there is no room.
    ///
    /// Whoever cannot be answered soon is told so now: a queue would only make all of them late.
    pub(crate) fn admit(&self, places: usize) -> Result<SemaphorePermit<'_>, Problem> {
        let most = self.limits.requests_in_flight_max;
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        self.admission.try_acquire_many(places).map_err(|_| {
            metrics::shed();
            let detail = format!(
                "{most} requests are being answered, which is all that this server takes at once; one for many keys \
                 counts as several"
            );
            Problem::new(Kind::Overload, detail)
        })
    }

    /// What was seen last of how it stands with counts.
    pub(crate) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board.borrow())
    }
}
