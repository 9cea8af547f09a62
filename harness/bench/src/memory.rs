//! (f): the most memory that both programs had, at a backlog and at one ten times as long.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::Bench;
use crate::auditing::plan;
use crate::load::Keys;
use crate::vitals::peak_mib;

/// The same cells, however long the backlog; so few that the longer one is counted in a minute.
const TRACKS: u32 = 1000;
const BOUND: Duration = Duration::from_secs(400);

/// The peaks in MiB at one backlog.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Peaks {
    pub(crate) events: u32,
    pub(crate) processor: f64,
    /// A plan while nothing of the backlog is counted.
    pub(crate) plan_before: f64,
    /// A plan when all of it is.
    pub(crate) plan_after: f64,
}

/// Both.
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
    bench.say(&format!("memory at a backlog of {events} events"))?;
    let stage = bench.stage("memory", "").await?;
    let load = bench.load(Keys::Uniform(TRACKS))?;
    stage
        .feed()?
        .send(load.take(usize::try_from(events)?))
        .await?;
    let before = plan(&stage).await?;
    let processor = stage.processor("memory-processor").await?;
    stage.lag()?.until_none(BOUND).await?;
    let peak = peak_mib(processor.pid()).context("the processor runs")?;
    stage.stop([processor]).await?;
    let after = plan(&stage).await?;
    Ok(Peaks {
        events,
        processor: peak,
        plan_before: before.peak_mib,
        plan_after: after.peak_mib,
    })
}
