//! What every request may use.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use stitch_common::clock::Moment;
use stitch_common::config::{Api, Config};
use stitch_common::definition::Definitions;
use tokio::sync::watch;

use crate::calendar::Time;
use crate::count_reader::CountReader;
use crate::count_source::CountSource;
use crate::freshness::FreshnessSnapshot;
use crate::status_cache::StatusCache;
use crate::web::load_shed::Admission;

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
    pub(crate) counts: CountReader,
    pub(crate) board: watch::Receiver<Arc<FreshnessSnapshot>>,
    pub(crate) landscape: Arc<StatusCache>,
    pub(crate) metrics: PrometheusHandle,
    clock: AskClock,
    pub(crate) admission: Arc<Admission>,
}

impl App {
    pub(crate) fn new(
        config: &Config,
        cells: Arc<dyn CountSource>,
        board: watch::Receiver<Arc<FreshnessSnapshot>>,
        landscape: Arc<StatusCache>,
        metrics: PrometheusHandle,
        clock: AskClock,
    ) -> Self {
        let limits = config.api.clone();
        Self {
            namespace: config.namespace.clone(),
            definitions: config.definitions.clone(),
            counts: CountReader::new(cells, limits.reads_in_flight_max),
            admission: Arc::new(Admission::new(&limits)),
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

    /// What was seen last of how it stands with counts.
    pub(crate) fn board(&self) -> Arc<FreshnessSnapshot> {
        Arc::clone(&self.board.borrow())
    }
}
