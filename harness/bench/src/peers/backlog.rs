//! A backlog: rate, CPU and peak memory from a process's start until all of it is counted, and whether the table is right.
//!
//! Not a slice of that: committed offsets of Stitch move in large steps, since ranges send in turn.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::Instant;

use super::system::{PeerPrograms, Prepared, System};
use super::table;
use crate::Bench;
use crate::load::Keys;
use stitch_harness::process_usage::{cpu_seconds, peak_mib};

const BOUND: Duration = Duration::from_secs(900);

/// How one system counted one backlog.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Drained {
    pub(crate) events: f64,
    /// From the start of the process until the group has committed the last event.
    pub(crate) seconds: f64,
    pub(crate) client_cpu_seconds: f64,
    pub(crate) cassandra_cpu_seconds: f64,
    pub(crate) peak_mib: f64,
}

impl Drained {
    pub(crate) fn mean_rate(rounds: &[Self]) -> Option<f64> {
        Self::mean(rounds, |round| round.events / round.seconds)
    }

    /// The mean of a figure over the rounds, each of which counts the same.
    pub(crate) fn mean(rounds: &[Self], figure: impl Fn(&Self) -> f64) -> Option<f64> {
        let count = u32::try_from(rounds.len())
            .ok()
            .filter(|count| *count > 0)?;
        Some(rounds.iter().map(figure).sum::<f64>() / f64::from(count))
    }
}

/// Has a system count a new backlog; fails if a cell is wrong at the end.
pub(super) async fn drain(
    bench: &Bench,
    programs: &PeerPrograms,
    system: System,
    keys: Keys,
    events: u32,
) -> Result<Drained> {
    let prepared = Prepared::new(bench, programs, system).await?;
    let mut sent = HashMap::new();
    let load = bench.load(keys)?.take(usize::try_from(events)?);
    let noted = load.inspect(|record| {
        let track = String::from_utf8_lossy(&record.key).into_owned();
        *sent.entry(track).or_default() += 1;
    });
    prepared.namespace.feed()?.send(noted).await?;
    let cassandra = bench.servers.pid("cassandra-1").await?;
    let (began, cassandra_before) = (Instant::now(), cpu_seconds(cassandra)?);
    let process = prepared.start(system.name()).await?;
    let lag = prepared.namespace.lag()?;
    lag.until_none(BOUND).await.with_context(|| system.name())?;
    let seconds = began.elapsed().as_secs_f64();
    let cassandra_cpu_seconds = cpu_seconds(cassandra)? - cassandra_before;
    let client_cpu_seconds = cpu_seconds(process.pid())?;
    let peak_mib = peak_mib(process.pid()).context("it runs")?;
    prepared.stop(process).await?;
    let wrong = table::wrong(&prepared.session, &prepared.keyspace, &sent).await?;
    ensure!(wrong == 0, "{}: {wrong} cells are wrong", system.name());
    prepared.drop().await?;
    Ok(Drained {
        events: f64::from(events),
        seconds,
        client_cpu_seconds,
        cassandra_cpu_seconds,
        peak_mib,
    })
}
