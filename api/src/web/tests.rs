//! The web service in memory, without a socket: a table with the cells of a test, and a clock that stands still.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use chrono::DateTime;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use stitch_access::AccessTokens;
use stitch_app::status::Status;
use stitch_batch::layer::Layer;
use stitch_batch::record::{BatchRecord, Generation};
use stitch_calendar::time::Time;
use stitch_calendar::time_zone::TimeZone;
use stitch_cassandra::BucketSpan;
use stitch_common::cell::{Bucket, CellSlot, Count, Counter, CounterName, Granularity};
use stitch_common::checkpoint::Checkpoint;
use stitch_common::clock::Moment;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{Bounds, StoreError, TableIdentity, WriteTime};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_control::control_record::ControlRecord;
use stitch_protocol::snapshot::LightSnapshot;
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::app::Now;
use crate::count_tables::count_source::{CountSource, CurrentTable, Read};
use crate::count_tables::{Connection, CountTable, CountTables, TableState};
use crate::freshness::{BatchKnowledge, FreshnessSnapshot, History};
use crate::status_cache::StatusCache;
use crate::testing::healthy;
use stitch_control::command_queue::{CommandEntry, CommandQueue};

mod access;
mod control;
mod handlers;
mod contract;
mod layer_choice;
mod layers;
mod limits;
mod operator;
mod pages;
mod problems;
mod query;
mod sizes;
mod tables;
mod way_in;
mod zones;

const NOW: &str = "2026-05-03T10:15:30Z";

/// A table in memory. Counts its reads, and can reject or delay them.
#[derive(Default)]
struct Table {
    cells: Mutex<HashMap<(Counter, CellSlot), i64>>,
    reads: AtomicUsize,
    cancelled: AtomicUsize,
    error: Mutex<Option<StoreError>>,
    /// A key that no replica answers for.
    failing: Mutex<Option<String>>,
    delayed: watch::Sender<bool>,
}

