//! Archives whose chain is broken, met by who counts from them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use stitch_harness::feed::forget_records;
use stitch_harness::recount::Cells;
use stitch_harness::zookeeper::ZooKeeperClient;

use crate::scene::{BOUND, Scene, expect_refusal};

/// An archive of which Kafka has nothing any more.
struct Archived {
    scene: Scene,
    /// The contents of its segments, by name.
    segments: BTreeMap<String, Vec<u8>>,
    /// What its records add up to.
    expected: Cells,
}

impl Archived {
    /// Three segments of each of two partitions.
    async fn new(name: &str) -> Result<Self> {
        let scene = Scene::in_folder(name, 2, "").await?;
        // A restoration needs checkpoints.
        let processor = scene.namespace.processor("processor").await?;
        for seed in 1..4 {
            scene.send(seed, 400).await?;
            scene.archive_once().await?;
        }
        scene.namespace.lag()?.until_none(BOUND).await?;
        scene.namespace.stop([processor]).await?;
        let expected = scene.count_log().await?;
        let report = scene.ensure_archive_is_whole().await?;
        for partition in [0, 1] {
            let end = report["partitions"][partition]["complete_to"].as_i64();
            let (kafka, topic) = (&scene.namespace.servers.kafka, scene.namespace.topic());
            let number = i32::try_from(partition)?;
            forget_records(kafka, topic, number, end.unwrap_or_default()).await?;
        }
        let mut segments = BTreeMap::new();
        for name in scene.objects(&[".parquet"]).await? {
            let path = scene.folder.path().join("store").join(&name.0);
            segments.insert(name.0, std::fs::read(path)?);
        }
        ensure!(segments.len() == 6, "{:?}", segments.keys());
        Ok(Self {
            scene,
            segments,
            expected,
        })
    }

    /// The names of a partition's segments, in order.
    fn names(&self, partition: i32) -> Vec<String> {
        let folder = format!("/p={partition}/");
        let names = self.segments.keys();
        names
            .filter(|name| name.contains(&folder))
            .cloned()
            .collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scene.folder.path().join("store").join(name)
    }

    /// How often a lock of each range was taken or released.
    async fn changes_of_locks(&self) -> Result<BTreeMap<String, i32>> {
        let namespace = &self.scene.namespace;
        let zookeeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
        let ranges = format!("/stitch/{}/ranges", namespace.name);
        let mut changes = BTreeMap::new();
        for range in zookeeper.children(&ranges).await? {
            let path = format!("{ranges}/{range}");
            changes.insert(range, zookeeper.changes_of_children(&path).await?);
        }
        ensure!(!changes.is_empty(), "{ranges} has no ranges");
        Ok(changes)
    }

    /// Fails unless every command that counts from the archive refuses with these words while the object `name` has this
    /// content, or is missing. Then it is again what it was.
    async fn all_refuse(&self, name: &str, content: Option<&[u8]>, words: &[&str]) -> Result<()> {
        match content {
            Some(content) => std::fs::write(self.path(name), content)?,
            None => std::fs::remove_file(self.path(name))?,
        }
        for refused in [
            self.scene.totals(&["build"]).await?,
            self.scene.restorator(&["plan"]).await?,
            self.scene.restorator(&["run", "--now"]).await?,
        ] {
            expect_refusal(&refused, words)?;
        }
        ensure!(self.scene.objects(&["manifest.json"]).await?.is_empty());
        Ok(std::fs::write(self.path(name), &self.segments[name])?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chain_is_refused_by_name_before_anything_is_locked() -> Result<()> {
    let archived = Archived::new("broken_chain").await?;
    let before = archived.changes_of_locks().await?;
    let names = archived.names(0);
    let (first, second) = (names[0].as_str(), names[1].as_str());
    let content = &archived.segments[second];
    let cut = &content[..content.len() / 2];
    let damaged = [second, "is damaged"];
    archived.all_refuse(second, Some(cut), &damaged).await?;
    // Only who reads its records can see it.
    let mut changed = content.clone();
    changed[content.len() / 3] ^= 1;
    archived
        .all_refuse(second, Some(&changed), &damaged)
        .await?;
    // An earlier one is there twice.
    let misplaced = [second, "does not belong there"];
    let doubled = &archived.segments[first];
    archived
        .all_refuse(second, Some(doubled), &misplaced)
        .await?;
    // One of another partition.
    let foreign = &archived.segments[&archived.names(1)[0]];
    archived
        .all_refuse(first, Some(foreign), &[first, "does not belong there"])
        .await?;
    // What is behind a missing one does not count.
    let digits = second.trim_end_matches(".parquet").rsplit('/').next();
    let from: i64 = digits.unwrap_or_default().parse()?;
    let gap = format!("a gap between offset {from} and offset ");
    archived
        .all_refuse(second, None, &[&gap, "of partition 0"])
        .await?;

    let after = archived.changes_of_locks().await?;
    ensure!(before == after, "a range was locked: {before:?} {after:?}");
    archived.scene.ensure_archive_is_whole().await?;
    archived.scene.build(&archived.expected).await?;
    Ok(())
}
