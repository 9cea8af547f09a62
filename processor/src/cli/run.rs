//! `run`: the real servers, the HTTP server, and counting until a signal.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use stitch_app::shutdown::Shutdown;
use stitch_app::{program, telemetry};
use stitch_cassandra::ScyllaCql;
use stitch_common::answer::{Exit, Report};
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::config::Config;
use stitch_common::user_error::Failure;
use stitch_kafka::KafkaLog;
use stitch_zookeeper::ZooKeeper;

use crate::http::Server;
use crate::status::Status;
use crate::{Departure, Ports, metrics};

/// How it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stopped {
    /// Why a tombstone was left, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    tombstone: Option<String>,
}

pub(super) async fn run(config: Config, shutdown: Shutdown) -> Result<Stopped, Failure> {
    let handle = telemetry::metrics_handle()?;
    metrics::register();
    let status = Arc::new(Status::default());
    let shown = Arc::clone(&status);
    let clock = SystemClock;
    // Whoever asks for its health gives it the time to start.
    status.beat(clock.now());
    let server = Server::start(&config.http, shown, handle, clock, &mut io::stderr()).await?;
    let zookeeper = &config.zookeeper;
    let ports = Ports {
        keeper: ZooKeeper::new(&zookeeper.connect, zookeeper.session_timeout),
        cql: ScyllaCql::new(&config, clock),
        log: KafkaLog::new(&config.kafka)?,
        clock,
    };
    let host = program::host();
    let departure = crate::run(&ports, &config, &host, &status, &shutdown.token()).await?;
    drop(server);
    Ok(Stopped {
        tombstone: match departure {
            Departure::Clean => None,
            Departure::Tombstone { why } => Some(why),
        },
    })
}

impl Report for Stopped {
    fn outcome(&self) -> &'static str {
        match self.tombstone {
            None => "stopped",
            Some(_) => "stopped_with_tombstone",
        }
    }

    fn exit(&self) -> Exit {
        Exit::Well
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.tombstone {
            None => writeln!(
                out,
                "stopped: all that was begun is answered and handed over"
            ),
            Some(why) => writeln!(
                out,
                "stopped, leaving a tombstone: {why}; the next restoration waits until nothing it sent can take effect"
            ),
        }
    }
}
