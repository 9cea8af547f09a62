//! The addresses in memory: a table that holds what a test puts there, and a clock that stands.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use chrono::DateTime;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use stitch_app::status::Status;
use stitch_cassandra::BucketSpan;
use stitch_common::cell::{Bucket, CellSlot, Count, Counter, Granularity};
use stitch_common::checkpoint::Checkpoint;
use stitch_common::clock::Moment;
use stitch_common::config::Config;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, StoreError};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_protocol::glance::Glance;
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::app::Now;
use crate::calendar::{Time, UtcOffset};
use crate::count_source::{CountSource, Read};
use crate::freshness::{FreshnessSnapshot, History};
use crate::status_cache::StatusCache;
use crate::testing::well;

mod handlers;
mod contract;
mod limits;
mod operator;
mod pages;
mod problems;

const NOW: &str = "2026-05-03T10:15:30Z";

/// A table in memory that counts the reads of it, and may refuse or withhold them.
#[derive(Default)]
struct Table {
    cells: Mutex<HashMap<(Counter, CellSlot), i64>>,
    reads: AtomicUsize,
    given_up: AtomicUsize,
    refusal: Mutex<Option<StoreError>>,
    withheld: watch::Sender<bool>,
}

impl Table {
    fn put(&self, key: &str, granularity: Granularity, start: &str, count: i64) {
        let Time(ms) = Time::parse(start, UtcOffset::default()).unwrap();
        let slot = CellSlot {
            granularity,
            bucket: Bucket(ms),
        };
        let counter = Counter::new("plays", key);
        self.cells.lock().unwrap().insert((counter, slot), count);
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

struct GivenUp(Option<Arc<Table>>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(table) = &self.0 {
            table.given_up.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl CountSource for Table {
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read> {
        async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let mut given_up = GivenUp(Some(Arc::clone(&self)));
            let mut withheld = self.withheld.subscribe();
            withheld.wait_for(|withheld| !withheld).await.ok();
            given_up.0 = None;
            if let Some(refusal) = self.refusal.lock().unwrap().clone() {
                return Err(refusal);
            }
            let cells = self.cells.lock().unwrap();
            let asked = |(of, slot): &(Counter, CellSlot)| {
                let holds = |span: &BucketSpan| {
                    span.granularity == slot.granularity
                        && span.first <= slot.bucket
                        && slot.bucket <= span.last
                };
                *of == counter && spans.iter().any(holds)
            };
            let found = cells.iter().filter(|(cell, _)| asked(cell));
            Ok(found
                .map(|((_, slot), count)| (*slot, Count(*count)))
                .collect())
        }
        .boxed()
    }
}

/// What a request got.
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// A server without a socket.
struct Here {
    table: Arc<Table>,
    board: watch::Sender<Arc<FreshnessSnapshot>>,
    landscape: Arc<StatusCache>,
    answers: Answers,
    config: Config,
}

impl Here {
    fn new(api: &str) -> Self {
        let more = "[[counter]]\nname = \"visits\"\non = [\"visit\"]\nkey = \"page\"\ngranularities = [\"day\", \"month\"]";
        let text = include_str!("../../../deploy/stitch.toml")
            .replace("\n[api]\n", &format!("\n{more}\n[api]\n"));
        let environment = api.split(' ').filter_map(|pair| pair.split_once('='));
        let config = Config::parse("stitch.toml", &text, &environment.collect()).unwrap();
        let table = Arc::new(Table::default());
        let board = watch::Sender::new(Arc::new(Self::seen(&config, &Glance::default(), 0)));
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let now = || Now {
            wall: DateTime::parse_from_rfc3339(NOW).unwrap().to_utc(),
            moment: Moment::new(Duration::from_secs(1000)),
        };
        let cells: Arc<dyn CountSource> = Arc::clone(&table) as Arc<dyn CountSource>;
        let landscape = Arc::new(StatusCache::default());
        let shared = Arc::clone(&landscape);
        let app = App::new(
            &config,
            cells,
            board.subscribe(),
            shared,
            metrics,
            Arc::new(now),
        );
        let here = Self {
            table,
            board,
            landscape,
            answers: answers(&Arc::new(app)),
            config,
        };
        here.stands(Ok(well()));
        here
    }

    /// What an operator sees, or why nothing.
    fn stands(&self, status: Result<Status, UserError>) {
        let at = DateTime::parse_from_rfc3339(NOW).unwrap().to_utc();
        self.landscape.show(at, status);
    }

    /// What is seen when nothing else is the matter, with so many records not counted yet.
    fn seen(config: &Config, glance: &Glance, behind: i64) -> FreshnessSnapshot {
        let mut glance = glance.clone();
        let progress = Checkpoint::everywhere(Offset(1_000_000));
        glance.partitions.insert(Partition(0), Some(progress));
        let mut history = History::new(Duration::from_secs(5));
        for (second, end) in [(990, 0), (1000, 1_000_000 + behind)] {
            let bounds = Bounds {
                begin: Offset(0),
                end: Offset(end),
            };
            let moment = Moment::new(Duration::from_secs(second));
            history.add(moment, [(Partition(0), bounds)].into());
        }
        FreshnessSnapshot::new(
            config.definitions.range_bits,
            &glance,
            &BTreeSet::new(),
            &history,
        )
    }

    fn show(&self, glance: &Glance, behind: i64) {
        let board = Self::seen(&self.config, glance, behind);
        self.board.send_replace(Arc::new(board));
    }

    async fn ask(&self, request: Request<Body>) -> Got {
        let response = self.answers.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Got {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
        }
    }

    async fn get(&self, address: &str) -> Got {
        self.get_with(address, &[]).await
    }

    async fn get_with(&self, address: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = Request::get(address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, address: &str, body: impl Into<Body>) -> Got {
        self.ask(Request::post(address).body(body.into()).unwrap())
            .await
    }
}

/// The range that a key of `plays` lies in.
fn range_of(here: &Here, key: &str) -> RangeId {
    here.config
        .definitions
        .range_bits
        .range_of(Counter::new("plays", key).token())
}
