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
use tokio::time::sleep;

use stitch_tests::scene::{BOUND, all_right, count, json_object, kill_while_counting};

/// The first of January 2026, in milliseconds.
const YEAR_MS: i64 = 1_767_225_600_000;
const MONTH_MS: i64 = 30 * 86_400_000;
const MEMORY_MIB: u64 = 128;
/// What clients and program take beside that.
const BESIDE_MIB: u64 = 150;

fn month(number: u64) -> Result<Generator> {
    Generator::new(Shape {
        seed: number,
        tracks: 200,
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

/// Archives these months while they are produced and counted, until it is killed in the middle of it.
async fn archive_until_killed(
    namespace: &TestNamespace,
    folder: &Path,
    months: std::ops::Range<u64>,
) -> Result<()> {
    let before = segments(folder)?;
    let mut archiver = namespace.archive_command("run", &[])?.start()?;
    for number in months {
        count(namespace, events_of(number, 300)?).await?;
    }
    while segments(folder)? == before {
        sleep(Duration::from_millis(50)).await;
    }
    archiver.kill().await
}

/// The most resident memory of a process so far, in MiB; `None` once it has ended.
fn resident_mib(process: &Process) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
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
        "{COUNTERS}\n[archive]\nurl = \"file://{}\"\nsegment_ms = 200\n[restorator]\nmemory_mib_max = {MEMORY_MIB}\n",
        folder.display()
    );
    let namespace = TestNamespace::build(&Servers::from_environment()?, &config).await?;
    let mut processor = namespace.processor("processor").await?;
    archive_until_killed(&namespace, &folder, 0..4).await?;
    archive_until_killed(&namespace, &folder, 4..8).await?;
    for number in 8..11 {
        count(&namespace, events_of(number, 300)?).await?;
    }
    let archived = namespace
        .archive_command("run", &["--once"])?
        .run(BOUND)
        .await?;
    ensure!(archived.code == Some(0), "{archived:?}");
    let verified = namespace.archive_command("verify", &[])?.run(BOUND).await?;
    ensure!(verified.code == Some(0), "{verified:?}");
    let forgotten = namespace.forget_log().await?;
    ensure!(forgotten >= 11 * 300, "{forgotten} records were deleted");
    kill_while_counting(&namespace, &mut processor, events_of(11, 2000)?).await?;
    let processor = namespace.processor("successor").await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 7).await?;
    corruptor.corrupt(20).await?;
    let live = namespace.feed()?.live(month(12)?, 100);
    let (report, most_mib) = restore_measured(&namespace).await?;
    live.stop().await?;
    ensure!(report["outcome"] == "verified", "{report}");
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
