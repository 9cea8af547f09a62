//! A keyspace, a configuration that names it, and helpers that count in it.

use std::path::PathBuf;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use stitch_cassandra::{Replication, ScyllaCql, ScyllaStore};
use stitch_common::address::Addresses;
use stitch_common::cell::{Amount, Bucket, CellSlot, Count, Counter, Granularity};
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::definition::{Definitions, EventAttributes};
use stitch_common::lease::{Lease, Permit};
use stitch_common::member::MemberId;
use stitch_common::outcome::Outcome;
use stitch_common::ports::{CellSelection, CounterBatch, Cql, Level, Store};
use stitch_common::range::RangeBits;
use stitch_config::{
    Api, Archive, Batch, Cassandra, Config, Engine, Http, Kafka, Processor, ReadConsistency,
    Restorator, Spark, Totals, WriteConsistency, ZooKeeper,
};

/// The server's address.
pub(crate) fn server() -> String {
    std::env::var("STITCH_TEST_CASSANDRA").unwrap_or_else(|_| "127.0.0.1:9042".to_owned())
}

/// A plain driver session.
pub(crate) async fn bare_session() -> Session {
    SessionBuilder::new()
        .known_node(server())
        .build()
        .await
        .expect("a Cassandra node at STITCH_TEST_CASSANDRA; `deploy/local up` starts one")
}

/// A keyspace that is dropped with this value.
pub(crate) struct Keyspace {
    pub(crate) name: String,
    pub(crate) config: Config,
}

impl Keyspace {
    /// The name of a keyspace that does not exist yet.
    pub(crate) fn named() -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        // With the suffix of the probes, Cassandra takes 48 characters.
        let name = format!("stitch_test_{}", &unique[..24]);
        Self {
            config: config(&name),
            name,
        }
    }

    /// A keyspace that `init` has prepared.
    pub(crate) async fn ready() -> Self {
        let keyspace = Self::named();
        let replication: Replication = "1".parse().unwrap();
        let schema = keyspace.cql().connect_schema().await.unwrap();
        schema.ensure(Some(&replication)).await.unwrap();
        keyspace
    }

    pub(crate) fn cql(&self) -> ScyllaCql<SystemClock> {
        ScyllaCql::new(&self.config, SystemClock)
    }

    pub(crate) async fn store(&self) -> ScyllaStore<SystemClock> {
        let store = self.cql().connect_store(&member(1)).await.unwrap();
        let nodes: Vec<_> = store
            .nodes()
            .await
            .iter()
            .map(|known| known.node.id)
            .collect();
        store.admit(&nodes);
        store
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        let name = self.name.clone();
        // Also when the test fails, and from within its runtime: hence a thread with its own runtime.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let session = bare_session().await;
                for keyspace in [format!("{name}_probes"), name] {
                    let drop = format!("DROP KEYSPACE IF EXISTS {keyspace}");
                    session.query_unpaged(drop, ()).await.unwrap();
                }
            });
        });
        if !std::thread::panicking() {
            dropping.join().unwrap();
        }
    }
}

pub(crate) fn member(number: i64) -> MemberId {
    MemberId::new(number, 0)
}

