//! (c): what a plan reads of table and log, and the table that (c), (d) and (e) look at.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::{Either, select};
use serde::Serialize;
use serde_json::Value;
use stitch_harness::process::Process;
use stitch_harness::test_namespace::TestNamespace;

use crate::Bench;
use crate::baseline::{self, Measured};
use crate::load::Keys;
use crate::vitals::watch_peak;

/// Every track has so many events: each of its five cells has that value.
pub(crate) const TIMES: u32 = 2;
/// Ranges of the table.
pub(crate) const RANGES: u32 = 4;
const FOUR_RANGES: &str = "[ranges]\nbits = 2\n";
const BOUND: Duration = Duration::from_secs(400);

/// A table that a processor goes on counting in.
pub(crate) struct Table {
    pub(crate) stage: TestNamespace,
    pub(crate) tracks: u32,
    _processor: Process,
}

impl Table {
    /// Lets a processor count as many tracks, of five cells each, in four ranges.
    pub(crate) async fn fill(bench: &mut Bench, tracks: u32) -> Result<Self> {
        let events = tracks * TIMES;
        bench.say(&format!("counting {events} events of {tracks} tracks"))?;
        let stage = bench.stage("table", FOUR_RANGES).await?;
        let keys = Keys::Each {
            tracks,
            times: TIMES,
        };
        let load = bench.load(keys)?.take(usize::try_from(events)?);
        stage.feed()?.send(load).await?;
        let processor = stage.processor("table-processor").await?;
        stage.lag()?.until_none(BOUND).await?;
        Ok(Self {
            stage,
            tracks,
            _processor: processor,
        })
    }

    pub(crate) fn cells(&self) -> u32 {
        self.tracks * 5
    }
}

/// What one plan did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Planned {
    pub(crate) cells: f64,
    pub(crate) scan_seconds: f64,
    pub(crate) events: f64,
    pub(crate) log_seconds: f64,
    pub(crate) peak_mib: f64,
}

/// Plans against bare scans.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Auditing {
    pub(crate) plans: Planned,
    pub(crate) bare: Measured,
}

impl Auditing {
    pub(crate) fn cells_per_second(&self) -> f64 {
        self.plans.cells / self.plans.scan_seconds
    }

    pub(crate) fn share_of_bare(&self) -> f64 {
        self.cells_per_second() / self.bare.cells_per_second()
    }

    pub(crate) fn events_per_second(&self) -> f64 {
        self.plans.events / self.plans.log_seconds
    }
}

/// Measures them in turn.
pub(crate) async fn measure(bench: &mut Bench, table: &Table) -> Result<Auditing> {
    // The first scan of a server is slower than all others.
    baseline::run(bench, table.stage.keyspace(), &["scan"]).await?;
    let mut all = Auditing::default();
    for turn in 1..=bench.sizes.plans {
        bench.say(&format!(
            "plan and bare scan, {turn} of {}",
            bench.sizes.plans
        ))?;
        let one = plan(&table.stage).await?;
        let bare = baseline::run(bench, table.stage.keyspace(), &["scan"]).await?;
        // A request that timed out may have left a few cells out of the table; the plan judges these too.
        ensure!(
            (one.cells - bare.cells).abs() < one.cells / 100.0,
            "the plan judged {} cells and the bare scan read {}",
            one.cells,
            bare.cells
        );
        all.bare += bare;
        let sum = &mut all.plans;
        sum.cells += one.cells;
        sum.scan_seconds += one.scan_seconds;
        sum.events += one.events;
        sum.log_seconds += one.log_seconds;
        sum.peak_mib = sum.peak_mib.max(one.peak_mib);
    }
    Ok(all)
}

/// Plans once: what it read and how long that took, by its own words.
pub(crate) async fn plan(stage: &TestNamespace) -> Result<Planned> {
    let process = stage
        .restorator_command("plan", &["--output", "json"])?
        .start()?;
    let (pid, peak) = (process.pid(), Cell::new(0.0));
    let finished = match select(pin!(process.finish(BOUND)), pin!(watch_peak(pid, &peak))).await {
        Either::Left((finished, _)) => finished?,
        Either::Right(((), _)) => anyhow::bail!("watching has no end"),
    };
    ensure!(
        matches!(finished.code, Some(0 | 1)),
        "plan ended with {:?}: {}{}",
        finished.code,
        finished.output,
        finished.errors
    );
    let answer: Value = serde_json::from_str(&finished.output)?;
    let judged = answer["cells"]["judged"].as_f64().context("cells.judged")?;
    let (events, log_seconds) = phase(&finished.errors, "reading the log").unwrap_or_default();
    let (_, scan_seconds) =
        phase(&finished.errors, "scanning the table").with_context(|| finished.errors.clone())?;
    Ok(Planned {
        cells: judged,
        scan_seconds,
        events,
        log_seconds,
        peak_mib: peak.get(),
    })
}

/// How much was done and how long that took, from a line like `reading the log: 1,000 of 1,000 events, 9/s (took 0.31 s)`.
fn phase(lines: &str, name: &str) -> Option<(f64, f64)> {
    let line = lines
        .lines()
        .find(|line| line.starts_with(name) && line.contains("(took "))?;
    let done = line.split_once(": ")?.1.split(' ').next()?;
    let took = line.split_once("(took ")?.1.split(' ').next()?;
    Some((done.replace(',', "").parse().ok()?, took.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_tells_how_much_and_how_long() {
        let lines = "a note\nreading the log: 1,000 of 1,000 events, 9/s (took 0.31 s)\n";
        assert_eq!(phase(lines, "reading the log"), Some((1000.0, 0.31)));
        assert_eq!(phase(lines, "scanning the table"), None);
    }
}
