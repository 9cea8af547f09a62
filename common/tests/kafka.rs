//! The adapter to Kafka on a real broker (`STITCH_TEST_KAFKA`, else 127.0.0.1:9092).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "kafka/support.rs"]
mod support;
#[path = "kafka/feed.rs"]
mod feed;
#[path = "kafka/group.rs"]
mod group;
#[path = "kafka/log.rs"]
mod log;
