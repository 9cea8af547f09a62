//! `run`: connects to the servers and serves until a signal arrives.

use std::io::{self, Write};
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
use tokio_util::sync::CancellationToken;

use crate::app::{App, Now};
use crate::count_source::{CountSource, CountSources};
use crate::freshness_poller::{FreshnessPoller, PollError};
use crate::status_cache::{StatusCache, StatusPoller};
use crate::token_file_poller::TokenFilePoller;
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
    let listeners = Listeners::bind(&config).await?;
    let token_file_poller = TokenFilePoller::new(&config.api)?;
    let clock = SystemClock;
    let zookeeper = ZooKeeperClient::of(&config.zookeeper);
    let mut status_poller = StatusPoller::new(&config, zookeeper.clone(), clock);
    let log = KafkaLog::new(&config.kafka)?;
    let mut freshness_poller = FreshnessPoller::new(&config, zookeeper, log, clock);
    let (sources, polled) = tokio::join!(connect(&config), freshness_poller.poll());
    let sources = sources?;
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
        sources,
        freshness_poller.subscribe(),
        Arc::clone(&status_cache),
        token_file_poller.subscribe(),
        handle,
        Arc::new(now),
    );
    let app = Arc::new(app);
    announce(&app, &listeners);
    let stop = shutdown.token();
    let connections_cut_off = tokio::select! {
        // The pollers are dropped with the server: nothing uses their snapshots any more.
        cut_off = listeners.serve(&app, &stop) => cut_off,
        never = freshness_poller.run() => match never {},
        never = token_file_poller.run(clock) => match never {},
        never = status_cache.run(&clock, async || status_poller.poll().await) => match never {},
    };
    Ok(Stopped {
        connections_cut_off,
    })
}

/// Connects to the tables that the namespace has.
async fn connect(config: &Config) -> Result<CountSources, UserError> {
    let realtime = async {
        match config.batch.realtime {
            true => Ok(Some(ScyllaReader::connect(config).await?)),
            false => Ok::<_, UserError>(None),
        }
    };
    let batch = async {
        match config.batch.enabled {
            true => Ok(Some(ScyllaReader::connect_batch(config).await?)),
            false => Ok::<_, UserError>(None),
        }
    };
    let (realtime, batch) = tokio::try_join!(realtime, batch)?;
    let source = |reader: ScyllaReader| -> Arc<dyn CountSource> { Arc::new(reader) };
    Ok(CountSources {
        batch_table: batch.as_ref().map(|reader| reader.table().clone()),
        realtime: realtime.map(source),
        batch: batch.map(source),
    })
}

/// Where counts are served, and, if that is somewhere else, what is for operators.
struct Listeners {
    counts: Server,
    operators: Option<Server>,
    tls: Option<tls::TlsAcceptor>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, UserError> {
        let api = &config.api;
        let tls = api.tls.as_ref().map(tls::acceptor).transpose()?;
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

/// Logs the addresses and prints them for people and scripts, that of counts first.
fn announce(app: &App, listeners: &Listeners) {
    let scheme = if listeners.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let is_open = app.access().are_open();
    let operators = listeners.operators.as_ref();
    let servers = [
        (Some(&listeners.counts), "listening"),
        (operators, "operators: listening"),
    ];
    for (server, what) in servers {
        let Some(address) = server.map(Server::address) else {
            continue;
        };
        tracing::info!(%address, scheme, what);
        if !address.ip().is_loopback() && is_open {
            tracing::warn!(%address, "anyone who can reach this address may read: there are no tokens");
        }
        Stderr.line(&format!("{what} on {scheme}://{address}"));
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
