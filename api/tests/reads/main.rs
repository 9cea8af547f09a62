//! The real `stitch-api` on real servers, with events counted by real processors. Needs `STITCH_TEST_ZOOKEEPER`,
//! `STITCH_TEST_KAFKA` and `STITCH_TEST_CASSANDRA`, which `deploy/test` sets.

mod access;
mod commands;
mod faults;
mod freshness;
mod made_again;
mod right;
mod start;
mod support;
