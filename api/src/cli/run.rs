//! `run`: serves until a signal arrives, and connects to the servers, for as long as that takes.

use std::convert::Infallible;
use std::future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use stitch_access::TokenFilePoller;
use stitch_app::http_server::tls::{ServerCertificate, TlsAcceptor};
use stitch_app::http_server::{Limits, Server};
use stitch_app::shutdown::Shutdown;
use stitch_app::stderr::Stderr;
use stitch_app::telemetry;
use stitch_batch::layer::Layer;
use stitch_cassandra::ScyllaReader;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::output::{Exit, Report};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_control::command_queue::{CommandLoop, CommandQueue};
use stitch_kafka::KafkaLog;
use stitch_protocol::path::Paths;
use stitch_zookeeper::ZooKeeperClient;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Now};
use crate::count_tables::{Connection, Connectors, TableConnector};
use crate::freshness_poller::FreshnessPoller;
use crate::status_cache::{StatusCache, StatusPoller};
use crate::{metrics, web};

/// The longest that a command of an operator may take, unless requests have less time.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(4);

/// How the server stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stopped {
    /// Connections that were cut off because their requests took too long.
    connections_cut_off: usize,
}

pub(super) async fn run(config: Config, shutdown: Shutdown) -> Result<Stopped, UserError> {
    let handle = telemetry::metrics_handle()?;
    metrics::register();
    metrics::objective(&config.audit);
    let certificate = config.api.tls.as_ref();
    let certificate = certificate.map(ServerCertificate::read).transpose()?;
    let listeners = Listeners::bind(&config, certificate.as_ref()).await?;
    let token_file_poller = TokenFilePoller::new(&config.api, metrics::token_file_usable)?;
    let clock = SystemClock;
    let zookeeper = ZooKeeperClient::of(&config.zookeeper);
    let mut status_poller = StatusPoller::new(&config, zookeeper.clone(), clock);
    let (commands, waiting) = CommandQueue::new();
    let issuer = CommandLoop::new(
        (zookeeper.clone(), config.zookeeper.connect.to_string()),
        clock,
        Paths::below(&config.zookeeper.root, &config.namespace),
        COMMAND_TIMEOUT.min(config.api.request_timeout / 2),
    );
    let log = KafkaLog::new(&config.kafka)?;
    let mut freshness_poller = FreshnessPoller::new(&config, zookeeper, log, clock);
    let connector = |layer| {
        let config = &config;
        let connect = async move || connect(config, layer).await;
        TableConnector::new(layer, connect, clock)
    };
    let mut connectors = Connectors::new(
        config.batch.realtime.then(|| connector(Layer::Realtime)),
        config.batch.enabled.then(|| connector(Layer::Batch)),
    );
    let now = move || Now {
        wall: clock.wall(),
        moment: clock.now(),
    };
    let status_cache = Arc::new(StatusCache::default());
    let app = App::new(
        &config,
        connectors.tables(),
        freshness_poller.subscribe(),
        (Arc::clone(&status_cache), commands),
        token_file_poller.subscribe(),
        handle,
        Arc::new(now),
    );
    let app = Arc::new(app);
    let announcement = Announcement::new(&app, &listeners);
    let snapshots = freshness_poller.subscribe();
    let background = async {
        let (connected, validated) = tokio::join!(connectors.attempt(), freshness_poller.poll());
        connected?;
        validated?;
        announcement.make();
        tokio::select! {
            // Neither ends unless an operator must act.
            refused = connectors.run(&snapshots) => refused,
            refused = freshness_poller.run() => refused,
        }
    };
    let stop = shutdown.token();
    let connections_cut_off = tokio::select! {
        // It serves from the beginning, so that it is seen to be alive and not ready. The others are dropped with the
        // server: nothing uses what they publish any more.
        cut_off = listeners.serve(&app, &stop) => cut_off,
        refused = background => match refused? {},
        never = issuer.run(waiting) => match never {},
        never = token_file_poller.run(clock) => match never {},
        never = renewing(certificate, clock) => match never {},
        never = status_cache.run(&clock, async || status_poller.poll().await) => match never {},
    };
    Ok(Stopped {
        connections_cut_off,
    })
}

