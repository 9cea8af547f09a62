//! What counting and restoring have in common: what an event, a cell, a range and progress *are*, the ports
//! through which all waiting goes, and one door to each of the three servers.
//!
//! What a binary *does* with these stands in its own crate. Three modules alone import a server's client:
//! `event_log` (Kafka), `coordination` (ZooKeeper) and `counter_store` (Cassandra).

pub mod definition;
pub mod event;
pub mod cell;
pub mod range;
pub mod offset;
pub mod progress;
pub mod outcome;
pub mod lease;
pub mod member;
pub mod invariant;
pub mod mutation;
pub mod clock;
pub mod ports;
pub mod config;
pub mod departure;
pub mod answer;
pub mod telemetry;
pub mod shutdown;
pub mod namespace;
pub mod check;
pub mod status;
pub mod program;
pub mod event_log;
pub mod coordination;
pub mod counter_store;
pub mod calm;
