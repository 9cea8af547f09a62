//! The adapter to Kafka on a real broker (`STITCH_TEST_KAFKA`, else 127.0.0.1:9092).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;
mod segment;
mod feed;
mod unreadable;
mod group;
mod log;
