//! The program of `deploy/torture`: histories on real servers under faults, each followed by an independent recount.

mod kind;
mod plan;
mod history;
mod testbed;
mod process_slot;
mod restorations;
mod supervision;
mod nemesis;
mod lines;
mod archivers;
mod clocks;
mod test_cluster;
mod timeline;
mod run;
mod results;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use stitch_harness::servers::Servers;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use results::Results;
use run::Run;
use test_cluster::TestCluster;
use testbed::Means;

/// Plays histories with faults, restores meanwhile, and recounts everything independently.
#[derive(Parser)]
struct Arguments {
    /// The folder of servers that `deploy/local --nodes 3` started
    #[arg(long)]
    servers: PathBuf,
    /// The folder of results and logs
    #[arg(long)]
    folder: PathBuf,
    /// How many histories
    #[arg(long, default_value_t = 10)]
    histories: u64,
    /// The seed of the first history; the next ones count up
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Skip seeds whose last result was right, of whichever build
    #[arg(long)]
    go_on: bool,
    /// Start no history that would end later than this
    #[arg(long)]
    minutes: Option<u64>,
    /// How many histories without server faults run concurrently
    #[arg(long, default_value_t = 2)]
    side_by_side: usize,
    /// A folder on a small disk; without it full-disk is left out
    #[arg(long)]
    small_disk: Option<PathBuf>,
    /// The library that gives a process its own wall clock; without it step-clock is left out
    #[arg(long)]
    clock: Option<PathBuf>,
    /// The build under test, for the results
    #[arg(long, default_value = "")]
    build: String,
    /// The document whose table of results is replaced; a file beside it keeps the results
    #[arg(long)]
    write: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut out = io::stdout();
    let done = tokio::select! {
        done = torture(Arguments::parse(), &mut out) => done,
        // The histories are dropped: processes are killed, frozen servers resume.
        end = until_signal() => end,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Standard error may be closed, too; the exit code still reports the failure.
            writeln!(io::stderr(), "stitch-torture failed: {error:#}").ok();
            ExitCode::from(2)
        }
    }
}

async fn until_signal() -> Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}

async fn torture(arguments: Arguments, out: &mut impl Write) -> Result<bool> {
    let servers = Servers::read(&arguments.servers)?;
    ensure!(
        servers.cassandra.len() == plan::NODES,
        "three nodes are needed: deploy/local up --nodes 3"
    );
    let file = results::file_in(&arguments.folder)?;
    let mut results = Results::into(&file, arguments.build)?;
    let minutes = |minutes| Instant::now() + Duration::from_secs(60 * minutes);
    let run = Run {
        cluster: Arc::new(TestCluster::new(servers)),
        means: Means {
            disk: arguments.small_disk,
            clock: arguments.clock,
        },
        folder: arguments.folder,
        side_by_side: arguments.side_by_side.max(1),
        until: arguments.minutes.map(minutes),
    };
    if run.means.disk.is_none() {
        writeln!(
            out,
            "left out: full-disk, because no small disk can be mounted here (root can)"
        )?;
    }
    if run.means.clock.is_none() {
        writeln!(
            out,
            "left out: step-clock, because its library could not be built here (gcc and glibc can)"
        )?;
    }
    let right = if arguments.go_on {
        let kept = arguments.write.as_deref().map(results::kept_beside);
        let files = kept.iter().chain([&file]).map(PathBuf::as_path);
        results::right(&results::rows(files)?)
    } else {
        BTreeSet::new()
    };
    let seeds = arguments.seed..arguments.seed.saturating_add(arguments.histories);
    let seeds = seeds.filter(|seed| !right.contains(seed));
    let played = run.play(seeds, &mut results, out).await;
    results.summary(out)?;
    played?;
    if let Some(document) = arguments.write {
        results::write_into(&document, &file)?;
    }
    Ok(results.all_right())
}
