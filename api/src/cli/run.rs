//! `run`: connects to the servers and serves until a signal arrives.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;
use stitch_app::http_server::{Limits, Server, tls};
use stitch_app::shutdown::Shutdown;
use stitch_app::stderr::Stderr;
use stitch_app::telemetry;
use stitch_cassandra::ScyllaReader;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::KafkaLog;
use stitch_zookeeper::ZooKeeperClient;

use crate::app::{App, Now};
use crate::freshness_poller::{FreshnessPoller, PollError};
use crate::status_cache::{StatusCache, StatusPoller};
use crate::{metrics, web};

/// How the server stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stopped {
    /// Connections that were cut off because their requests took too long.
    connections_cut_off: usize,
}

pub(super) async fn run(config: Config, shutdown: Shutdown) -> Result<Stopped, UserError> {
    let handle = telemetry::metrics_handle()?;
    metrics::register();
    let tls = config.api.tls.as_ref().map(tls::acceptor).transpose()?;
    let limits = Limits::new(
        config.api.connections_max,
        config.api.connections_per_address_max,
        config.api.stop_timeout,
    );
    let server = Server::bind("api.listen", config.api.listen, limits).await?;
    let clock = SystemClock;
    let zookeeper = ZooKeeperClient::of(&config.zookeeper);
    let mut status_poller = StatusPoller::new(&config, zookeeper.clone(), clock);
    let log = KafkaLog::new(&config.kafka)?;
    let mut freshness_poller = FreshnessPoller::new(&config, zookeeper, log, clock);
    let (reader, polled) = tokio::join!(ScyllaReader::connect(&config), freshness_poller.poll());
    let reader = reader?;
    match polled {
        Ok(()) => {}
        // Counts can be served without: each answer says that its freshness is unknown.
        Err(PollError::Unavailable(error)) => tracing::warn!(%error, "freshness is not known yet"),
        Err(PollError::Mismatch(error)) => return Err(error),
    }
    let now = move || Now {
        wall: clock.wall(),
        moment: clock.now(),
    };
    let status_cache = Arc::new(StatusCache::default());
    let app = App::new(
        &config,
        Arc::new(reader),
        freshness_poller.subscribe(),
        Arc::clone(&status_cache),
        handle,
        Arc::new(now),
    );
    let service = web::service(&Arc::new(app));
    announce(&config, server.address(), tls.is_some());
    let stop = shutdown.token();
    let connections_cut_off = tokio::select! {
        // The pollers are dropped with the server: nothing uses their snapshots any more.
        cut_off = server.serve(service, tls, &stop, metrics::connections) => cut_off,
        never = freshness_poller.run() => match never {},
        never = status_cache.run(&clock, async || status_poller.poll().await) => match never {},
    };
    Ok(Stopped {
        connections_cut_off,
    })
}

/// Logs the address and prints it for people and scripts.
fn announce(config: &Config, address: SocketAddr, encrypted: bool) {
    let scheme = if encrypted { "https" } else { "http" };
    tracing::info!(%address, scheme, "listening");
    if !address.ip().is_loopback() && config.api.tokens.is_empty() {
        tracing::warn!(%address, "anyone who can reach this address may read: [api] tokens is empty");
    }
    Stderr.line(&format!("listening on {scheme}://{address}"));
}

impl Report for Stopped {
    fn outcome(&self) -> &'static str {
        "stopped"
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.connections_cut_off {
            0 => writeln!(out, "stopped: every request in flight was answered"),
            some => writeln!(
                out,
                "stopped: {some} connections were cut off, their requests took longer than api.stop_timeout_ms"
            ),
        }
    }
}
