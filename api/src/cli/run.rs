//! `run`: the real servers, and answers until a signal.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;
use stitch_app::shutdown::Shutdown;
use stitch_app::telemetry;
use stitch_cassandra::ScyllaReader;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::config::Config;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_kafka::KafkaLog;
use stitch_zookeeper::ZooKeeperClient;

use crate::app::{App, Now};
use crate::freshness::poller::{FreshnessPoller, PollError};
use crate::server::{Server, tls};
use crate::status_cache::{StatusCache, StatusPoller};
use crate::{metrics, web};

/// How it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stopped {
    /// Connections that were cut off because their requests took too long.
    connections_cut_off: usize,
}

pub(super) async fn run(config: Config, shutdown: Shutdown) -> Result<Stopped, UserError> {
    let handle = telemetry::metrics_handle()?;
    metrics::register();
    let tls = config.api.tls.as_ref().map(tls::acceptor).transpose()?;
    let server = Server::bind(&config.api).await?;
    let clock = SystemClock;
    let zookeeper = &config.zookeeper;
    let keeper = ZooKeeperClient::new(&zookeeper.connect, zookeeper.session_timeout);
    let mut lookout = StatusPoller::new(&config, keeper.clone(), clock);
    let mut watching = FreshnessPoller::new(&config, keeper, KafkaLog::new(&config.kafka)?, clock);
    let (reader, looked) = tokio::join!(ScyllaReader::connect(&config), watching.look());
    let reader = reader?;
    match looked {
        Ok(()) => {}
        // Counts can be read without them; that it is not known how fresh they are is told beside each.
        Err(PollError::Away(failure)) => tracing::warn!(%failure, "freshness is not known yet"),
        Err(PollError::Differs(failure)) => return Err(failure),
    }
    let now = move || Now {
        wall: clock.wall(),
        moment: clock.now(),
    };
    let landscape = Arc::new(StatusCache::default());
    let app = App::new(
        &config,
        Arc::new(reader),
        watching.board(),
        Arc::clone(&landscape),
        handle,
        Arc::new(now),
    );
    let answers = web::answers(&Arc::new(app));
    say_where(&config, server.address(), tls.is_some());
    let stop = shutdown.token();
    let connections_cut_off = tokio::select! {
        // Whatever is seen after the end is of no use to anybody.
        cut_off = server.serve(answers, tls, &stop) => cut_off,
        never = watching.go_on() => match never {},
        never = landscape.keep(&clock, async || lookout.look().await) => match never {},
    };
    Ok(Stopped {
        connections_cut_off,
    })
}

fn say_where(config: &Config, address: SocketAddr, encrypted: bool) {
    let scheme = if encrypted { "https" } else { "http" };
    tracing::info!(%address, scheme, "listening");
    if !address.ip().is_loopback() && config.api.tokens.is_empty() {
        tracing::warn!(%address, "whoever reaches this address may read: [api] tokens is empty");
    }
    let said = writeln!(io::stderr(), "listening on {scheme}://{address}");
    if let Err(error) = said {
        tracing::warn!(%error, "the address could not be printed");
    }
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
            0 => writeln!(out, "stopped: all that was begun is answered"),
            some => writeln!(
                out,
                "stopped: {some} connections were cut off, their requests took longer than api.stop_timeout_ms"
            ),
        }
    }
}
