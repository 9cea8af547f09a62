//! A store behind a line that is cut or silent, one that refuses, and one that overwrites.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use stitch_harness::object_server::{ObjectServer, client_environment};
use stitch_harness::process::Process;
use stitch_harness::proxy::Mode;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::metric;
use tokio::time::{sleep, timeout};

use crate::scene::{BOUND, Scene, Store, events, expect_refusal};

/// Longer than a segment waits until it is put.
const SILENCE: Duration = Duration::from_secs(2);

/// Segments are put soon, and many of them.
const SOON: &str = "segment_ms = 200\n";

/// Waits until something was held since `before`.
async fn until_held(store: &Store, before: u64) -> Result<()> {
    let held = timeout(BOUND, store.proxy.until_held(before)).await;
    held.context("the archiver puts nothing")
}

/// Waits until an archiver has records that it has not put.
async fn until_something_is_read(archiver: &mut Process) -> Result<()> {
    let address = TestNamespace::address(archiver).await?;
    let reading = async {
        loop {
            let (_, page) = stitch_harness::web::get(&address, "/metrics").await?;
            if metric(&page, "stitch_archive_buffered_bytes").is_some_and(|bytes| bytes > 0.0) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(BOUND, reading)
        .await
        .context("the archiver reads nothing")?
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archiver_outlives_a_store_whose_line_is_cut_or_silent() -> Result<()> {
    const EVENTS: usize = 3000;
    let store = Store::start().await?;
    let scene = Scene::in_bucket("archive_line", 2, &store, SOON).await?;
    let mut archiver = scene.archiver().await?;
    let feed = scene.namespace.feed()?;
    let live = feed.live(events(1, EVENTS)?.into_iter(), 200);
    // A put that never arrives.
    store.proxy.hold_requests("PUT", ".parquet", 0);
    until_held(&store, 0).await?;
    store.proxy.lose_held_requests();
    // Puts whose answers are lost.
    store.proxy.set(Mode::Deaf);
    sleep(SILENCE).await;
    store.proxy.cut();
    store.proxy.set(Mode::Pass);
    // Nothing gets through, for a while.
    store.proxy.set(Mode::Blackhole);
    sleep(SILENCE).await;
    store.proxy.set(Mode::Pass);
    // The store is away.
    store.proxy.set(Mode::Refuse);
    let away = archiver
        .until_says("a segment could not be put", BOUND)
        .await?;
    ensure!(away.contains(&store.proxy.address()), "{away}");
    store.proxy.set(Mode::Pass);
    live.finish().await?;
    scene.until_archived().await?;
    let finished = archiver.stop(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let report = scene.archive_once().await?;
    ensure!(report["records"] == 0, "{report}");
    let report = scene.ensure_archive_is_whole().await?;
    let partitions = report["partitions"].as_array().context("partitions")?;
    let records = partitions
        .iter()
        .filter_map(|report| report["records"].as_u64());
    ensure!(records.sum::<u64>() == u64::try_from(EVENTS)?, "{report}");
    scene.build(&scene.count_log().await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stays_away_ends_commands_with_its_place() -> Result<()> {
    let store = Store::start().await?;
    let scene = Scene::in_bucket("store_away", 1, &store, "").await?;
    scene.send(1, 500).await?;
    let address = store.proxy.address();
    // An archiver that is stopped while the store is away puts nothing, and says so.
    let mut archiver = scene.archiver().await?;
    until_something_is_read(&mut archiver).await?;
    store.proxy.set(Mode::Refuse);
    archiver.signal(Signal::TERM)?;
    let stopped = archiver.finish(BOUND).await?;
    let report = serde_json::from_str(&stopped.output).with_context(|| format!("{stopped:?}"))?;
    expect_refusal(&(stopped.code.context("a code")?, report), &[&address])?;
    for arguments in [["run", "--once"].as_slice(), &["verify"], &["status"]] {
        let refused = scene.archive(arguments).await?;
        expect_refusal(&refused, &["the object store", &address])?;
    }
    let refused = scene.totals(&["build"]).await?;
    expect_refusal(&refused, &["the object store", &address])?;
    store.proxy.set(Mode::Pass);
    scene.archive_once().await?;
    scene.ensure_archive_is_whole().await?;
    scene.build(&scene.count_log().await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_and_wrong_credentials_are_named() -> Result<()> {
    let store = Store::start().await?;
    let scene = Scene::in_bucket("no_bucket", 1, &store, "").await?;
    scene.send(1, 100).await?;
    scene.configure("s3://another/prefix", "")?;
    let commands = [
        ("archive", ["run", "--once"].as_slice()),
        ("archive", &["verify"]),
        ("totals", &["build"]),
    ];
    for (program, arguments) in commands {
        let refused = match program {
            "archive" => scene.archive(arguments).await?,
            _ => scene.totals(arguments).await?,
        };
        expect_refusal(&refused, &["refused", "another", "NoSuchBucket"])?;
    }
    drop(store);
    let stranger = ObjectServer::that_knows_nobody().await?;
    let scene = Scene::at(
        "credentials",
        1,
        "s3://bucket/prefix".to_owned(),
        client_environment(stranger.address()),
        "",
        tempfile::tempdir()?,
    )
    .await?;
    scene.send(1, 100).await?;
    for (program, arguments) in commands {
        let refused = match program {
            "archive" => scene.archive(arguments).await?,
            _ => scene.totals(arguments).await?,
        };
        expect_refusal(&refused, &["refused", "bucket", "InvalidAccessKeyId"])?;
        let help = refused.1["error"]["help"].to_string();
        ensure!(help.contains("credentials"), "{refused:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_overwrites_is_refused_for_archive_and_totals() -> Result<()> {
    let store = Store::start().await?;
    let scene = Scene::in_bucket("overwrites", 1, &store, "").await?;
    scene.send(1, 100).await?;
    store.proxy.overwrite_objects();
    let words = ["overwrote", "_put-if-absent"];
    expect_refusal(&scene.archive(&["run", "--once"]).await?, &words)?;
    expect_refusal(&scene.totals(&["build"]).await?, &words)?;
    ensure!(scene.objects(&["manifest.json"]).await?.is_empty());
    Ok(())
}
