//! The processor: reads events from Kafka and increments Cassandra counters in real time, once each.

mod counting;
pub mod metrics;
pub mod status;
pub mod http;
