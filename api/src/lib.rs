//! The HTTP API: serves counts, timelines and how fresh they are. Reads from all three servers, and writes
//! nothing but the commands of operators.
//!
//! The path of a request:
//!
//! 1. [`stitch_app::http_server`] accepts the connection, within limits, with or without TLS.
//! 2. [`web`] has the routes and their layers: [`admission`] grants permits or the request is shed, then authorization
//!    ([`access`]) and timeout.
//! 3. [`handlers`] (one file per resource of `/v1`), [`stats`] and [`operator`] (pages for people) answer it.
//! 4. [`stitch_api_request`] parses the parameters strictly; [`stitch_calendar`] says where periods
//!    begin, and which cells add up to them.
//! 5. [`count_reader`] reads these cells, as [`spans`], from tables that [`stitch_api_tables`] connects, however long that takes; concurrent identical reads are one ([`stitch_app::single_flight`]).
//! 6. [`caching`] adds the freshness and the caching headers; anything that goes wrong is a
//!    problem of [`stitch_api_request`].
//!
//! In the background [`freshness_poller`] reads ZooKeeper and Kafka once a second, so that no request has to, and
//! publishes a [`FreshnessSnapshot`](stitch_api_freshness::FreshnessSnapshot). [`status_cache`] reads the namespace status while an operator's page is open,
//! [`command_queue`](stitch_control::command_queue) carries out the commands of operators, and [`TokenFilePoller`](stitch_access::TokenFilePoller) the file of tokens when it has changed.
//!
//! This process is no member of the namespace: it never increments, so no quiescence barrier waits for it.

// What is decided without an App has crates of its own; here each is named as if it were a module.
use stitch_api_freshness as freshness;
use stitch_api_request::{
    command_request, params, problem, query_request, query_string, request_body, same_origin,
};
use stitch_api_tables as count_tables;

mod spans;
mod metrics;
mod count_reader;
mod layers;
mod reconnecting_session;
mod freshness_poller;
mod status_cache;
mod admission;
mod access;
mod app;
mod caching;
mod handlers;
mod page;
mod stats;
mod operator;
mod web;
pub mod cli;
#[cfg(test)]
mod testing;
