//! `run`: connects, starts the HTTP server, and copies.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use stitch_app::monitoring::{Program, Server};
use stitch_app::progress_bar;
use stitch_app::shutdown::Shutdown;
use stitch_app::stderr::Stderr;
use stitch_app::telemetry;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::liveness::Liveness;
use stitch_common::log_history;
use stitch_common::output::{Exit, Report};
use stitch_common::progress::{NoProgress, Progress};
use stitch_common::user_error::UserError;
use stitch_config::Config;

use crate::archiver::start::once_servers_answer;
use crate::archiver::{self, Extent, Ports, Summary};
use crate::metrics;

const PROGRAM: Program = Program {
    name: "stitch-archive",
    ready: "archiving",
    ready_while: "the archive of every partition was opened and is written",
};

/// How the archiver ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ended {
    #[serde(flatten)]
    summary: Summary,
    /// A run that was to end by itself has come to the log's end.
    #[serde(skip)]
    at_end: bool,
    #[serde(skip)]
    error: Option<UserError>,
}

pub(super) async fn run(
    config: &Config,
    shutdown: &Shutdown,
    extent: Extent,
) -> Result<Ended, UserError> {
    let handle = telemetry::metrics_handle()?;
    metrics::register();
    let (clock, liveness) = (SystemClock, Arc::new(Liveness::default()));
    // Health checks give the process the time to start.
    liveness.beat(clock.now());
    let once = extent == Extent::Once;
    let server = if once {
        None
    } else {
        let shared = Arc::clone(&liveness);
        Some(Server::start(PROGRAM, &config.http, shared, handle, clock, &mut Stderr).await?)
    };
    let progress: Box<dyn Progress> = if once {
        progress_bar::on_stderr()
    } else {
        Box::new(NoProgress)
    };
    let stop = shutdown.token();
    let opened = once_servers_answer(&clock, extent, &liveness, &stop, async || {
        let (log, archive, identity) = super::open(config).await?;
        log_history::keeps_events(&identity)?;
        Ok((log, archive))
    });
    let Some((log, archive)) = opened.await? else {
        return Ok(Ended {
            summary: Summary::default(),
            at_end: false,
            error: None,
        });
    };
    let ports = Ports {
        log: &log,
        archive: &archive,
        clock: &clock,
    };
    let copied = archiver::run(
        &ports,
        &config.archive,
        extent,
        &liveness,
        &*progress,
        &stop,
    );
    let summary = copied.await?;
    drop(server);
    let first = summary.stopped.first().map(|stopped| stopped.error.clone());
    Ok(Ended {
        error: first.filter(|_| once),
        at_end: once && !shutdown.is_asked(),
        summary,
    })
}

impl Report for Ended {
    fn outcome(&self) -> &'static str {
        match (self.at_end, &self.error) {
            (_, Some(_)) => "incomplete",
            (true, None) => "archived",
            (false, None) => "stopped",
        }
    }

    fn exit(&self) -> Exit {
        match self.error {
            None => Exit::Success,
            Some(_) => Exit::Failed,
        }
    }

    fn error(&self) -> Option<&UserError> {
        self.error.as_ref()
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Summary {
            segments,
            records,
            bytes,
            complete_to,
            stopped,
        } = &self.summary;
        writeln!(
            out,
            "archived {records} records in {segments} segments of {bytes} bytes"
        )?;
        for (partition, position) in complete_to {
            writeln!(out, "partition {partition} is complete up to {position}")?;
        }
        for stopped in stopped {
            writeln!(out, "stopped: {}", stopped.error.message)?;
        }
        Ok(())
    }
}
