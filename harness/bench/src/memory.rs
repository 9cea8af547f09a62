//! (f): peak memory of processor and plan, with a backlog and with one ten times as long.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::Bench;
use crate::auditing::plan;
use crate::load::Keys;
use stitch_harness::process_usage::peak_mib;

/// The same cells for both backlogs; few enough for the longer one to be counted within a minute.
const TRACKS: u32 = 1000;
const BOUND: Duration = Duration::from_secs(400);

/// Peaks in MiB with one backlog.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Peaks {
    pub(crate) events: u32,
    pub(crate) processor: f64,
    /// A plan before the backlog is counted.
    pub(crate) plan_before: f64,
    /// A plan after it.
    pub(crate) plan_after: f64,
}

/// The results of (f).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) short: Peaks,
    pub(crate) long: Peaks,
}

pub(crate) async fn measure(bench: &mut Bench) -> Result<Memory> {
    let events = bench.sizes.memory_backlog;
    Ok(Memory {
        short: peaks(bench, events).await?,
        long: peaks(bench, events * 10).await?,
    })
}

async fn peaks(bench: &mut Bench, events: u32) -> Result<Peaks> {
    bench.say(&format!("memory with a backlog of {events} events"))?;
    let namespace = bench.namespace("memory", "").await?;
    let load = bench.load(Keys::Uniform(TRACKS))?;
    namespace
        .feed()?
        .send(load.take(usize::try_from(events)?))
        .await?;
    let before = plan(&namespace).await?;
    let processor = namespace.processor("memory-processor").await?;
    namespace.lag()?.until_none(BOUND).await?;
    let peak = peak_mib(processor.pid()).context("the processor runs")?;
    namespace.stop([processor]).await?;
    let after = plan(&namespace).await?;
    Ok(Peaks {
        events,
        processor: peak,
        plan_before: before.peak_mib,
        plan_after: after.peak_mib,
    })
}
