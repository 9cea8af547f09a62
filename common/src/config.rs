//! The configuration: one TOML file for every program, overridden value by value from the environment.
//!
//! Everything has a default but namespace, connect, nodes, keyspace, topic, bootstrap.servers, group.id and one counter.
//! Unknown keys are errors. The annotated example is `deploy/stitch.toml`.

mod document;
mod load;
mod overrides;
mod raw;
mod refused_property;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::definition::Definitions;
use crate::ports::Level;

pub use load::Environment;
pub use refused_property::refused_property;

/// The configuration as the programs use it, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The namespace: its ZooKeeper root is `/stitch/<namespace>`.
    pub namespace: String,
    /// ZooKeeper.
    pub zookeeper: ZooKeeper,
    /// Cassandra.
    pub cassandra: Cassandra,
    /// Kafka.
    pub kafka: Kafka,
    /// What events count (`[ranges]`, `[event]`, `[[counter]]`).
    pub definitions: Definitions,
    /// The processor's own limits.
    pub processor: Processor,
    /// The restorator's own limits.
    pub restorator: Restorator,
    /// The processor's HTTP server.
    pub http: Http,
    /// The server that counts are read from.
    pub api: Api,
}

/// `[zookeeper]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeper {
    /// `host:port,host:port…`
    pub connect: String,
    /// What is asked for; the servers may grant another. Default 10 s.
    pub session_timeout: Duration,
}

/// `[cassandra]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cassandra {
    /// `host:port` of some nodes.
    pub nodes: Vec<String>,
    /// The keyspace of the table `counts`.
    pub keyspace: String,
    /// The data centre that increments go to; none: any.
    pub local_datacenter: Option<String>,
    /// The consistency of increments. Default `LOCAL_QUORUM`.
    pub write_consistency: WriteConsistency,
    /// After which a request's outcome is unknown. Default 5 s.
    pub request_timeout: Duration,
    /// How often an idle connection is tried. Default 5 s.
    pub keepalive_interval: Duration,
    /// How long a tried connection may be silent before it is closed. Default 5 s.
    pub keepalive_timeout: Duration,
    /// Connections to each node. Default 2.
    pub connections_per_node: usize,
    /// User and password, if the cluster asks for them.
    pub credentials: Option<(String, String)>,
}

/// At which consistency increments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteConsistency {
    /// One replica of the local data centre.
    LocalOne,
    /// A majority of the local data centre's replicas.
    LocalQuorum,
    /// A majority in every data centre.
    EachQuorum,
    /// A majority of all replicas.
    Quorum,
    /// One replica.
    One,
    /// Every replica.
    All,
}

impl WriteConsistency {
    /// Every level, with its name.
    pub const EVERY: [(Self, &str); 6] = [
        (Self::LocalOne, "LOCAL_ONE"),
        (Self::LocalQuorum, "LOCAL_QUORUM"),
        (Self::EachQuorum, "EACH_QUORUM"),
        (Self::Quorum, "QUORUM"),
        (Self::One, "ONE"),
        (Self::All, "ALL"),
    ];
}

/// `[kafka]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// The event topic.
    pub topic: String,
    /// librdkafka properties that are passed on; `bootstrap.servers` and `group.id` among them, none of ours.
    pub client: BTreeMap<String, String>,
}

impl Kafka {
    /// Where rejected records go.
    #[must_use]
    pub fn dead_letter_topic(&self) -> String {
        format!("{}.rejected", self.topic)
    }

    /// The processors' group.
    ///
    /// # Panics
    /// If the configuration was not validated.
    #[must_use]
    pub fn group_id(&self) -> &str {
        self.client
            .get("group.id")
            .expect("validated: group.id is given")
    }

    /// After which the group takes a silent member for dead: `session.timeout.ms`, or librdkafka's default.
    ///
    /// # Errors
    /// The property's value, if it is no number.
    pub fn session_timeout(&self) -> Result<Duration, String> {
        const DEFAULT_MS: u64 = 45_000;
        match self.client.get("session.timeout.ms") {
            None => Ok(Duration::from_millis(DEFAULT_MS)),
            Some(value) => match value.trim().parse() {
                Ok(ms) => Ok(Duration::from_millis(ms)),
                Err(_) => Err(value.clone()),
            },
        }
    }
}

