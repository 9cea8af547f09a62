//! Histories on real servers under fire, each followed by an independent recount. `deploy/torture` starts it.

mod attempts;
mod calendars;
mod chronicle;
mod field;
mod history;
mod kind;
mod lines;
mod nemesis;
mod plan;
mod results;
mod test_cluster;
mod run;
mod process_slot;
mod small_disk;
mod ward;

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

use field::Means;
use results::Results;
use run::Run;
use small_disk::SmallDisk;
use test_cluster::TestCluster;

/// Plays histories in which things go wrong, restores while they do, and recounts everything independently.
#[derive(Parser)]
struct Arguments {
    /// The folder of servers that `deploy/local --nodes 3` started
    #[arg(long)]
    servers: PathBuf,
    /// Where results and logs are kept
    #[arg(long)]
    folder: PathBuf,
    /// How many histories
    #[arg(long, default_value_t = 10)]
    histories: u64,
    /// The first history's seed; the next ones count up
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave out those that went well already, whichever version was tried
    #[arg(long)]
    go_on: bool,
    /// Begin none that would not be over by then
    #[arg(long)]
    minutes: Option<u64>,
    /// How many histories without faults of servers play at once
    #[arg(long, default_value_t = 2)]
    side_by_side: usize,
    /// A folder on a small disk; without it no disk is full
    #[arg(long)]
    small_disk: Option<PathBuf>,
    /// A library that gives a process a calendar of its own; without it no calendar is stepped
    #[arg(long)]
    calendar: Option<PathBuf>,
    /// The version that is tried, for the results
    #[arg(long, default_value = "")]
    build: String,
    /// The document whose table of all results is written anew
    #[arg(long)]
    write: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut out = io::stdout();
    let done = tokio::select! {
        done = torture(Arguments::parse(), &mut out) => done,
        // Whatever runs is dropped: processes are killed, frozen servers go on.
        end = asked_to_end() => end,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Standard error may be gone as well; the exit code is not.
            writeln!(io::stderr(), "stitch-torture broke off: {error:#}").ok();
            ExitCode::from(2)
        }
    }
}

async fn asked_to_end() -> Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("it was asked to end")
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
        room: Arc::new(TestCluster::new(servers)),
        means: Means {
            disk: arguments.small_disk.map(|folder| SmallDisk { folder }),
            calendar: arguments.calendar,
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
    if run.means.calendar.is_none() {
        writeln!(
            out,
            "left out: step-calendar, because its library could not be built here (gcc and glibc can)"
        )?;
    }
    let known = arguments.go_on.then(|| results::right(&file));
    let known = known.transpose()?.unwrap_or_default();
    let seeds = arguments.seed..arguments.seed.saturating_add(arguments.histories);
    let seeds = seeds.filter(|seed| !known.contains(seed));
    let played = run.play(seeds, &mut results, out).await;
    results.summary(out)?;
    played?;
    if let Some(document) = arguments.write {
        results::write_into(&document, &file)?;
    }
    Ok(results.all_right())
}
