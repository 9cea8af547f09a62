//! State that all requests share.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use stitch_access::AccessTokens;
use stitch_batch::layer::Layers;
use stitch_calendar::time::Time;
use stitch_common::clock::Moment;
use stitch_common::definition::Definitions;
use stitch_common::ports::TableIdentity;
use stitch_config::{Api, Config, LayerChoice};
use tokio::sync::watch;

use crate::admission::Admission;
use crate::count_reader::CountReader;
use crate::count_tables::CountTables;
use crate::freshness::FreshnessSnapshot;
use crate::layers::LayerView;
use crate::params;
use crate::problem::Problem;
use crate::query_string::Query;
use crate::status_cache::StatusCache;
use stitch_control::command_queue::CommandQueue;

/// The present, by the calendar and by the clock that measures durations.
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

/// Reads the clock; a function, so that a test can set the time.
pub(crate) type ReadClock = Arc<dyn Fn() -> Now + Send + Sync>;

pub(crate) struct App {
    pub(crate) namespace: String,
    pub(crate) definitions: Definitions,
    pub(crate) limits: Api,
    pub(crate) counts: CountReader,
    layers: Layers,
    pub(crate) tables: CountTables,
    freshness: watch::Receiver<Arc<FreshnessSnapshot>>,
    pub(crate) status: Arc<StatusCache>,
    pub(crate) commands: CommandQueue,
    access: watch::Receiver<Arc<AccessTokens>>,
    pub(crate) metrics: PrometheusHandle,
    clock: ReadClock,
    pub(crate) admission: Arc<Admission>,
}

impl App {
    pub(crate) fn new(
        config: &Config,
        tables: CountTables,
        freshness: watch::Receiver<Arc<FreshnessSnapshot>>,
        (status, commands): (Arc<StatusCache>, CommandQueue),
        access: watch::Receiver<Arc<AccessTokens>>,
        metrics: PrometheusHandle,
        clock: ReadClock,
    ) -> Self {
        let limits = config.api.clone();
        Self {
            namespace: config.namespace.clone(),
            definitions: config.definitions.clone(),
            layers: Layers::new(&config.batch),
            counts: CountReader::new(tables.clone(), limits.reads_in_flight_max),
            tables,
            admission: Arc::new(Admission::new(&limits)),
            limits,
            freshness,
            status,
            commands,
            access,
            metrics,
            clock,
        }
    }

    pub(crate) fn now(&self) -> Now {
        (self.clock)()
    }

    /// Who may read what, as of now.
    pub(crate) fn access(&self) -> Arc<AccessTokens> {
        Arc::clone(&self.access.borrow())
    }

    /// The layers as a request with `query` finds them.
    pub(crate) fn layers(&self, query: &Query, now: Now) -> Result<LayerView, Problem> {
        let choice = params::layer(query)?.unwrap_or(self.limits.layer);
        Ok(self.view(choice, now))
    }

    /// The layers as a request finds them that does not name one.
    pub(crate) fn default_layers(&self, now: Now) -> LayerView {
        self.view(self.limits.layer, now)
    }

    fn view(&self, choice: LayerChoice, now: Now) -> LayerView {
        let is_read = |table: &TableIdentity| self.tables.may_be_batch(table);
        LayerView::new(self.layers, choice, self.freshness(), is_read, now.moment)
    }

    /// The latest snapshot of how fresh counts are.
    pub(crate) fn freshness(&self) -> Arc<FreshnessSnapshot> {
        Arc::clone(&self.freshness.borrow())
    }
}
