//! Disks that are full: under the archive, under totals, and under what is spilled.

use anyhow::{Result, ensure};
use stitch_harness::small_disk::SmallDisk;

use crate::scene::{BOUND, Scene, events, expect_refusal};

const KIB: u64 = 2048;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_archive_is_named_and_waited_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = SmallDisk::mount(&folder.path().join("disk"), KIB)?;
    let place = disk.folder().display().to_string();
    let url = format!("file://{place}/store");
    let settings = "segment_ms = 200\n";
    let scene = Scene::at("full_archive", 1, url, Vec::new(), settings, folder).await?;
    scene.send(1, 500).await?;
    disk.fill(0)?;
    for _ in 0..2 {
        let refused = scene.archive(&["run", "--once"]).await?;
        expect_refusal(&refused, &["refused", &place, "No space left on device"])?;
        ensure!(disk.files()?.is_empty(), "{:?}", disk.files()?);
    }
    // An archiver that runs already waits, and has its metrics and its health meanwhile.
    disk.make_room()?;
    let mut archiver = scene.archiver().await?;
    scene.until_archived().await?;
    let put = scene.objects(&[".parquet"]).await?.len();
    disk.fill(0)?;
    scene.namespace.feed()?.send(events(2, 500)?).await?;
    let line = archiver
        .until_says("a segment could not be put", BOUND)
        .await?;
    ensure!(
        line.contains(&place) && line.contains("No space left on device"),
        "{line}"
    );
    let files = disk.files()?;
    ensure!(
        files.len() == put + 2,
        "{put} segments, origin and check: {files:?}"
    );
    disk.make_room()?;
    scene.until_archived().await?;
    let finished = archiver.stop(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let report = scene.ensure_archive_is_whole().await?;
    ensure!(report["partitions"][0]["records"] == 1000, "{report}");
    scene.build(&scene.count_log().await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_totals_or_their_runs_is_named_and_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = SmallDisk::mount(&folder.path().join("disk"), KIB)?;
    let place = disk.folder().display().to_string();
    let url = format!("file://{place}/store");
    let scene = Scene::at("full_totals", 1, url, Vec::new(), "", folder).await?;
    scene.send(1, 500).await?;
    let expected = scene.count_log().await?;
    // The check of the store fits, and totals do not.
    disk.fill(2)?;
    let refused = scene.totals(&["build"]).await?;
    expect_refusal(&refused, &["refused", &place, "No space left on device"])?;
    let files = disk.files()?;
    ensure!(
        files.len() == 1 && files[0].ends_with("_put-if-absent"),
        "{files:?}"
    );
    disk.fill(0)?;
    // What is spilled is on the disk, and the totals are elsewhere.
    let spill = disk.folder().join("spill");
    let elsewhere = format!("file://{}", scene.folder.path().join("elsewhere").display());
    scene.namespace.configure(&format!(
        "{}\n[totals]\nurl = {elsewhere:?}\nspill = {spill:?}\n",
        stitch_harness::events::COUNTERS
    ))?;
    let refused = scene.totals(&["build"]).await?;
    expect_refusal(&refused, &[&place, "No space left on device"])?;
    ensure!(
        refused.1["error"]["help"].to_string().contains("spill"),
        "{refused:?}"
    );
    let (_, list) = scene.totals(&["list"]).await?;
    let none = serde_json::json!([]);
    ensure!(
        list["totals"] == none && list["incomplete"] == none,
        "{list}"
    );
    // Both go on once there is room.
    disk.make_room()?;
    let (code, report) = scene.totals(&["build"]).await?;
    ensure!(code == 0, "{report}");
    scene.configure(&scene.url, "")?;
    let report = scene.build(&expected).await?;
    let (_, list) = scene.totals(&["list"]).await?;
    ensure!(
        list["totals"][0]["id"] == report["id"] && list["incomplete"] == none,
        "{list}"
    );
    Ok(())
}