fn config(keyspace: &str) -> Config {
    let cassandra = Cassandra {
        nodes: server().parse().unwrap(),
        keyspace: keyspace.to_owned(),
        local_datacenter: None,
        write_consistency: WriteConsistency::LocalQuorum,
        request_timeout: Duration::from_secs(10),
        keepalive_interval: Duration::from_secs(1),
        keepalive_timeout: Duration::from_secs(2),
        connections_per_node: 2,
        credentials: None,
        tls: None,
    };
    Config {
        namespace: keyspace.to_owned(),
        zookeeper: ZooKeeper {
            connect: "127.0.0.1:1".parse::<Addresses>().unwrap().into(),
            root: "/stitch".to_owned(),
            identity: None,
            tls: None,
            session_timeout: Duration::from_secs(4),
        },
        batch: Batch {
            enabled: true,
            realtime: true,
            closed_after: Duration::from_secs(3600),
            cassandra: cassandra.clone(),
        },
        cassandra,
        kafka: Kafka {
            topic: String::new(),
            client: stitch_config::ClientProperties::default(),
        },
        definitions: Definitions::new(
            RangeBits::new(6).unwrap(),
            EventAttributes::default(),
            Vec::new(),
        ),
        processor: Processor {
            requests_in_flight_max: 128,
            window_bytes_max: 1,
            turn_counters_max: 1,
            batch_bytes_max: 4096,
            drain_timeout: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(1),
        },
        restorator: Restorator {
            memory_bytes_max: 1,
            requests_in_flight_max: 64,
            ranges_in_flight_max: 1,
            range_timeout: Duration::from_secs(1),
            quiescence_timeout: Duration::from_secs(1),
            dirty_cells_target: 1,
            read_level: Level::All,
            journal: PathBuf::new(),
        },
        archive: Archive {
            url: None,
            segment_bytes: 1,
            segment_age: Duration::from_secs(1),
            memory_bytes_max: 1,
        },
        totals: totals(),
        http: Http {
            listen: ([127, 0, 0, 1], 0).into(),
        },
        api: api(),
    }
}

fn totals() -> Totals {
    Totals {
        url: None,
        memory_bytes_max: 1,
        spill: std::path::PathBuf::new(),
        spill_bytes_max: 1,
        engine: Engine::Local,
        spark: Spark {
            submit: Vec::new(),
            url: None,
            program: None,
            task_memory_bytes_max: 1,
        },
    }
}

fn api() -> Api {
    Api {
        layer: stitch_config::LayerChoice::Realtime,
        listen: ([127, 0, 0, 1], 0).into(),
        operator_listen: None,
        consistency: ReadConsistency::LocalQuorum,
        request_timeout: Duration::from_secs(10),
        speculative_after: Duration::from_secs(1),
        connections_max: 1,
        connections_per_address_max: 1,
        requests_in_flight_max: 1,
        admission_timeout: Duration::ZERO,
        reads_in_flight_max: 1,
        keys_max: 1,
        points_max: 1,
        lagging_after: Duration::from_secs(1),
        open_max_age: Duration::ZERO,
        closed_max_age: Duration::ZERO,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        stop_timeout: Duration::from_secs(1),
        cors_origins: Vec::new(),
        tokens: Vec::new(),
        tokens_file: None,
        tls: None,
    }
}

/// Permission to send for the next minute.
pub(crate) fn permit() -> Permit {
    permit_from(Duration::ZERO)
}

/// A permit for one minute, granted this long ago.
pub(crate) fn permit_from(ago: Duration) -> Permit {
    let mut lease = Lease::new(Duration::from_secs(90));
    let now = SystemClock.now();
    let sent = stitch_common::clock::Moment::new(
        now.since(stitch_common::clock::Moment::new(Duration::ZERO)) - ago,
    );
    lease.renew(sent);
    lease.permit(sent).unwrap()
}

pub(crate) fn slot(granularity: Granularity, bucket: i64) -> CellSlot {
    CellSlot {
        granularity,
        bucket: Bucket(bucket),
    }
}

pub(crate) fn hour(number: i64) -> CellSlot {
    slot(Granularity::Hour, number * 3_600_000)
}

pub(crate) fn batch(counter: &Counter, amounts: &[(CellSlot, i64)]) -> CounterBatch {
    CounterBatch {
        counter: counter.clone(),
        amounts: amounts
            .iter()
            .map(|(slot, amount)| (*slot, Amount(*amount)))
            .collect(),
    }
}

/// Increments, which must succeed.
pub(crate) async fn add(store: &impl Store, counter: &Counter, amounts: &[(CellSlot, i64)]) {
    let outcome = store.increment(permit(), &batch(counter, amounts)).await;
    assert_eq!(outcome, Outcome::Applied);
}

/// All cells of a counter.
pub(crate) async fn all_of(store: &impl Store, counter: &Counter) -> Vec<(CellSlot, i64)> {
    let cells = store
        .read(counter, CellSelection::Whole, Level::All)
        .await
        .unwrap();
    cells
        .into_iter()
        .map(|(slot, Count(count))| (slot, count))
        .collect()
}
