//! The archiver's binary on a real Kafka (`STITCH_TEST_KAFKA`), with the archive in a folder: transactions, aborted records,
//! kills, two at once, and records that Kafka has deleted.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use stitch_archive::reader::Archive;
use stitch_archive::segment::row_group::Columns;
use stitch_common::offset::{Offset, Partition};
use stitch_harness::connect_files;
use stitch_harness::events::{COUNTERS, Generator, Record, Shape};
use stitch_harness::feed::{alter_topic, create_topic, delete_topic, forget_records, records_of};
use stitch_harness::process::{Finished, Process, Program};
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::transaction::{End, send_in_transactions};
use stitch_harness::web::metric;
use stitch_objects::ObjectFolder;

const BOUND: Duration = Duration::from_secs(90);

/// A topic with a configuration, and an archive of it in a folder that is new.
struct Scene {
    namespace: TestNamespace,
    store: tempfile::TempDir,
}

impl Scene {
    /// `settings` are those of `[archive]`, beside the URL.
    async fn new(name: &str, partitions: i32, settings: &str) -> Result<Self> {
        let mut config = TestConfig::new(name)?;
        config.partitions = partitions;
        let store = tempfile::tempdir()?;
        let url = format!("file://{}/archive", store.path().display());
        config.config = format!("{COUNTERS}\n[archive]\nurl = \"{url}\"\n{settings}\n");
        let namespace = TestNamespace::bare(&Servers::from_environment()?, &config).await?;
        Ok(Self { namespace, store })
    }

    fn program(&self, arguments: &[&str]) -> Program {
        let config = self.namespace.config.display().to_string();
        let arguments = arguments.iter().copied().chain(["--config", &config]);
        let number = uuid::Uuid::new_v4().as_fields().0;
        Program {
            name: format!("stitch-archive-{number}"),
            path: env!("CARGO_BIN_EXE_stitch-archive").into(),
            arguments: arguments.map(str::to_owned).collect(),
            environment: Vec::new(),
            folder: self.namespace.folder.clone(),
        }
    }

    async fn run(&self, arguments: &[&str]) -> Result<Finished> {
        self.program(arguments).run(BOUND).await
    }

    /// [`json_of`] a command.
    async fn json(&self, arguments: &[&str]) -> Result<(i32, Value)> {
        let arguments = [arguments, &["--output", "json"]].concat();
        json_of(self.program(&arguments)).await
    }

    /// Starts `run`, and waits until it serves its metrics.
    async fn start(&self) -> Result<(Process, String)> {
        let mut process = self.program(&["run"]).start()?;
        let line = process.until_says("listening on ", BOUND).await?;
        let address = line.rsplit("http://").next().context("an address")?;
        Ok((process, address.trim().to_owned()))
    }

    /// What the archive has, by partition, and the position up to which each is complete.
    async fn archived(&self) -> Result<BTreeMap<i32, (Vec<Record>, Offset)>> {
        let root = self.store.path().join("archive/archive/v1");
        let mut archived = BTreeMap::new();
        let Some(cluster) = only_folder(&root)? else {
            return Ok(archived);
        };
        let url = format!("file://{}/archive", self.store.path().display());
        let store = ObjectFolder::open("archive.url", &url)?;
        let archive = Archive::new(store, &cluster, self.namespace.topic());
        for partition in 0..8 {
            let chain = archive.chain(Partition(partition)).await?;
            let Some(complete_to) = chain.complete_to() else {
                continue;
            };
            let mut records = Vec::new();
            for segment in &chain.segments {
                let opened = archive.open(Partition(partition), segment, Columns::All);
                let mut reader = opened.await?;
                while let Some(rows) = reader.next().await? {
                    records.extend(rows.iter().map(|row| Record {
                        key: row.key.unwrap_or_default().to_vec(),
                        value: row.value.map(<[u8]>::to_vec),
                    }));
                }
            }
            archived.insert(partition, (records, complete_to));
        }
        Ok(archived)
    }

