//! An archive that has lost the object which says where a chain begins.

use anyhow::{Context, Result, ensure};

use crate::scene::{Scene, expect_refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_origin_is_named_and_never_made_again() -> Result<()> {
    let scene = Scene::in_folder("lost_origin", 1, "").await?;
    scene.send(1, 300).await?;
    scene.archive_once().await?;
    scene.send(2, 300).await?;
    let expected = scene.count_log().await?;
    let origin = scene.objects(&["_origin.json"]).await?;
    let origin = origin.first().context("an origin")?;
    let file = scene.folder.path().join("store").join(&origin.0);
    let content = std::fs::read(&file)?;
    std::fs::remove_file(&file)?;
    let segment = "00000000000000000000.parquet";
    for refused in [
        scene.archive(&["run", "--once"]).await?,
        scene.archive(&["status"]).await?,
        scene.totals(&["build"]).await?,
        scene.restorator(&["plan"]).await?,
    ] {
        expect_refusal(&refused, &[&origin.0, "is missing", segment])?;
        let help = refused.1["error"]["help"].to_string();
        ensure!(help.contains("The origin is missing"), "{refused:?}");
    }
    let (code, report) = scene.archive(&["verify"]).await?;
    let problem = &report["partitions"][0]["problems"][0];
    ensure!(code == 1 && problem["object"] == origin.0, "{report}");
    ensure!(!file.exists(), "it was made again");
    std::fs::write(&file, content)?;
    scene.archive_once().await?;
    let report = scene.ensure_archive_is_whole().await?;
    ensure!(report["partitions"][0]["records"] == 600, "{report}");
    scene.build(&expected).await?;
    Ok(())
}