/// Connects to the table of a layer.
async fn connect(config: &Config, layer: Layer) -> Result<Connection, ServerFailure> {
    let reader = match layer {
        Layer::Realtime => ScyllaReader::connect(config).await?,
        Layer::Batch => ScyllaReader::connect_batch(config).await?,
    };
    Ok(Connection {
        table: reader.table().clone(),
        source: Arc::new(reader),
    })
}

/// Keeps the certificate as its files have it.
async fn renewing(certificate: Option<ServerCertificate>, clock: impl Clock) -> Infallible {
    match certificate {
        Some(certificate) => certificate.run(clock, metrics::certificate_usable).await,
        None => future::pending().await,
    }
}

/// Where counts are served, and, if that is somewhere else, what is for operators.
struct Listeners {
    counts: Server,
    operators: Option<Server>,
    tls: Option<TlsAcceptor>,
}

impl Listeners {
    async fn bind(
        config: &Config,
        certificate: Option<&ServerCertificate>,
    ) -> Result<Self, UserError> {
        let api = &config.api;
        let tls = certificate.map(ServerCertificate::acceptor).transpose()?;
        let limits = Limits::new(
            api.connections_max,
            api.connections_per_address_max,
            api.stop_timeout,
        );
        let operators = match api.operator_listen {
            Some(listen) => {
                // Operators and scrapers are few.
                let limits = Limits::new(256, 64, api.stop_timeout);
                Some(Server::bind("api.operator_listen", listen, limits).await?)
            }
            None => None,
        };
        Ok(Self {
            counts: Server::bind("api.listen", api.listen, limits).await?,
            operators,
            tls,
        })
    }

    /// Serves until `stop` is cancelled. Returns how many connections were cut off.
    ///
    /// # Cancellation
    /// Cuts off every connection.
    async fn serve(self, app: &Arc<App>, stop: &CancellationToken) -> usize {
        let Self {
            counts,
            operators,
            tls,
        } = self;
        let counts = counts.serve(web::service(app), tls.clone(), stop, metrics::connections);
        let operators = async {
            match operators {
                Some(server) => {
                    server
                        .serve(web::operator_service(app), tls, stop, |_| {})
                        .await
                }
                None => 0,
            }
        };
        let (counts, operators) = tokio::join!(counts, operators);
        counts + operators
    }
}

/// The addresses, for people and scripts.
struct Announcement {
    /// That of counts first.
    addresses: Vec<(SocketAddr, &'static str)>,
    scheme: &'static str,
    is_open: bool,
}

impl Announcement {
    fn new(app: &App, listeners: &Listeners) -> Self {
        let counts = (listeners.counts.address(), "listening");
        let operators = listeners.operators.as_ref();
        let operators = operators.map(|server| (server.address(), "operators: listening"));
        Self {
            addresses: [counts].into_iter().chain(operators).collect(),
            scheme: match listeners.tls {
                Some(_) => "https",
                None => "http",
            },
            is_open: app.access().are_open(),
        }
    }

    /// Logs them and prints them: the servers were asked for the first time, so whoever waits for this line finds counts,
    /// unless one is away.
    fn make(&self) {
        let scheme = self.scheme;
        for (address, what) in &self.addresses {
            tracing::info!(%address, scheme, what);
            if !address.ip().is_loopback() && self.is_open {
                tracing::warn!(%address, "anyone who can reach this address may read: there are no tokens");
            }
            Stderr.line(&format!("{what} on {scheme}://{address}"));
        }
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
            0 => writeln!(out, "stopped: every request in flight was answered"),
            some => writeln!(
                out,
                "stopped: {some} connections were cut off, their requests took longer than api.stop_timeout_ms"
            ),
        }
    }
}
