//! A keyspace, a configuration that names it, and helpers that count in it.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use stitch_cassandra::{Replication, ScyllaCql, ScyllaStore};
use stitch_common::cell::{Amount, Bucket, CellSlot, Count, Counter, Granularity};
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::lease::{Lease, Permit};
use stitch_common::member::MemberId;
use stitch_common::outcome::Outcome;
use stitch_common::ports::{CellSelection, CounterBatch, Cql, Level, Store};
use stitch_config::{Config, Environment};

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

/// The configuration of a namespace whose table is in this keyspace: what is not Cassandra's is never reached.
fn config(keyspace: &str) -> Config {
    let server = server();
    let text = format!(
        r#"
        namespace = "{keyspace}"
        [zookeeper]
        connect = "127.0.0.1:1"
        [cassandra]
        nodes = ["{server}"]
        keyspace = "{keyspace}"
        request_timeout_ms = 10000
        keepalive_interval_ms = 1000
        keepalive_timeout_ms = 2000
        connections_per_node = 2
        [batch]
        enabled = true
        [kafka]
        topic = "events"
        [kafka.client]
        "bootstrap.servers" = "127.0.0.1:1"
        "group.id" = "stitch"
        [[counter]]
        name = "plays"
        on = ["play"]
        key = "track"
        "#
    );
    Config::parse("stitch.toml", &text, &Environment::default()).unwrap()
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
    let outcome = store.increment(permit(), &[batch(counter, amounts)]).await;
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
