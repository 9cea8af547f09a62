//! The alternatives that Stitch is measured against: programs that share no code with it, each in its own process.

mod batches;
mod discard;
mod fill;
mod insert;
mod naive;
pub(crate) mod reads;
mod scan;
mod service;

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use scylla::client::PoolSize;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use serde::{Deserialize, Serialize};
use stitch_harness::process::Program;
use tokio::time::Instant;

use crate::Bench;
use reads::Query;
use stitch_harness::process_usage::cpu_seconds;

/// Requests in flight: the processor's default.
const IN_FLIGHT: usize = 128;
/// Connections to a node: the processor's default.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Baseline {
    /// Counts the obvious way: one request per increment
    #[command(hide = true)]
    Naive {
        #[arg(long)]
        kafka: String,
        #[arg(long)]
        topic: String,
        #[command(flatten)]
        target: Target,
    },
    /// Sends generated batches of one counter as fast as possible
    #[command(hide = true)]
    Batches {
        /// Cells of a batch
        #[arg(long)]
        cells: usize,
        /// Counters among which batches are spread
        #[arg(long)]
        tracks: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Fills the table that is read
    #[command(hide = true)]
    Fill {
        #[arg(long)]
        tracks: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Writes the same rows as a load of batch counts
    #[command(hide = true)]
    Insert {
        #[arg(long)]
        tracks: u32,
        /// A batch for each track, instead of a request for each cell
        #[arg(long)]
        batched: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Reads the same cells as the API
    #[command(hide = true)]
    Read {
        #[arg(long)]
        query: Query,
        #[arg(long)]
        tracks: u32,
        /// Keys of one request
        #[arg(long)]
        keys: usize,
        /// Requests in flight
        #[arg(long)]
        at_once: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Serves the same cells over HTTP, the simplest way
    #[command(hide = true)]
    Serve {
        #[command(flatten)]
        target: Target,
    },
    /// Reads a topic up to its end, and keeps nothing
    #[command(hide = true)]
    Discard {
        #[arg(long)]
        kafka: String,
        #[arg(long)]
        topic: String,
    },
    /// Reads the whole table by token ranges
    #[command(hide = true)]
    Scan {
        #[command(flatten)]
        target: Target,
    },
}

/// The table, and the times of warm-up and measurement.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    #[arg(long, value_delimiter = ',')]
    cassandra: Vec<String>,
    #[arg(long)]
    keyspace: String,
    #[arg(long, default_value_t = 0)]
    warm_up_ms: u64,
    #[arg(long, default_value_t = 0)]
    measure_ms: u64,
}

/// Work done in the measured time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) events: f64,
    pub(crate) cells: f64,
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

impl Measured {
    pub(crate) fn events_per_second(&self) -> f64 {
        self.events / self.seconds
    }

    pub(crate) fn cells_per_second(&self) -> f64 {
        self.cells / self.seconds
    }

    /// The client's CPU time per cell, in microseconds.
    pub(crate) fn cpu_us_per_cell(&self) -> f64 {
        self.cpu_seconds / self.cells * 1e6
    }
}

impl std::ops::AddAssign for Measured {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.cells += other.cells;
        self.requests += other.requests;
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
    }
}

impl Baseline {
    /// Runs it in this process.
    pub(crate) async fn measure(&self) -> Result<Measured> {
        match self {
            Self::Naive {
                kafka,
                topic,
                target,
            } => naive::count(kafka, topic, target).await,
            Self::Batches {
                cells,
                tracks,
                target,
            } => batches::send(*cells, *tracks, target).await,
            Self::Fill { tracks, target } => fill::write(*tracks, target).await,
            Self::Insert {
                tracks,
                batched,
                target,
            } => insert::write(*tracks, *batched, target).await,
            Self::Read {
                query,
                tracks,
                keys,
                at_once,
                target,
            } => reads::read(*query, *tracks, *keys, *at_once, target).await,
            Self::Discard { kafka, topic } => discard::read(kafka, topic),
            Self::Scan { target } => scan::read(target).await,
            Self::Serve { target } => service::serve(target).await,
        }
    }
}

/// Runs an alternative in its own process, and returns what it measured.
pub(crate) async fn run(bench: &Bench, keyspace: &str, arguments: &[&str]) -> Result<Measured> {
    let times = (bench.sizes.warm_up, bench.sizes.measure);
    run_for(bench, keyspace, arguments, times).await
}

/// As [`run`], with other times of warm-up and measurement.
pub(crate) async fn run_for(
    bench: &Bench,
    keyspace: &str,
    arguments: &[&str],
    (warm_up, measure): (Duration, Duration),
) -> Result<Measured> {
    const SLACK: Duration = Duration::from_secs(120);
    let bound = warm_up + measure + SLACK;
    let program = program(bench, keyspace, arguments, (warm_up, measure))?;
    let finished = program.run(bound).await?;
    ensure!(
        finished.code == Some(0),
        "{} exited with {:?}: {}",
        program.name,
        finished.code,
        finished.errors
    );
    serde_json::from_str(&finished.output).with_context(|| finished.output.clone())
}

/// The simplest HTTP service, which serves until it is stopped.
pub(crate) fn service(bench: &Bench, keyspace: &str) -> Result<Program> {
    program(bench, keyspace, &["serve"], Default::default())
}

/// An alternative as a program, not yet started.
fn program(
    bench: &Bench,
    keyspace: &str,
    arguments: &[&str],
    (warm_up, measure): (Duration, Duration),
) -> Result<Program> {
    let nodes = bench.servers.cassandra.join(",");
    let warm_up = warm_up.as_millis().to_string();
    let measure = measure.as_millis().to_string();
    let name = arguments.first().context("the name of an alternative")?;
    let common = [
        "--cassandra",
        &nodes,
        "--keyspace",
        keyspace,
        "--warm-up-ms",
        &warm_up,
        "--measure-ms",
        &measure,
    ];
    Ok(Program {
        name: format!("baseline-{name}"),
        path: std::env::current_exe()?,
        arguments: arguments
            .iter()
            .chain(&common)
            .map(|&argument| argument.to_owned())
            .collect(),
        environment: Vec::new(),
        folder: bench.folder.clone(),
    })
}

/// Measures the work between the end of the warm-up and the end of the measurement.
struct Stopwatch {
    begin: Instant,
    end: Instant,
    started: Option<(Instant, f64)>,
    requests: u32,
    failures: u32,
}

impl Stopwatch {
    fn new(target: &Target) -> Self {
        let begin = Instant::now() + Duration::from_millis(target.warm_up_ms);
        Self {
            begin,
            end: begin + Duration::from_millis(target.measure_ms),
            started: None,
            requests: 0,
            failures: 0,
        }
    }

    /// Records a failed request: it is not counted, and only many of them end the measurement.
    fn record_failure(&mut self, error: anyhow::Error) -> Result<()> {
        const FAILURES_MAX: u32 = 1000;
        self.failures += 1;
        ensure!(
            self.failures <= FAILURES_MAX,
            "too many failures, the last: {error:#}"
        );
        Ok(())
    }

    /// Records an answered request. Returns the measurement once its time is over.
    fn record_answer(&mut self) -> Result<Option<Measured>> {
        let now = Instant::now();
        let Some((started, cpu_before)) = self.started else {
            if now >= self.begin {
                self.started = Some((now, own_cpu_seconds()?));
            }
            return Ok(None);
        };
        self.requests += 1;
        if now < self.end {
            return Ok(None);
        }
        Ok(Some(Measured {
            events: 0.0,
            cells: 0.0,
            requests: f64::from(self.requests),
            seconds: (now - started).as_secs_f64(),
            cpu_seconds: own_cpu_seconds()? - cpu_before,
        }))
    }
}

fn own_cpu_seconds() -> Result<f64> {
    cpu_seconds(i32::try_from(std::process::id())?)
}

async fn connect(target: &Target) -> Result<Session> {
    SessionBuilder::new()
        .known_nodes(&target.cassandra)
        .pool_size(PoolSize::PerHost(CONNECTIONS))
        .build()
        .await
        .context("Cassandra")
}

async fn increment(session: &Session, keyspace: &str) -> Result<PreparedStatement> {
    let mut increment = session
        .prepare(format!(
            "UPDATE {keyspace}.counts SET value = value + ? \
             WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ?"
        ))
        .await?;
    increment.set_consistency(Consistency::LocalQuorum);
    Ok(increment)
}
