//! The reading side: serves counts, timelines and how fresh they are over HTTP, and writes nothing anywhere.
//!
//! The way of a request: [`server`] takes connections, within limits; [`web`] says who may ask, how many at once and
//! for how long; [`params`] reads what is asked for, strictly; [`calendar`] says where periods begin and [`tiling`] which
//! cells add up to them; [`count_reader`] reads these, once for all who ask at the same moment; [`handlers`] has one file a
//! question, and [`stats`] the pages for people. Beside it [`freshness`] looks at ZooKeeper and Kafka once a second, so
//! that no request does; [`status_cache`] looks at more of ZooKeeper while somebody looks at the page of [`operator`]s.
//!
//! This process is no member of the namespace: it never increments, so nobody has to wait for it to be gone.

mod server;
mod web;
mod problem;
mod query_string;
mod params;
mod calendar;
mod tiling;
mod count_source;
mod single_flight;
mod count_reader;
mod handlers;
mod page;
mod stats;
mod operator;
mod reconnecting_session;
mod freshness;
mod status_cache;
mod app;
mod metrics;
pub mod cli;
#[cfg(test)]
mod testing;
