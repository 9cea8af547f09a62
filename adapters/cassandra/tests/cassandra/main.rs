//! The Cassandra adapter against a real server: `STITCH_TEST_CASSANDRA`, by default `127.0.0.1:9042` (`deploy/local up`
//! starts one). Each test has its own keyspace, dropped afterwards. Without a server they fail.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has said what is wrong"
)]

mod support;

mod increments;
mod nodes;
mod scans;
mod tables;
