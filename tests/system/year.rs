//! A topic of a year: archived by programs that are killed, its first eleven months deleted from Kafka, counts broken by
//! hand and by a kill, and restored under live traffic by a restorator with little memory.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::events::{COUNTERS, Generator, Record, Shape};
use stitch_harness::process::Process;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::web::{self, metric};
use tokio::time::{sleep, timeout};

use stitch_tests::scene::{BOUND, all_right, count, json_object, kill_while_counting};

/// The first of January 2026, in milliseconds.
const YEAR_MS: i64 = 1_767_225_600_000;
const MONTH_MS: i64 = 30 * 86_400_000;
const MEMORY_MIB: u64 = 4;
/// Of each month.
const EVENTS: usize = 1500;
/// What clients and program take beside that.
const BESIDE_MIB: u64 = 120;

fn month(number: u64) -> Result<Generator> {
    Generator::new(Shape {
        seed: number,
        tracks: 1000,
        start_ms: YEAR_MS + i64::try_from(number)? * MONTH_MS,
        span_ms: MONTH_MS,
        ..Shape::default()
    })
}

fn events_of(number: u64, events: usize) -> Result<Vec<Record>> {
    Ok(month(number)?.take(events).collect())
}

/// The segments in an archive.
fn segments(folder: &Path) -> Result<usize> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(0);
    };
    let mut found = 0;
    for entry in entries {
        let path = entry?.path();
        found += match path.is_dir() {
            true => segments(&path)?,
            false => usize::from(path.extension().is_some_and(|kind| kind == "parquet")),
        };
    }
    Ok(found)
}

/// Waits until the bytes that an archiver has read, and not put, are as wanted.
async fn until_buffered(address: &str, wanted: fn(f64) -> bool) -> Result<()> {
    let polling = async {
        loop {
            let (_, page) = web::get(address, "/metrics").await?;
            if metric(&page, "stitch_archive_buffered_bytes").is_some_and(wanted) {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(BOUND, polling)
        .await
        .context("what is buffered does not change")?
}

/// Archives these months while they are produced and counted, and is killed when it has read records that it has not put.
async fn archive_until_killed(
    namespace: &TestNamespace,
    folder: &Path,
    months: std::ops::Range<u64>,
) -> Result<()> {
    let before = segments(folder)?;
    let mut archiver = namespace.archive_command("run", &[])?.start()?;
    let address = TestNamespace::address(&mut archiver).await?;
    let last = months.end;
    for number in months {
        count(namespace, events_of(number, EVENTS)?).await?;
    }
    until_buffered(&address, |bytes| bytes == 0.0).await?;
    let put = segments(folder)?;
    ensure!(put > before, "nothing was put");
    namespace.feed()?.send(events_of(last, 50)?).await?;
    until_buffered(&address, |bytes| bytes > 0.0).await?;
    archiver.kill().await?;
    let left = segments(folder)?;
    ensure!(
        left == put,
        "it had put what it read: {put} and {left} segments"
    );
    namespace.lag()?.until_none(BOUND).await
}

/// How many events a processor has counted.
async fn counted(address: &str) -> Result<f64> {
    let (_, page) = web::get(address, "/metrics").await?;
    metric(&page, "stitch_events_total").context("the metric")
}

/// The resident memory of a process, in MiB, without the pages of its program and of libraries, which are the larger the
/// less the compiler optimized; `None` once it has ended.
fn resident_mib(process: &Process) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib >> 10)
}

/// Restores everything; returns the report, and the most memory that it was seen to take.
async fn restore_measured(namespace: &TestNamespace) -> Result<(Value, u64)> {
    let arguments = ["--now", "--output", "json"];
    let restorator = namespace.restorator_command("run", &arguments)?.start()?;
    let mut most_mib = 0;
    while let Some(resident) = resident_mib(&restorator) {
        most_mib = most_mib.max(resident);
        sleep(Duration::from_millis(20)).await;
    }
    let finished = restorator.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    Ok((json_object(&finished)?, most_mib))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_whose_first_eleven_months_kafka_has_lost_is_restored_in_little_memory() -> Result<()>
{
    let mut config = TestConfig::new("year")?;
    let store = tempfile::tempdir()?;
    let folder = store.path().join("archive");
    config.config = format!(
        "{COUNTERS}\n[archive]\nurl = \"file://{}\"\nsegment_ms = 4000\n[restorator]\nmemory_mib_max = {MEMORY_MIB}\n[totals]\nmemory_mib_max = 1\n",
        folder.display()
    );
    let namespace = TestNamespace::build(&Servers::from_environment()?, &config).await?;
    let mut processor = namespace.processor("processor").await?;
    archive_until_killed(&namespace, &folder, 0..4).await?;
    archive_until_killed(&namespace, &folder, 4..8).await?;
    for number in 8..11 {
        count(&namespace, events_of(number, EVENTS)?).await?;
    }
    let archived = namespace
        .archive_command("run", &["--once"])?
        .run(BOUND)
        .await?;
    ensure!(archived.code == Some(0), "{archived:?}");
    let verified = namespace.archive_command("verify", &[])?.run(BOUND).await?;
    ensure!(verified.code == Some(0), "{verified:?}");
    let forgotten = namespace.forget_log().await?;
    let least = i64::try_from(11 * EVENTS)?;
    ensure!(forgotten >= least, "{forgotten} records were deleted");
    // What eleven months add up to is more than totals may keep in memory.
    let built = namespace.totals_command("build", &["--output", "json"])?;
    let built = json_object(&built.run(BOUND).await?)?;
    let runs = built["spilled_runs"].as_u64().context("a report")?;
    ensure!(runs > 0, "nothing was spilled: {built}");
    kill_while_counting(&namespace, &mut processor, events_of(11, 2000)?).await?;
    let mut processor = namespace.processor("successor").await?;
    let address = TestNamespace::address(&mut processor).await?;
    // What waits to be counted takes memory, too.
    namespace.lag()?.until_none(BOUND).await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 7).await?;
    corruptor.corrupt(20).await?;
    let live = namespace.feed()?.live(month(12)?, 100);
    let before = counted(&address).await?;
    let (report, most_mib) = restore_measured(&namespace).await?;
    let during = counted(&address).await? - before;
    live.stop().await?;
    ensure!(report["outcome"] == "verified", "{report}");
    ensure!(during > 0.0, "no event was counted during the restoration");
    let corrected = report["cells"]["corrected"].as_u64();
    let corrected = corrected.context("corrected cells")?;
    ensure!(corrected > 0, "{report}");
    ensure!(most_mib > 0, "it was not seen to run");
    ensure!(
        most_mib <= MEMORY_MIB + BESIDE_MIB,
        "{most_mib} MiB resident"
    );
    namespace.lag()?.until_none(BOUND).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}
