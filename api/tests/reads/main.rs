//! The real `stitch-api` on real servers, with real events counted by real processors: `STITCH_TEST_ZOOKEEPER`,
//! `STITCH_TEST_KAFKA` and `STITCH_TEST_CASSANDRA`, as `deploy/test` sets them.

mod faults;
mod freshness;
mod right;
mod start;
mod support;