impl Table {
    fn put(&self, key: &str, granularity: Granularity, start: &str, count: i64) {
        let Time(ms) = Time::parse(start, &TimeZone::UTC).unwrap();
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

/// Counts a read that is dropped before it has completed.
struct CountsCancellation(Option<Arc<Table>>);

impl Drop for CountsCancellation {
    fn drop(&mut self) {
        if let Some(table) = &self.0 {
            table.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl CountSource for Table {
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read> {
        async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let mut cancellation = CountsCancellation(Some(Arc::clone(&self)));
            let mut delayed = self.delayed.subscribe();
            delayed.wait_for(|delayed| !delayed).await.ok();
            cancellation.0 = None;
            if let Some(error) = self.error.lock().unwrap().clone() {
                return Err(error);
            }
            if self.failing.lock().unwrap().as_deref() == Some(&*counter.key.0) {
                return Err(StoreError::Unavailable("10.0.0.7".to_owned()));
            }
            let cells = self.cells.lock().unwrap();
            let within = |(of, slot): &(Counter, CellSlot)| {
                let holds = |span: &BucketSpan| {
                    span.granularity == slot.granularity
                        && span.first <= slot.bucket
                        && slot.bucket <= span.last
                };
                *of == counter && spans.iter().any(holds)
            };
            let read = cells.iter().filter(|(cell, _)| within(cell));
            Ok(read
                .map(|((_, slot), count)| (*slot, Count(*count)))
                .collect())
        }
        .boxed()
    }

    fn table(self: Arc<Self>) -> BoxFuture<'static, CurrentTable> {
        unreachable!("which table it is only the connector asks")
    }
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
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

async fn reply(response: Response) -> Reply {
    let (parts, body) = response.into_parts();
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
    }
}

struct TestServer {
    table: Arc<Table>,
    batch: Arc<Table>,
    /// The tables as they are connected, in real time first.
    connections: [watch::Sender<TableState>; 2],
    freshness: watch::Sender<Arc<FreshnessSnapshot>>,
    status: Arc<StatusCache>,
    access: watch::Sender<Arc<AccessTokens>>,
    service: WebService,
    operators: ForBrowsers<Router>,
    commands: tokio::sync::mpsc::Receiver<CommandEntry>,
    config: Config,
}

impl TestServer {
    fn new(api: &str) -> Self {
        Self::with_counters(api, "")
    }

    /// A server with further `counters`, in the format of the configuration.
    fn with_counters(api: &str, counters: &str) -> Self {
        let more = "[[counter]]\nname = \"visits\"\non = [\"visit\"]\nkey = \"page\"\ngranularities = [\"day\", \"month\"]";
        let text = include_str!("../../../deploy/stitch.toml")
            .replace("\n[api]\n", &format!("\n{more}\n{counters}\n[api]\n"));
        let environment = api.split(' ').filter_map(|pair| pair.split_once('='));
        let config = Config::parse("stitch.toml", &text, &environment.collect()).unwrap();
        let table = Arc::new(Table::default());
        let snapshot = Self::snapshot(&config, &LightSnapshot::default(), 0);
        let freshness = watch::Sender::new(Arc::new(snapshot));
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let now = || Now {
            wall: DateTime::parse_from_rfc3339(NOW).unwrap().to_utc(),
            moment: moment(),
        };
        let tokens = stitch_access::token_file_poller::read(&config.api).unwrap();
        let access = watch::Sender::new(Arc::new(tokens));
        let batch = Arc::new(Table::default());
        let source = |table: &Arc<Table>| Arc::clone(table) as Arc<dyn CountSource>;
        let connected = |name: &str, table: &Arc<Table>| {
            let connection = Connection {
                source: source(table),
                table: table_of(name),
            };
            watch::Sender::new(TableState::Connected {
                connection,
                checked: moment(),
            })
        };
        let connections = [connected("realtime", &table), connected("batch", &batch)];
        let [realtime, in_batch] = &connections;
        let of = |layer, state| CountTable::of(layer, state);
        let tables = CountTables {
            realtime: config.batch.realtime.then(|| of(Layer::Realtime, realtime)),
            batch: config.batch.enabled.then(|| of(Layer::Batch, in_batch)),
        };
        let status = Arc::new(StatusCache::default());
        let (queue, commands) = CommandQueue::new();
        let app = Arc::new(App::new(
            &config,
            tables,
            freshness.subscribe(),
            (Arc::clone(&status), queue),
            access.subscribe(),
            metrics,
            Arc::new(now),
        ));
        let server = Self {
            table,
            batch,
            connections,
            freshness,
            status,
            access,
            service: service(&app),
            operators: operator_service(&app),
            commands,
            config,
        };
        server.set_status(Ok(healthy()));
        server
    }

    /// Carries out whatever command is given.
    fn carry_out_commands(&mut self) {
        let (_, none) = CommandQueue::new();
        let mut commands = std::mem::replace(&mut self.commands, none);
        tokio::spawn(async move {
            while let Some(waiting) = commands.recv().await {
                waiting.reply.send(Ok(ControlRecord::default())).ok();
            }
        });
    }

    /// Publishes what the operator's page shows.
    fn set_status(&self, status: Result<Status, UserError>) {
        let at = DateTime::parse_from_rfc3339(NOW).unwrap().to_utc();
        self.status.publish(at, status);
    }

    /// A snapshot by `snapshot` with `behind` records that are not counted yet.
    fn snapshot(config: &Config, snapshot: &LightSnapshot, behind: i64) -> FreshnessSnapshot {
        let mut snapshot = snapshot.clone();
        let checkpoint = Checkpoint::everywhere(Offset(1_000_000));
        snapshot.partitions.insert(Partition(0), Some(checkpoint));
        let mut history = History::new(config.api.lagging_after);
        for (second, end) in [(990, 0), (1000, 1_000_000 + behind)] {
            let bounds = Bounds {
                begin: Offset(0),
                end: Offset(end),
            };
            let moment = Moment::new(Duration::from_secs(second));
            history.record(moment, [(Partition(0), bounds)].into());
        }
        FreshnessSnapshot::new(config.definitions.range_bits, &snapshot, &history)
            .with_table(table_of("realtime"))
    }

    fn set_freshness(&self, snapshot: &LightSnapshot, behind: i64) {
        let snapshot = Self::snapshot(&self.config, snapshot, behind);
        self.freshness.send_replace(Arc::new(snapshot));
    }

    /// Publishes batch counts of these counters in the table that the server reads.
    fn publish_batch(&self, as_of: &str, counters: &[&str]) {
        self.publish(as_of, counters, "batch");
    }

    fn publish(&self, as_of: &str, counters: &[&str], cluster: &str) {
        let as_of = DateTime::parse_from_rfc3339(as_of).unwrap().to_utc();
        let generation = Generation {
            totals: "totals-1".to_owned(),
            cut: Offsets::default(),
            as_of,
            written: WriteTime(1),
            rows: 0,
            digest: String::new(),
            counters: counters
                .iter()
                .map(|name| CounterName((*name).into()))
                .collect(),
            later: Vec::new(),
            published_at: as_of,
        };
        let record = BatchRecord {
            published: Some(generation),
            ..BatchRecord::new(table_of(cluster), "stitch".to_owned())
        };
        let snapshot = FreshnessSnapshot::clone(&self.freshness.borrow());
        let snapshot = snapshot.with_batch(BatchKnowledge::Record(Arc::new(record)));
        self.freshness.send_replace(Arc::new(snapshot));
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        reply(self.service.clone().oneshot(request).await.unwrap()).await
    }

    /// As `get_with`, from the operators' listener.
    async fn get_as_operator(&self, address: &str) -> Reply {
        let request = Request::get(address).body(Body::empty()).unwrap();
        reply(self.operators.clone().oneshot(request).await.unwrap()).await
    }

    async fn get(&self, address: &str) -> Reply {
        self.get_with(address, &[]).await
    }

    async fn get_with(&self, address: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::get(address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, address: &str, body: impl Into<Body>) -> Reply {
        self.send(Request::post(address).body(body.into()).unwrap())
            .await
    }
}

/// The moment at which the clock stands.
const fn moment() -> Moment {
    Moment::new(Duration::from_secs(1000))
}

fn table_of(cluster: &str) -> TableIdentity {
    TableIdentity {
        cluster: cluster.to_owned(),
        table: Default::default(),
    }
}

/// The range that a key of `plays` lies in.
fn range_of(server: &TestServer, key: &str) -> RangeId {
    server
        .config
        .definitions
        .range_bits
        .range_of(Counter::new("plays", key).token())
}
