//! The Cassandra adapter against a real server: `STITCH_TEST_CASSANDRA`, by default `127.0.0.1:9042` (`deploy/local up`
//! starts one). Each test has a keyspace of its own, dropped afterwards. Without a server they fail.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has said what is wrong"
)]

#[path = "cassandra/support.rs"]
mod support;

#[path = "cassandra/increments.rs"]
mod increments;
#[path = "cassandra/nodes.rs"]
mod nodes;
#[path = "cassandra/scans.rs"]
mod scans;
#[path = "cassandra/tables.rs"]
mod tables;