    /// Ensures that the archive has every record of the topic once, as another client reads them.
    async fn ensure_whole(&self) -> Result<usize> {
        let topic = self.namespace.topic();
        let read = records_of(&self.namespace.servers.kafka, topic)?;
        let mut expected: Vec<_> = read.into_iter().map(|(record, _)| record).collect();
        let archived = self.archived().await?.into_values();
        let mut archived: Vec<_> = archived.flat_map(|(records, _)| records).collect();
        let by_content = |a: &Record, b: &Record| (&a.key, &a.value).cmp(&(&b.key, &b.value));
        expected.sort_by(by_content);
        archived.sort_by(by_content);
        ensure!(
            archived == expected,
            "{} records are archived, and {} in the log",
            archived.len(),
            expected.len()
        );
        let (code, report) = self.json(&["verify"]).await?;
        ensure!(code == 0 && report["outcome"] == "whole", "{report}");
        Ok(archived.len())
    }

    fn events(&self, seed: u64, count: usize) -> Result<Vec<Record>> {
        let shape = Shape {
            seed,
            ..Shape::default()
        };
        Ok(Generator::new(shape)?.take(count).collect())
    }
}

/// Runs a program to its end; its exit code, and the JSON object that is all of its standard output.
async fn json_of(program: Program) -> Result<(i32, Value)> {
    let finished = program.run(BOUND).await?;
    let object = serde_json::from_str(&finished.output);
    let object = object.with_context(|| format!("{finished:?}"))?;
    Ok((finished.code.context("an exit code")?, object))
}

