//! (k): batch counts loaded beside the bare driver's inserts of the same rows, and a load after a hundredth more.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use stitch_harness::feed::delete_topic;
use stitch_harness::test_namespace::TestNamespace;

use crate::Bench;
use crate::baseline::{self, Measured};
use crate::load::{CELLS, Keys};
use stitch_harness::process_usage::{Usage, watch};

const BOUND: Duration = Duration::from_secs(1800);

/// A load, as the program reports it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct LoadRun {
    pub(crate) cells: f64,
    pub(crate) write_seconds: f64,
    /// Also with reading back and publishing.
    pub(crate) seconds: f64,
    pub(crate) usage: Usage,
}

impl LoadRun {
    pub(crate) fn cells_per_second(&self) -> f64 {
        self.cells / self.write_seconds
    }
}

/// The results of (k).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Loading {
    pub(crate) whole: LoadRun,
    pub(crate) changed: LoadRun,
    /// An insert a cell.
    pub(crate) inserts: Measured,
    /// A batch of inserts a track.
    pub(crate) batches: Measured,
}

pub(crate) async fn measure(bench: &mut Bench) -> Result<Loading> {
    let tracks = bench.sizes.loaded_tracks;
    bench.say(&format!("producing {tracks} records"))?;
    let namespace = bench
        .namespace("loading", "[batch]\nenabled = true\n")
        .await?;
    let init = namespace.batch_command("init", &[])?;
    watch(&init, &[0], None, BOUND).await?;
    let mut load = bench.load(Keys::Scattered(tracks))?;
    let mut produce = async |records: u32| {
        let records = load.by_ref().take(usize::try_from(records)?);
        namespace.feed()?.send(records).await
    };
    produce(tracks).await?;
    // Before and after the load: neither has the warmer server.
    let mut results = Loading::default();
    bench.say("the bare driver")?;
    bare(bench, &namespace, tracks, &mut results).await?;
    bench.say("the whole load")?;
    results.whole = run(&namespace).await?;
    has_loaded(&results.whole, tracks)?;
    bench.say("the bare driver")?;
    bare(bench, &namespace, tracks, &mut results).await?;
    bench.say("1 % more, and a load of what changed")?;
    produce(tracks / 100).await?;
    results.changed = run(&namespace).await?;
    has_loaded(&results.changed, tracks / 100)?;
    delete_topic(&namespace.servers.kafka, namespace.topic()).await?;
    Ok(results)
}

/// Fails unless each cell of so many tracks was written, and no other.
fn has_loaded(load: &LoadRun, tracks: u32) -> Result<()> {
    let cells = f64::from(tracks) * f64::from(u32::try_from(CELLS.len())?);
    ensure!(
        (load.cells - cells).abs() < 0.5,
        "{} cells were loaded, not {cells}",
        load.cells
    );
    Ok(())
}

async fn bare(
    bench: &Bench,
    namespace: &TestNamespace,
    tracks: u32,
    results: &mut Loading,
) -> Result<()> {
    let tracks = tracks.to_string();
    let insert = ["insert", "--tracks", &tracks];
    let batched = ["insert", "--batched", "--tracks", &tracks];
    let times = (Duration::ZERO, BOUND);
    let keyspace = namespace.keyspace();
    results.inserts += baseline::run_for(bench, keyspace, &insert, times).await?;
    results.batches += baseline::run_for(bench, keyspace, &batched, times).await?;
    Ok(())
}

/// Adds up what is new, and loads it.
async fn run(namespace: &TestNamespace) -> Result<LoadRun> {
    let program = namespace.batch_command("run", &["--output", "json"])?;
    let (finished, usage) = watch(&program, &[0], None, BOUND).await?;
    let report: Value = serde_json::from_str(&finished.output)?;
    let number = |name: &str| report[name].as_f64().with_context(|| report.to_string());
    Ok(LoadRun {
        cells: number("loaded")?,
        write_seconds: number("write_ms")? / 1000.0,
        seconds: number("load_ms")? / 1000.0,
        usage,
    })
}
