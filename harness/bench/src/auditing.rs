//! (c): a plan against a bare scan, and the table that (c), (d) and (e) share.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use stitch_harness::process::Process;
use stitch_harness::test_namespace::TestNamespace;

use crate::Bench;
use crate::baseline::{self, Measured};
use crate::load::Keys;
use stitch_harness::process_usage::watch;

/// Events of each track, and so the value of each of its five cells.
pub(crate) const EVENTS_PER_TRACK: u32 = 2;
/// Ranges of the namespace.
pub(crate) const RANGES: u32 = 4;
const FOUR_RANGES: &str = "[ranges]\nbits = 2\n";
const BOUND: Duration = Duration::from_secs(400);

/// A table in which a processor keeps counting.
pub(crate) struct Table {
    pub(crate) namespace: TestNamespace,
    pub(crate) tracks: u32,
    _processor: Process,
}

impl Table {
    /// Counts the events of this many tracks, of five cells each, in four ranges.
    pub(crate) async fn fill(bench: &mut Bench, tracks: u32) -> Result<Self> {
        let events = tracks * EVENTS_PER_TRACK;
        bench.say(&format!("counting {events} events of {tracks} tracks"))?;
        let namespace = bench.namespace("table", FOUR_RANGES).await?;
        let keys = Keys::Each {
            tracks,
            times: EVENTS_PER_TRACK,
        };
        let load = bench.load(keys)?.take(usize::try_from(events)?);
        namespace.feed()?.send(load).await?;
        let processor = namespace.processor("table-processor").await?;
        namespace.lag()?.until_none(BOUND).await?;
        Ok(Self {
            namespace,
            tracks,
            _processor: processor,
        })
    }

    pub(crate) fn cells(&self) -> u32 {
        self.tracks * 5
    }
}

/// How much one plan read, and how long that took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct PlanRun {
    pub(crate) cells: f64,
    pub(crate) scan_seconds: f64,
    pub(crate) events: f64,
    pub(crate) log_seconds: f64,
    pub(crate) peak_mib: f64,
}

/// Plans against bare scans.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Auditing {
    pub(crate) plans: PlanRun,
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

/// Measures plans and bare scans in turn.
pub(crate) async fn measure(bench: &mut Bench, table: &Table) -> Result<Auditing> {
    // A server's first scan is slower than all others.
    baseline::run(bench, table.namespace.keyspace(), &["scan"]).await?;
    let mut all = Auditing::default();
    for turn in 1..=bench.sizes.plans {
        bench.say(&format!(
            "plan and bare scan, {turn} of {}",
            bench.sizes.plans
        ))?;
        let one = plan(&table.namespace).await?;
        let bare = baseline::run(bench, table.namespace.keyspace(), &["scan"]).await?;
        // A request that timed out may have left a few cells out of the table; the plan compares these, too.
        ensure!(
            (one.cells - bare.cells).abs() < one.cells / 100.0,
            "the plan compared {} cells, and the bare scan read {}",
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

/// Runs one plan. What it read, and how long that took, is what it reports itself.
pub(crate) async fn plan(namespace: &TestNamespace) -> Result<PlanRun> {
    let program = namespace.restorator_command("plan", &["--output", "json"])?;
    let (finished, usage) = watch(&program, &[0, 1], None, BOUND).await?;
    let answer: Value = serde_json::from_str(&finished.output)?;
    let judged = answer["cells"]["judged"].as_f64().context("cells.judged")?;
    let (events, log_seconds) = phase(&finished.errors, "reading records").unwrap_or_default();
    let (_, scan_seconds) =
        phase(&finished.errors, "scanning the table").with_context(|| finished.errors.clone())?;
    Ok(PlanRun {
        cells: judged,
        scan_seconds,
        events,
        log_seconds,
        peak_mib: usage.peak_mib,
    })
}

/// Amount and seconds from a line like `reading records: 1,000 of 1,000 events, 9/s (took 0.31 s)`.
pub(crate) fn phase(lines: &str, name: &str) -> Option<(f64, f64)> {
    let line = lines
        .lines()
        .find(|line| line.starts_with(name) && line.contains("(took "))?;
    let amount = line.split_once(": ")?.1.split(' ').next()?;
    let seconds = line.split_once("(took ")?.1.split(' ').next()?;
    Some((amount.replace(',', "").parse().ok()?, seconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_and_seconds_of_a_phase_are_parsed() {
        let lines = "a note\nreading records: 1,000 of 1,000 events, 9/s (took 0.31 s)\n";
        assert_eq!(phase(lines, "reading records"), Some((1000.0, 0.31)));
        assert_eq!(phase(lines, "scanning the table"), None);
    }
}
