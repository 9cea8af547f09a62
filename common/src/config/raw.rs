//! The configuration as the file has it: nothing checked but names and types of the keys.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

pub(super) type Given<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) namespace: Given<String>,
    pub(super) zookeeper: Given<ZooKeeper>,
    pub(super) cassandra: Given<Cassandra>,
    pub(super) kafka: Given<Kafka>,
    pub(super) ranges: Given<Ranges>,
    pub(super) event: Given<Event>,
    pub(super) counter: Given<Vec<Spanned<Counter>>>,
    pub(super) processor: Given<Processor>,
    pub(super) restorator: Given<Restorator>,
    pub(super) http: Given<Http>,
    pub(super) api: Given<Api>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZooKeeper {
    pub(super) connect: Given<String>,
    pub(super) session_timeout_ms: Given<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cassandra {
    pub(super) nodes: Given<Vec<String>>,
    pub(super) keyspace: Given<String>,
    pub(super) local_datacenter: Given<String>,
    pub(super) write_consistency: Given<String>,
    pub(super) request_timeout_ms: Given<u64>,
    pub(super) keepalive_interval_ms: Given<u64>,
    pub(super) keepalive_timeout_ms: Given<u64>,
    pub(super) connections_per_node: Given<u64>,
    pub(super) user: Given<String>,
    pub(super) password: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kafka {
    pub(super) topic: Given<String>,
    pub(super) client: Given<BTreeMap<Spanned<String>, Spanned<Property>>>,
}

/// librdkafka takes every value as text; a file may write numbers and switches as such.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, an integer, a number or a boolean"
)]
pub(super) enum Property {
    Text(String),
    Integer(i64),
    Number(f64),
    Switch(bool),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ranges {
    pub(super) bits: Given<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) event_type: Given<String>,
    pub(super) time: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counter {
    pub(super) name: Given<String>,
    pub(super) on: Given<Vec<String>>,
    pub(super) key: Given<String>,
    pub(super) granularities: Given<Vec<Spanned<String>>>,
    pub(super) amount: Given<i64>,
    pub(super) amount_from: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Processor {
    pub(super) requests_in_flight_max: Given<u64>,
    pub(super) window_events_max: Given<u64>,
    pub(super) window_mib_max: Given<u64>,
    pub(super) window_counters_max: Given<u64>,
    pub(super) batch_bytes_max: Given<u64>,
    pub(super) drain_timeout_ms: Given<u64>,
    pub(super) stop_timeout_ms: Given<u64>,
    pub(super) checkpoint_interval_ms: Given<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restorator {
    pub(super) memory_mib_max: Given<u64>,
    pub(super) requests_in_flight_max: Given<u64>,
    pub(super) ranges_in_flight_max: Given<u64>,
    pub(super) range_timeout_ms: Given<u64>,
    pub(super) lock_target_ms: Given<u64>,
    pub(super) cells_per_lock_max: Given<u64>,
    pub(super) quiescence_timeout_ms: Given<u64>,
    pub(super) dirty_cells_target: Given<u64>,
    pub(super) journal: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Api {
    pub(super) listen: Given<String>,
    pub(super) consistency: Given<String>,
    pub(super) request_timeout_ms: Given<u64>,
    pub(super) speculative_after_ms: Given<u64>,
    pub(super) connections_max: Given<u64>,
    pub(super) requests_in_flight_max: Given<u64>,
    pub(super) admission_timeout_ms: Given<u64>,
    pub(super) reads_in_flight_max: Given<u64>,
    pub(super) keys_max: Given<u64>,
    pub(super) points_max: Given<u64>,
    pub(super) lagging_after_ms: Given<u64>,
    pub(super) open_max_age_s: Given<u64>,
    pub(super) closed_max_age_s: Given<u64>,
    pub(super) stop_timeout_ms: Given<u64>,
    pub(super) cors_origins: Given<Vec<Spanned<String>>>,
    pub(super) tokens: Given<Vec<Spanned<String>>>,
    pub(super) tls_certificate: Given<String>,
    pub(super) tls_key: Given<String>,
}