fn only_folder(root: &Path) -> Result<Option<String>> {
    if !root.exists() {
        return Ok(None);
    }
    let first = std::fs::read_dir(root)?.next().transpose()?;
    Ok(first.map(|entry| entry.file_name().to_string_lossy().into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_archived_up_to_the_end_without_what_was_aborted() -> Result<()> {
    let scene = Scene::new("archive_transactions", 1, "").await?;
    let (kafka, topic) = (&scene.namespace.servers.kafka, scene.namespace.topic());
    let events = scene.events(1, 60)?;
    let mut transactions = Vec::new();
    for (at, records) in events.chunks(10).enumerate() {
        let end = if at % 2 == 0 { End::Commit } else { End::Abort };
        transactions.push((records.to_vec(), end));
    }
    send_in_transactions(kafka, topic, topic, transactions).await?;
    let (code, report) = scene.json(&["run", "--once"]).await?;
    ensure!(code == 0 && report["outcome"] == "archived", "{report}");
    // 60 records, and a marker for each of 6 transactions.
    ensure!(
        report["complete_to"]["0"] == 66 && report["records"] == 30,
        "{report}"
    );
    ensure!(scene.ensure_whole().await? == 30);
    let archived = scene.archived().await?;
    ensure!(archived[&0].0[10..20] == events[20..30]);
    // Nothing is new.
    let (code, report) = scene.json(&["run", "--once"]).await?;
    ensure!(code == 0 && report["segments"] == 0, "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn archivers_that_race_and_are_killed_archive_every_record_once() -> Result<()> {
    let settings = "segment_mib = 1\nsegment_ms = 300\n";
    let scene = Scene::new("archive_race", 3, settings).await?;
    let feed = scene.namespace.feed()?;
    let live = feed.live(scene.events(2, 60_000)?.into_iter(), 6000);
    let mut archivers = vec![scene.start().await?.0, scene.start().await?.0];
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut killed = archivers.remove(round % 2);
        killed.kill().await?;
        archivers.insert(round % 2, scene.start().await?.0);
    }
    live.finish().await?;
    let mut overtaken = 0;
    for archiver in archivers {
        let finished = archiver.stop(BOUND).await?;
        ensure!(finished.code == Some(0), "{finished:?}");
        overtaken += finished
            .errors
            .matches("another archiver was faster")
            .count();
    }
    let (code, report) = scene.json(&["run", "--once"]).await?;
    ensure!(code == 0, "{report}");
    ensure!(scene.ensure_whole().await? == 60_000);
    ensure!(overtaken > 0, "they never met");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_archiver_has_health_metrics_and_puts_what_it_read_before_it_ends() -> Result<()>
{
    let scene = Scene::new("archive_run", 2, "").await?;
    scene.namespace.feed()?.send(scene.events(3, 5000)?).await?;
    let (archiver, address) = scene.start().await?;
    let mut buffered = 0.0;
    for _ in 0..200 {
        let (_, page) = stitch_harness::web::get(&address, "/metrics").await?;
        buffered = metric(&page, "stitch_archive_buffered_bytes").unwrap_or(0.0);
        if buffered > 500_000.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(buffered > 500_000.0, "nothing is read: {buffered}");
    let health = stitch_harness::web::get(&address, "/health").await?;
    ensure!(health.0 == 200, "{health:?}");
    // Segments are large and old by default: nothing is put yet.
    ensure!(
        scene
            .archived()
            .await?
            .values()
            .all(|(records, _)| records.is_empty())
    );
    archiver.signal(Signal::TERM)?;
    let finished = archiver.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    // It need not have read everything by then.
    let archived = scene.archived().await?;
    let records = archived.values().flat_map(|(records, _)| records);
    let bytes: usize = records.map(in_memory).sum();
    ensure!(
        f64::from(u32::try_from(bytes)?) >= buffered,
        "{bytes} of {buffered} bytes"
    );
    let (code, report) = scene.json(&["run", "--once"]).await?;
    ensure!(code == 0, "{report}");
    ensure!(scene.ensure_whole().await? == 5000);
    Ok(())
}

/// The bytes that a record takes at most in an archiver's memory.
fn in_memory(record: &Record) -> usize {
    100 + record.key.len() + record.value.as_ref().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_kafka_has_deleted_stop_their_partition_and_status_says_so() -> Result<()> {
    let scene = Scene::new("archive_lost", 1, "").await?;
    let (kafka, topic) = (&scene.namespace.servers.kafka, scene.namespace.topic());
    scene.namespace.feed()?.send(scene.events(4, 100)?).await?;
    // Kafka deletes what is archived: fine.
    scene.run(&["run", "--once"]).await?;
    forget_records(kafka, topic, 0, 100).await?;
    alter_topic(kafka, topic, "retention.ms", "3600000").await?;
    scene.namespace.feed()?.send(scene.events(5, 20)?).await?;
    let (code, report) = scene.json(&["status"]).await?;
    let status = &report["partitions"][0];
    ensure!(code == 0 && report["outcome"] == "fine", "{report}");
    ensure!(
        status["complete_to"] == 100 && status["behind_records"] == 20,
        "{report}"
    );
    let left = status["retention_left_seconds"]
        .as_i64()
        .context("a retention")?;
    ensure!((3000..=3600).contains(&left), "{report}");
    scene.run(&["run", "--once"]).await?;
    ensure!(scene.archived().await?[&0].1 == Offset(120));
    // And what is not: the chain ends there.
    scene.namespace.feed()?.send(scene.events(6, 20)?).await?;
    forget_records(kafka, topic, 0, 130).await?;
    let (code, report) = scene.json(&["run", "--once"]).await?;
    ensure!(code == 2 && report["outcome"] == "incomplete", "{report}");
    ensure!(report["stopped"][0]["offset"] == 120, "{report}");
    let message = report["error"]["message"].as_str().context("a message")?;
    ensure!(
        message.contains("from offset 120 on") && message.contains("begins at 130"),
        "{report}"
    );
    ensure!(scene.archived().await?[&0].1 == Offset(120));
    let (code, report) = scene.json(&["status"]).await?;
    ensure!(
        code == 1 && report["partitions"][0]["alarm"] == true,
        "{report}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_and_a_damaged_segment_are_refused_by_name() -> Result<()> {
    let scene = Scene::new("archive_anew", 1, "").await?;
    let (kafka, topic) = (&scene.namespace.servers.kafka, scene.namespace.topic());
    scene.namespace.feed()?.send(scene.events(7, 50)?).await?;
    scene.run(&["run", "--once"]).await?;
    let root = scene.store.path().join("archive/archive/v1");
    let cluster = only_folder(&root)?.context("a cluster")?;
    let segment = root
        .join(cluster)
        .join(topic)
        .join("p=0/00000000000000000000.parquet");
    let content = std::fs::read(&segment)?;
    let mut damaged = content.clone();
    damaged[content.len() / 3] ^= 4;
    std::fs::write(&segment, damaged)?;
    let (code, report) = scene.json(&["verify"]).await?;
    let problem = report["partitions"][0]["problems"][0].clone();
    ensure!(code == 1 && report["outcome"] == "damaged", "{report}");
    let named = problem["object"].as_str().context("an object")?;
    ensure!(
        named.ends_with("p=0/00000000000000000000.parquet"),
        "{problem}"
    );
    std::fs::write(&segment, content)?;
    delete_topic(kafka, topic).await?;
    create_topic(kafka, topic, 1).await?;
    scene.namespace.feed()?.send(scene.events(8, 90)?).await?;
    for command in [["run", "--once"].as_slice(), &["status"]] {
        let (code, report) = scene.json(command).await?;
        let message = report["error"]["message"].as_str().context("a message")?;
        ensure!(
            code == 2 && message.contains("is not the one that was archived"),
            "{report}"
        );
    }
    ensure!(scene.archived().await?[&0].1 == Offset(50));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_wrong_url_is_one_sentence() -> Result<()> {
    let scene = Scene::new("archive_url", 1, "").await?;
    let blocked = scene.store.path().join("blocked");
    std::fs::write(&blocked, "a file, not a folder")?;
    let url = format!("file://{}/x", blocked.display());
    for (url, said) in [
        ("ftp://host/x", "none of file, s3, gs and az"),
        (&url, "refused"),
    ] {
        scene
            .namespace
            .configure(&format!("{COUNTERS}\n[archive]\nurl = \"{url}\""))?;
        let (code, report) = scene.json(&["run", "--once"]).await?;
        let message = report["error"]["message"].as_str().context("a message")?;
        ensure!(code == 2 && message.contains(said), "{report}");
    }
    scene.namespace.configure(COUNTERS)?;
    let (code, report) = scene.json(&["status"]).await?;
    let message = report["error"]["message"].as_str().context("a message")?;
    ensure!(
        code == 2 && message.contains("archive.url is missing"),
        "{report}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_up_to_the_end_ends_though_events_keep_arriving() -> Result<()> {
    let scene = Scene::new("archive_moving_end", 2, "").await?;
    let feed = scene.namespace.feed()?;
    feed.send(scene.events(9, 500)?).await?;
    let shape = Shape {
        seed: 10,
        ..Shape::default()
    };
    // Every answer of Kafka is later than the next events: who followed the end as it moves would never reach it.
    let proxy = Proxy::kafka(&scene.namespace.servers.kafka).await?;
    proxy.set(Mode::Delay(Duration::from_millis(200)));
    let live = feed.live(Generator::new(shape)?, 500);
    let mut program = scene.program(&["run", "--once", "--output", "json"]);
    let bootstrap = "STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS";
    program.environment = vec![(bootstrap.to_owned(), proxy.address())];
    let (code, report) = json_of(program).await?;
    let (_, sent) = live.stop().await?;
    ensure!(code == 0 && report["outcome"] == "archived", "{report}");
    let archived = report["records"].as_u64().context("records")?;
    ensure!((500..=500 + sent).contains(&archived), "{report}");
    let (code, report) = scene.json(&["run", "--once"]).await?;
    ensure!(code == 0, "{report}");
    ensure!(scene.ensure_whole().await? == usize::try_from(500 + sent)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_exits_with_1_before_the_retention_is_used_up() -> Result<()> {
    const RETENTION: Duration = Duration::from_secs(20);
    let scene = Scene::new("archive_retention", 1, "").await?;
    let (kafka, topic) = (&scene.namespace.servers.kafka, scene.namespace.topic());
    scene.namespace.feed()?.send(scene.events(11, 30)?).await?;
    alter_topic(kafka, topic, "retention.ms", "3600000").await?;
    let (code, report) = scene.json(&["status"]).await?;
    ensure!(code == 0 && report["outcome"] == "fine", "{report}");
    // Kafka looks every five minutes for what it may delete, so that the records stay.
    let retention = RETENTION.as_millis().to_string();
    alter_topic(kafka, topic, "retention.ms", &retention).await?;
    let alarmed = async {
        loop {
            let (code, report) = scene.json(&["status"]).await?;
            if code == 1 {
                return anyhow::Ok(report);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let report = tokio::time::timeout(BOUND, alarmed).await??;
    let partition = &report["partitions"][0];
    let left = partition["retention_left"].as_f64().context("a share")?;
    ensure!(left < 0.5 && partition["alarm"] == true, "{report}");
    ensure!(partition["behind_records"] == 30, "{report}");
    scene.run(&["run", "--once"]).await?;
    let (code, report) = scene.json(&["status"]).await?;
    ensure!(code == 0 && report["outcome"] == "fine", "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_imported_are_named_and_nothing_is_archived() -> Result<()> {
    let scene = Scene::new("archive_import_bad", 1, "").await?;
    let topic = scene.namespace.topic();
    let events = scene.events(12, 30)?;
    scene.namespace.feed()?.send(events.iter().cloned()).await?;
    let refused = async |command: &str, url: &str, words: &[&str]| {
        let (code, report) = scene.json(&[command, url]).await?;
        let message = report["error"]["message"].as_str().context("a message")?;
        let help = report["error"]["help"].as_str().context("a help")?;
        ensure!(code == 2 && !help.is_empty(), "{command} {url}: {report}");
        for word in words {
            ensure!(message.contains(word), "{word}: {command} {url}: {report}");
        }
        anyhow::Ok(())
    };
    let files = tempfile::tempdir()?;
    let root = files.path().display().to_string();
    let url = format!("file://{root}");
    for command in ["import", "seal"] {
        refused(command, "backup", &["backup"]).await?;
        refused(command, "ftp://host/x", &["ftp"]).await?;
        refused(command, &format!("{url}/missing"), &[topic, "missing"]).await?;
        refused(command, &url, &["no files of the topic", topic, &root]).await?;
    }
    let folder = files.path().join("topics").join(topic).join("partition=0");
    let name = |first: u32| folder.join(format!("{topic}+0+{first:010}.bin"));
    let write = || {
        std::fs::remove_dir_all(files.path().join("topics")).ok();
        connect_files::write(files.path(), topic, &events, 10)
    };
    ensure!(write()? == 3);
    // The first and the last value have changed places.
    let content = std::fs::read_to_string(name(20))?;
    let mut lines: Vec<&str> = content.split_inclusive('\n').collect();
    lines.swap(0, 9);
    std::fs::write(name(20), lines.concat())?;
    refused(
        "seal",
        &url,
        &["line 1 of", "+0+0000000020.bin", "offset 20"],
    )
    .await?;
    // What Kafka has is left to `run`.
    forget_records(&scene.namespace.servers.kafka, topic, 0, 25).await?;
    refused(
        "import",
        &url,
        &["line 10 of", "+0+0000000020.bin", "offset 29"],
    )
    .await?;
    // Cut in the middle of a line; and one that `seal` had compared before it found the other.
    for (first, why) in [(20, "line end"), (10, "since it was sealed")] {
        write()?;
        let whole = std::fs::read(name(first))?;
        std::fs::write(name(first), &whole[..whole.len() - 7])?;
        let file = format!("+0+{first:010}.bin");
        refused("import", &url, &[&file, why]).await?;
    }
    // One of three is missing.
    write()?;
    std::fs::remove_file(name(10))?;
    refused(
        "import",
        &url,
        &["+0+0000000000.bin", "+0+0000000020.bin", "missing"],
    )
    .await?;
    ensure!(scene.archived().await?.is_empty());
    write()?;
    let (code, report) = scene.json(&["import", &url]).await?;
    ensure!(code == 0 && report["outcome"] == "imported", "{report}");
    Ok(())
}
