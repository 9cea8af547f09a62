//! (i): the memory of `plan` and `run`, and what they spill, with many cells and a long log.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::feed::delete_topic;
use tokio::time::Instant;

use crate::load::Keys;
use crate::{Bench, wrong_cells};
use stitch_harness::process_usage::{Usage, watch};

const BOUND: Duration = Duration::from_secs(6 * 3600);
/// Cells that are made wrong, which `plan` is to find and `run` to correct.
const WRONG: u32 = 1000;

/// What may be kept in memory: of what was counted since the base, and of totals that are built.
pub(crate) const MEMORY_MIB_MAX: u32 = 128;
/// What a process may have in addition: its code, the clients of three servers, and their buffers.
pub(crate) const OTHER_MIB_MAX: u32 = 150;
/// The folder of sorted runs may have this much.
pub(crate) const SPILL_MIB_MAX: u32 = 16_384;

/// The results of (i).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Bounded {
    pub(crate) tracks: u32,
    pub(crate) records: u32,
    /// How long it took to produce and to count them.
    pub(crate) fill_seconds: f64,
    pub(crate) plan: Usage,
    pub(crate) run: Usage,
    pub(crate) corrected: f64,
}

pub(crate) async fn measure(bench: &mut Bench) -> Result<Bounded> {
    let (tracks, records) = (bench.sizes.bounded_cells / 5, bench.sizes.bounded_records);
    bench.say(&format!("counting {records} records of {tracks} tracks"))?;
    let started = Instant::now();
    let limits = format!(
        "[restorator]\nmemory_mib_max = {MEMORY_MIB_MAX}\n\
         [totals]\nmemory_mib_max = {MEMORY_MIB_MAX}\nspill_mib_max = {SPILL_MIB_MAX}\n"
    );
    let namespace = bench.namespace("bounded", &limits).await?;
    // Events of a track are close together, so that the processor has few increments to send.
    let times = records.div_ceil(tracks.max(1));
    let load = bench.load(Keys::Each { tracks, times })?;
    let processor = namespace.processor("bounded-processor").await?;
    namespace
        .feed()?
        .send(load.take(usize::try_from(records)?))
        .await?;
    namespace.lag()?.until_none(BOUND).await?;
    namespace.stop([processor]).await?;
    let fill_seconds = started.elapsed().as_secs_f64();
    bench.say("plan, and run")?;
    let corruptor = Corruptor::connect(&bench.servers, namespace.keyspace(), 1).await?;
    let mut random = ChaCha8Rng::seed_from_u64(2);
    wrong_cells::make(&corruptor, &mut random, tracks, WRONG).await?;
    let spill = namespace.folder.join("spill");
    // Each reads every record, whatever totals an earlier audit left.
    let whole = ["--base", "none", "--output", "json"];
    let program = namespace.restorator_command("plan", &whole)?;
    let (_, plan) = watch(&program, &[1], Some(&spill), BOUND).await?;
    let now = ["--now", "--base", "none", "--output", "json"];
    let program = namespace.restorator_command("run", &now)?;
    let (finished, run) = watch(&program, &[0], Some(&spill), BOUND).await?;
    let answer: Value = serde_json::from_str(&finished.output)?;
    let corrected = answer["cells"]["corrected"].as_f64().context("corrected")?;
    delete_topic(&namespace.servers.kafka, namespace.topic()).await?;
    Ok(Bounded {
        tracks,
        records,
        fill_seconds,
        plan,
        run,
        corrected,
    })
}
