//! Every recipe against a real ZooKeeper, its address in `STITCH_TEST_ZOOKEEPER` (default
//! `127.0.0.1:2181`; `deploy/local up` starts one). Without one these tests fail. Each has a namespace of its own.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows it in tests, and these helpers are part of tests"
)]

mod proxy;
mod support;

mod session;
mod locks;
mod lost_answers;
mod membership;
mod checkpoint;
mod doubt;
mod backfill;
mod in_doubt;
mod definition;
mod restoration;
mod snapshot;
