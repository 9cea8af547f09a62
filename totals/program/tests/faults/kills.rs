//! Programs that are killed at a request of theirs to the store: what they leave is never taken for whole, and the next run
//! does all of it.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use stitch_harness::connect_files;
use stitch_harness::feed::{forget_records, records_of};
use tokio::time::timeout;

use crate::scene::{BOUND, Scene, Store, expect_progress, expect_refusal, text};

/// Starts a command, and kills it when it makes a request of this method for such an object; the request is lost.
async fn kill_at(
    scene: &Scene,
    store: &Store,
    command: (&str, &[&str]),
    (method, path, after): (&str, &str, u64),
) -> Result<()> {
    let before = store.proxy.held();
    store.proxy.hold_requests(method, path, after);
    let mut process = scene.command(command.0, command.1)?.start()?;
    let held = timeout(BOUND, store.proxy.until_held(before)).await;
    held.with_context(|| process.errors())?;
    process.kill().await?;
    store.proxy.lose_held_requests();
    Ok(())
}

/// The totals that `list` shows, and the ids of those without a manifest.
async fn listed(scene: &Scene) -> Result<(Vec<Value>, Vec<Value>)> {
    let (code, report) = scene.totals(&["list"]).await?;
    ensure!(
        code == 0 && report["unreadable"] == Value::Array(Vec::new()),
        "{report}"
    );
    let list = |name: &str| report[name].as_array().cloned().context("a list");
    Ok((list("totals")?, list("incomplete")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_build_leaves_totals_that_are_whole_or_none() -> Result<()> {
    let store = Store::start().await?;
    let scene = Scene::in_bucket("killed_build", 2, &store, "").await?;
    scene.send(1, 2000).await?;
    let expected = scene.count_log().await?;
    // While a file is written, before it is there, and when all files are.
    let requests = [
        ("PUT", "/range-", 0),
        ("POST", "/range-", 1),
        ("PUT", "/manifest.json", 0),
    ];
    for (kill, request) in requests.into_iter().enumerate() {
        let files = usize::from(kill == 2);
        kill_at(&scene, &store, ("stitch-totals", &["build"]), request).await?;
        let left = scene.objects(&["totals/", "range-"]).await?;
        ensure!(left.len() == files, "{request:?}: {left:?}");
        ensure!(scene.objects(&["manifest.json"]).await?.is_empty());
        let (totals, incomplete) = listed(&scene).await?;
        ensure!(totals.is_empty(), "{request:?}: {totals:?}");
        ensure!(incomplete.len() == files, "{request:?}: {incomplete:?}");
        if let Some(id) = incomplete.first() {
            let verified = scene.totals(&["verify", text(id)?]).await?;
            expect_refusal(&verified, &["there are no totals", text(id)?])?;
            let planned = scene.restorator(&["plan", "--base", text(id)?]).await?;
            expect_refusal(&planned, &["there are no totals", text(id)?])?;
        }
    }
    let built = scene.build(&expected).await?;
    let (totals, incomplete) = listed(&scene).await?;
    ensure!(incomplete.is_empty(), "{incomplete:?}");
    ensure!(
        totals.len() == 1 && totals[0]["id"] == built["id"],
        "{totals:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_build_where_it_is_and_the_next_builds() -> Result<()> {
    let store = Store::start().await?;
    let scene = Scene::in_bucket("ended_build", 2, &store, "").await?;
    scene.send(1, 500).await?;
    let expected = scene.count_log().await?;
    store.proxy.hold_requests("PUT", "/manifest.json", 0);
    let before = store.proxy.held();
    let process = scene.command("stitch-totals", &["build"])?.start()?;
    let held = timeout(BOUND, store.proxy.until_held(before)).await;
    held.with_context(|| process.errors())?;
    process.signal(Signal::INT)?;
    let finished = process.finish(BOUND).await?;
    ensure!(
        finished.code == Some(130) && finished.output.contains("run it again"),
        "{finished:?}"
    );
    store.proxy.lose_held_requests();
    let (totals, incomplete) = listed(&scene).await?;
    ensure!(totals.is_empty() && incomplete.len() == 1, "{incomplete:?}");
    scene.build(&expected).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_seal_and_a_killed_import_are_finished_by_the_next() -> Result<()> {
    const EVENTS: usize = 30_000;
    const DELETED: i64 = 28_000;
    let store = Store::start().await?;
    let scene = Scene::in_bucket("killed_import", 1, &store, "segment_mib = 1\n").await?;
    let (kafka, topic) = (&scene.namespace.servers.kafka, scene.namespace.topic());
    scene.send(1, EVENTS).await?;
    let expected = scene.count_log().await?;
    let read = records_of(kafka, topic)?.into_iter();
    let records: Vec<_> = read.map(|(record, _)| record).collect();
    let backup = tempfile::tempdir()?;
    let files = connect_files::write(backup.path(), topic, &records, 3000)?;
    let url = format!("file://{}", backup.path().display());
    let values = records.iter().filter_map(|record| record.value.as_ref());
    let written: u64 = values.map(|value| value.len() as u64 + 1).sum();

    let seal = ("stitch-archive", ["seal", url.as_str()]);
    kill_at(&scene, &store, (seal.0, &seal.1), ("PUT", "/_seals/", 3)).await?;
    ensure!(scene.objects(&["/_seals/"]).await?.len() == 3);
    let (finished, report) = scene.finished(seal.0, &seal.1).await?;
    let code = finished.code.context("a code")?;
    expect_progress(&finished, "comparing files with the log", written, "bytes")?;
    ensure!(
        code == 0 && report["partitions"][0]["sealed"] == files,
        "{report}"
    );

    forget_records(kafka, topic, 0, DELETED).await?;
    let import = ("stitch-archive", ["import", url.as_str()]);
    kill_at(
        &scene,
        &store,
        (import.0, &import.1),
        ("PUT", ".parquet", 2),
    )
    .await?;
    ensure!(scene.objects(&[".parquet"]).await?.len() == 2);
    // What there is is whole, and ends where it ends.
    let report = scene.ensure_archive_is_whole().await?;
    let complete_to = report["partitions"][0]["complete_to"].as_i64();
    let complete_to = complete_to.context("a position")?;
    ensure!((1..DELETED).contains(&complete_to), "{report}");
    let gap = format!("a gap between offset {complete_to} and offset {DELETED} of partition 0");
    expect_refusal(&scene.totals(&["build"]).await?, &[&gap])?;
    // Archiving does not go on behind a gap, either.
    let archived = scene.archive(&["run", "--once"]).await?;
    expect_refusal(&archived, &[&format!("from offset {complete_to} on")])?;

    let (finished, report) = scene.finished(import.0, &import.1).await?;
    let code = finished.code.context("a code")?;
    expect_progress(&finished, "reading the files", written, "bytes")?;
    let left = u64::try_from(DELETED - complete_to)?;
    expect_progress(&finished, "importing", left, "records")?;
    ensure!(
        code == 0 && report["partitions"][0]["complete_to"] == DELETED,
        "{report}"
    );
    scene.archive_once().await?;
    let report = scene.ensure_archive_is_whole().await?;
    ensure!(report["partitions"][0]["records"] == EVENTS, "{report}");
    scene.build(&expected).await?;
    Ok(())
}
