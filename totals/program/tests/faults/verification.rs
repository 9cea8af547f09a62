//! Totals that are not right, not known, or of another version or namespace: `stitch-totals verify`, `build`, and the
//! restorator's `plan`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stitch_common::cell::Amount;
use stitch_objects::ObjectFolder;
use stitch_totals::manifest::{Manifest, TotalsId};
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::sorted::tokens::TokenSelection;
use stitch_totals::sorted::{CellTotal, SortedCells as _};
use stitch_totals::totals_file::reader::TotalsReader;
use stitch_totals::totals_file::writer::TotalsWriter;
use stitch_totals::totals_folder::TotalsFolder;

use crate::scene::{Scene, expect_progress, expect_refusal, text};

/// The folder of the store.
fn root(scene: &Scene) -> PathBuf {
    scene.folder.path().join("store")
}

fn manifest_file(scene: &Scene, report: &Value) -> Result<PathBuf> {
    Ok(root(scene)
        .join(text(&report["folder"])?)
        .join("manifest.json"))
}

/// Changes a file of JSON.
fn change(file: &Path, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut value = serde_json::from_slice(&std::fs::read(file)?)?;
    change(&mut value);
    Ok(std::fs::write(file, serde_json::to_vec_pretty(&value)?)?)
}

/// Writes the totals again, with 1 more in the first cell of a counter and 1 less in its second: each checksum, the
/// digest and the sums are those of the altered cells.
async fn alter_consistently(scene: &Scene, id: &str) -> Result<()> {
    let folder = TotalsFolder::new(ObjectFolder::local(&root(scene))?, &scene.namespace.name);
    let id = TotalsId(id.to_owned());
    let manifest = folder.manifest(&id).await?.context("a manifest")?;
    let names = CounterNames::new(&manifest.subject.definitions);
    let elsewhere = tempfile::tempdir()?;
    let spill = SpillFolder::open(elsewhere.path(), 1 << 30)?;
    let bits = manifest.subject.definitions.range_bits;
    let mut cells = TotalsReader::new(&folder, &manifest, &names, TokenSelection::ALL);
    let mut writer = TotalsWriter::new(&folder, &id, &names, bits, &spill);
    let mut changes = vec![-1, 1];
    let mut first = None;
    while cells.load().await? {
        let mut is_at_cell = true;
        while is_at_cell {
            let cell = cells.current().context("a cell")?;
            let mut total = cell.total;
            if *first.get_or_insert(cell.name) == cell.name
                && let Some(change) = changes.pop()
            {
                total = Amount(total.0 + change);
            }
            writer.push(&CellTotal { total, ..cell }).await?;
            is_at_cell = cells.step()?;
        }
    }
    let written = writer.finish().await?;
    ensure!(changes.is_empty() && written.digest() != manifest.digest);
    let altered = Manifest {
        digest: written.digest(),
        files: written.files,
        ..manifest
    };
    let file = folder.manifest_name(&id).0;
    Ok(std::fs::write(root(scene).join(file), altered.encode())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_one_changed_count_whatever_the_manifest_says() -> Result<()> {
    let scene = Scene::in_folder("totals_verify", 2, "").await?;
    scene.send(1, 1000).await?;
    let report = scene.build(&scene.count_log().await?).await?;
    let id = text(&report["id"])?;
    let (finished, verified) = scene.finished("stitch-totals", &["verify", id]).await?;
    ensure!(finished.code == Some(0), "{verified}");
    let rows = verified["rows"].as_u64().context("rows")?;
    expect_progress(&finished, "adding up cells", rows, "cells")?;
    expect_progress(&finished, "reading the totals", rows, "cells")?;
    alter_consistently(&scene, id).await?;
    let (code, verified) = scene.totals(&["verify", id]).await?;
    ensure!(code == 1 && verified["outcome"] == "differs", "{verified}");
    let differences = verified["differences"].as_array().context("differences")?;
    ensure!(
        differences.len() == 1 && text(&differences[0])?.starts_with("digest: "),
        "only counting again can find it: {verified}"
    );
    // A file that was changed alone is damaged.
    let name = scene.objects(&["totals/", ".parquet"]).await?;
    let file = root(&scene).join(&name[0].0);
    let mut content = std::fs::read(&file)?;
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&file, content)?;
    let (code, verified) = scene.totals(&["verify", id]).await?;
    ensure!(code == 1, "{verified}");
    ensure!(
        verified["differences"]
            .to_string()
            .contains(&format!("{} is damaged", name[0])),
        "{verified}"
    );
    let unknown = scene.totals(&["verify", "0123456789abcdef"]).await?;
    expect_refusal(&unknown, &["there are no totals 0123456789abcdef"])?;
    ensure!(
        unknown.1["error"]["help"]
            .to_string()
            .contains("stitch-totals list")
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_of_a_newer_format_are_named_and_never_used() -> Result<()> {
    let scene = Scene::in_folder("newer_totals", 2, "").await?;
    scene.send(1, 500).await?;
    let first = scene.build(&scene.count_log().await?).await?;
    let id = text(&first["id"])?;
    let file = manifest_file(&scene, &first)?;
    change(&file, |manifest| manifest["format"] = json!(2))?;
    let words = [id, "manifest.json", "format 2"];
    // The same totals cannot be built.
    for refused in [
        scene.totals(&["build"]).await?,
        scene.totals(&["verify", id]).await?,
        scene.restorator(&["plan", "--base", id]).await?,
    ] {
        expect_refusal(&refused, &words)?;
        let help = refused.1["error"]["help"].to_string();
        ensure!(help.contains("version of Stitch"), "{refused:?}");
    }
    let (_, list) = scene.totals(&["list"]).await?;
    ensure!(
        list["totals"] == json!([]) && list["unreadable"][0]["id"] == id,
        "{list}"
    );
    // Later ones begin without them, and say so.
    scene.send(2, 500).await?;
    let report = scene.build(&scene.count_log().await?).await?;
    ensure!(report["records_read"] == 1000, "{report}");
    ensure!(report["notes"].to_string().contains(id), "{report}");
    let (code, plan) = scene.restorator(&["plan"]).await?;
    ensure!(code == 0 || code == 1, "{plan}");
    ensure!(plan["notes"].to_string().contains(id), "{plan}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_of_another_namespace_are_named_and_never_used() -> Result<()> {
    let scene = Scene::in_folder("own_totals", 2, "").await?;
    let other = Scene::in_folder("other_totals", 2, "").await?;
    scene.send(1, 300).await?;
    other.send(2, 400).await?;
    let foreign = other.build(&other.count_log().await?).await?;
    let id = text(&foreign["id"])?;
    let from = root(&other).join(text(&foreign["folder"])?);
    let to = root(&scene)
        .join("totals/v1")
        .join(&scene.namespace.name)
        .join(id);
    std::fs::create_dir_all(&to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    let words = [id, other.namespace.name.as_str()];
    for refused in [
        scene.totals(&["verify", id]).await?,
        scene.restorator(&["plan", "--base", id]).await?,
    ] {
        expect_refusal(&refused, &words)?;
    }
    let report = scene.build(&scene.count_log().await?).await?;
    ensure!(report["records_read"] == 300, "{report}");
    ensure!(report["notes"].to_string().contains(id), "{report}");
    Ok(())
}
