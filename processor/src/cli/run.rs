//! `run`: connects the servers, starts the HTTP server, and counts until a signal.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use stitch_app::shutdown::Shutdown;
use stitch_app::stderr::Stderr;
use stitch_app::{realtime, runner, telemetry};
use stitch_cassandra::ScyllaCql;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::KafkaLog;
use stitch_zookeeper::ZooKeeperClient;

use crate::{LeaveOutcome, Ports, metrics};
use stitch_app::monitoring::{Program, Server};
use stitch_common::liveness::Liveness;

const PROGRAM: Program = Program {
    name: "stitch-processor",
    ready: "counting",
    ready_while: "this process is a member with a valid lease and the group has assigned its partitions",
};

/// How the processor stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stopped {
    /// Why it left a dead member, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_member: Option<String>,
}

pub(super) async fn run(config: Config, shutdown: Shutdown) -> Result<Stopped, UserError> {
    realtime::require(&config, "stitch-processor run")?;
    let handle = telemetry::metrics_handle()?;
    metrics::register();
    let status = Arc::new(Liveness::default());
    let clock = SystemClock;
    // Health checks give the process the time to start.
    status.beat(clock.now());
    let shared = Arc::clone(&status);
    let server = Server::start(PROGRAM, &config.http, shared, handle, clock, &mut Stderr).await?;
    let zookeeper = &config.zookeeper;
    let ports = Ports {
        keeper: ZooKeeperClient::of(zookeeper),
        cql: ScyllaCql::new(&config, clock),
        log: KafkaLog::new(&config.kafka)?,
        clock,
    };
    let host = runner::host();
    let outcome = crate::run(&ports, &config, &host, &status, &shutdown.token()).await?;
    drop(server);
    Ok(Stopped {
        dead_member: match outcome {
            LeaveOutcome::Clean => None,
            LeaveOutcome::DeadMember { why } => Some(why),
        },
    })
}

impl Report for Stopped {
    fn outcome(&self) -> &'static str {
        match self.dead_member {
            None => "stopped",
            Some(_) => "stopped_in_doubt",
        }
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.dead_member {
            None => writeln!(
                out,
                "stopped: everything begun is acknowledged and handed over"
            ),
            Some(why) => writeln!(
                out,
                "stopped, leaving a dead member: {why}; the next restoration waits until nothing it sent can take effect"
            ),
        }
    }
}