/// `[processor]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Counter batches on their way at once. Default 128.
    pub requests_in_flight_max: usize,
    /// Events taken in and not answered yet; the window in which they are coalesced. Default 500,000.
    pub window_events_max: usize,
    /// Bytes of events taken in and not answered yet. Default 64 MiB.
    pub window_bytes_max: usize,
    /// Counters to which these events add and that are not answered: what a clean stop has to finish. Default 50,000.
    pub window_counters_max: usize,
    /// Bytes of one counter batch. Default 4 KiB, below Cassandra's warning at 5 KiB.
    pub batch_bytes_max: usize,
    /// How long a yield to a restoration tries to apply what it must finish; the restoration repairs what it gives up.
    /// Default 2 s, or half of `stop_timeout` if that is less.
    pub drain_timeout: Duration,
    /// How long a clean stop or a hand-over may take; below Kafka's session timeout. For three quarters of it they
    /// try to apply what they must finish. Default 20 s, or half of that session timeout if that is less.
    pub stop_timeout: Duration,
    /// How often progress is written and committed. Default 500 ms.
    pub checkpoint_interval: Duration,
}

/// `[restorator]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restorator {
    /// Bytes that expected totals may take. Default 1 GiB.
    pub memory_bytes_max: usize,
    /// Reads and increments on their way at once. Default 64.
    pub requests_in_flight_max: usize,
    /// Ranges that are restored at once. Default 2.
    pub ranges_in_flight_max: usize,
    /// How long one range may be waited for or held before it is given back, not proven. Default 60 s, beside calms.
    pub range_timeout: Duration,
    /// How long a lock of a range should be held. Where the wrong cells take longer, they are corrected in portions, under
    /// several locks. Default 500 ms.
    pub lock_target: Duration,
    /// Wrong cells that are corrected under one lock however fast the store is. Default 5000.
    pub cells_per_lock_max: usize,
    /// How long a calm is awaited. Default 5 min.
    pub quiescence_timeout: Duration,
    /// Closing in stops when at most this many cells are unjudged. Default 1000.
    pub dirty_cells_target: usize,
    /// The consistency of reads: `ALL`, unless the operator accepts less by `--read-consistency`. No file can set it.
    pub read_level: Level,
    /// Where the journals are. Default `stitch-journal`.
    pub journal: PathBuf,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where health, readiness and metrics are served. Default `127.0.0.1:0`, a port of the system's choice.
    pub listen: SocketAddr,
}

/// `[api]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Where counts are served. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// How many replicas answer a read. Default `LOCAL_QUORUM`.
    pub consistency: ReadConsistency,
    /// How long a request may take in all. Default 5 s.
    pub request_timeout: Duration,
    /// After which a read is sent to another node as well. Default 100 ms.
    pub speculative_after: Duration,
    /// Connections at once. Default 4096.
    pub connections_max: usize,
    /// Requests answered at once, where one for many keys counts as up to 32. Default 512.
    pub requests_in_flight_max: usize,
    /// How long a request waits for a place among them, before it is refused. Default 200 ms.
    pub admission_timeout: Duration,
    /// Reads on their way to Cassandra at once. Default 256.
    pub reads_in_flight_max: usize,
    /// Keys in one request. Default 200.
    pub keys_max: usize,
    /// Points on one page of a time series. Default 1000.
    pub points_max: usize,
    /// How long events may wait to be counted before counts are called lagging. Default 5 s.
    pub lagging_after: Duration,
    /// How long others may keep counts that can still grow. Default 1 s.
    pub open_max_age: Duration,
    /// How long others may keep counts of times that are over. Default 1 h.
    pub closed_max_age: Duration,
    /// How long a clean stop waits for requests that were begun. Default 10 s.
    pub stop_timeout: Duration,
    /// Where pages may come from that read counts from within a browser. Default: nowhere.
    pub cors_origins: Vec<String>,
    /// What a client must know one of; anybody may read if there are none.
    pub tokens: Vec<Token>,
    /// Serves HTTPS with these files; plain HTTP if there are none.
    pub tls: Option<TlsFiles>,
}

/// How many replicas answer a read of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadConsistency {
    /// One replica of the local data centre.
    LocalOne,
    /// A majority of the local data centre's replicas.
    LocalQuorum,
    /// One replica.
    One,
    /// A majority of all replicas.
    Quorum,
    /// Every replica.
    All,
}

impl ReadConsistency {
    /// Every level, with its name.
    pub const EVERY: [(Self, &str); 5] = [
        (Self::LocalOne, "LOCAL_ONE"),
        (Self::LocalQuorum, "LOCAL_QUORUM"),
        (Self::One, "ONE"),
        (Self::Quorum, "QUORUM"),
        (Self::All, "ALL"),
    ];
}

/// What a client shows to be let in. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where certificate and key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

#[cfg(test)]
mod tests;
