//! (h): the archive beside a bare consumer; totals beside DuckDB and Spark; what a second audit and one key cost.

mod copying;
pub(crate) mod engines;
mod increment;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use stitch_harness::feed::delete_topic;
use stitch_harness::test_namespace::TestNamespace;

use crate::Bench;
use crate::load::Keys;
pub(crate) use copying::{Copying, Work};
use engines::Engines;
pub(crate) use increment::Increment;
use stitch_harness::process_usage::{Usage, watch};

const BOUND: Duration = Duration::from_secs(3600);

/// A topic that is added up: each track in it has five cells.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct TopicSize {
    pub(crate) tracks: u32,
    pub(crate) records: u32,
}

impl TopicSize {
    pub(crate) fn cells(&self) -> f64 {
        f64::from(self.tracks) * 5.0
    }
}

/// The same records, added up by three programs in turn.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Adding {
    pub(crate) size: TopicSize,
    pub(crate) stitch: Usage,
    pub(crate) duckdb: Usage,
    pub(crate) spark: Usage,
}

impl Adding {
    pub(crate) fn per_second(&self, usage: &Usage) -> f64 {
        f64::from(self.size.records) / usage.seconds
    }

    pub(crate) fn per_cpu_second(&self, usage: &Usage) -> f64 {
        f64::from(self.size.records) / usage.cpu_seconds
    }
}

/// The results of (h).
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Totalling {
    pub(crate) copying: Copying,
    pub(crate) adding: Vec<Adding>,
    pub(crate) increment: Increment,
}

pub(crate) async fn measure(bench: &mut Bench, engines: &Engines) -> Result<Totalling> {
    let mut results = Totalling::default();
    for size in bench.sizes.topics.clone() {
        results
            .adding
            .push(add_up(bench, engines, size, &mut results.copying).await?);
    }
    results.increment = increment::measure(bench).await?;
    Ok(results)
}

/// Archives one topic, and adds it up with each program.
async fn add_up(
    bench: &mut Bench,
    engines: &Engines,
    size: TopicSize,
    copying: &mut Copying,
) -> Result<Adding> {
    let TopicSize { tracks, records } = size;
    bench.say(&format!("producing {records} records of {tracks} tracks"))?;
    let topic = ArchivedTopic::new(bench).await?;
    let load = bench.load(Keys::Scattered(tracks))?;
    topic
        .namespace
        .feed()?
        .send(load.take(usize::try_from(records)?))
        .await?;
    bench.say("archiving, and the bare consumer")?;
    copying.measure(&topic.namespace, records).await?;
    let mut adding = Adding {
        size,
        ..Adding::default()
    };
    bench.say("stitch-totals build")?;
    let program = topic
        .namespace
        .totals_command("build", &["--output", "json"])?;
    let spill = topic.namespace.folder.join("spill");
    (_, adding.stitch) = watch(&program, &[0], Some(&spill), BOUND).await?;
    let ours = engines.digest(&topic.totals()).await?;
    ensure!(
        (ours.cells - size.cells()).abs() < 0.5,
        "{} cells were built, not {}",
        ours.cells,
        size.cells()
    );
    bench.say("DuckDB")?;
    let work = topic.namespace.folder.clone();
    let others = work.join("others");
    let output = others.join("duckdb.parquet");
    let program = engines.duckdb(&topic.archive(), &output, &work)?;
    (_, adding.duckdb) = watch(&program, &[0], None, BOUND).await?;
    ensure!(
        engines.digest(&output).await? == ours,
        "DuckDB's totals differ"
    );
    fs::remove_file(&output)?;
    bench.say("Spark")?;
    let output = others.join("spark");
    let program = engines.spark(&topic.archive(), &output, &work);
    (_, adding.spark) = watch(&program, &[0], None, BOUND).await?;
    let written = output.join("*.parquet");
    ensure!(
        engines.digest(&written).await? == ours,
        "Spark's totals differ"
    );
    topic.delete().await?;
    Ok(adding)
}

/// A namespace whose topic is archived.
struct ArchivedTopic {
    namespace: TestNamespace,
    objects: PathBuf,
}

impl ArchivedTopic {
    async fn new(bench: &Bench) -> Result<Self> {
        let folder = bench.folder.join("totals");
        if folder.is_dir() {
            fs::remove_dir_all(&folder)?;
        }
        let objects = folder.join("objects");
        fs::create_dir_all(folder.join("others"))?;
        let archive = format!("[archive]\nurl = \"file://{}\"\n", objects.display());
        Ok(Self {
            namespace: bench.namespace("totals", &archive).await?,
            objects,
        })
    }

    /// The segments, as other programs find them.
    fn archive(&self) -> PathBuf {
        self.objects.join("archive/v1/*/*/p=*/*.parquet")
    }

    /// The files of the only totals.
    fn totals(&self) -> PathBuf {
        self.objects.join("totals/v1/*/*/range-*.parquet")
    }

    /// Deletes all of it: the next one needs the room.
    async fn delete(self) -> Result<()> {
        delete_topic(&self.namespace.servers.kafka, self.namespace.topic()).await?;
        Ok(fs::remove_dir_all(&self.namespace.folder)?)
    }
}
