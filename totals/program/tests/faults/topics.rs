//! Topics and definitions that change, and topics with transactions, while they are archived and counted.

use anyhow::{Context, Result, ensure};
use stitch_harness::feed::{alter_topic, create_topic, delete_topic, forget_records, grow_topic};
use stitch_harness::process::Process;
use stitch_harness::transaction::{End, send_in_transactions};

use tokio::time::timeout;

use crate::scene::{BOUND, Scene, events, expect_refusal, text};

/// A counter that is added later.
const LIKES: &str = "
[[counter]]
name = \"likes\"
on = [\"like\"]
key = \"track\"
granularities = [\"day\", \"all\"]
";

/// Restores everything; fails unless every cell is right by the independent recount.
async fn restore(scene: &Scene, processors: Vec<Process>) -> Result<()> {
    let (code, report) = scene.restorator(&["run", "--now"]).await?;
    ensure!(code == 0 && report["outcome"] == "verified", "{report}");
    let verdict = scene.namespace.recount().await?;
    ensure!(verdict.all_right(), "{verdict}");
    scene.namespace.stop(processors).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_added_is_archived_and_counted_from_its_first_record() -> Result<()> {
    let scene = Scene::in_folder("added_partition", 1, "segment_ms = 200\n").await?;
    let namespace = &scene.namespace;
    let processor = namespace.processor("processor").await?;
    let archiver = scene.archiver().await?;
    scene.send(1, 300).await?;
    namespace.lag()?.until_none(BOUND).await?;
    grow_topic(&namespace.servers.kafka, namespace.topic(), 2).await?;
    let mut sent = 0;
    // Who produces, and who archives, sees the new partition a moment later.
    let sending = async {
        while scene.objects(&["/p=1/", ".parquet"]).await?.is_empty() {
            sent += 1;
            namespace.feed()?.send(events(1 + sent, 20)?).await?;
        }
        anyhow::Ok(())
    };
    let archived = timeout(BOUND, sending).await;
    archived.context("the new partition is not archived")??;
    // Kafka assigns it with the next rebalance of the group.
    let another = namespace.processor("another").await?;
    namespace.lag()?.until_none(BOUND).await?;
    scene.until_archived().await?;
    let finished = archiver.stop(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let expected = scene.count_log().await?;
    let report = scene.ensure_archive_is_whole().await?;
    ensure!(report["partitions"][1]["origin"] == 0, "{report}");
    namespace.forget_log().await?;
    let report = scene.build(&expected).await?;
    let records = report["records_read"].as_u64().context("records")?;
    ensure!(records == 300 + 20 * sent, "{report}");
    restore(&scene, vec![processor, another]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_is_added_is_counted_from_the_archives_beginning() -> Result<()> {
    let scene = Scene::in_folder("added_counter", 2, "").await?;
    let namespace = &scene.namespace;
    let processor = namespace.processor("processor").await?;
    scene.send(1, 600).await?;
    namespace.lag()?.until_none(BOUND).await?;
    scene.archive_once().await?;
    scene.build(&scene.count_log().await?).await?;
    namespace.stop([processor]).await?;

    scene.configure(&scene.url, LIKES)?;
    let mut expected = scene.count_log().await?;
    ensure!(expected.keys().any(|cell| cell.counter == "likes"));
    namespace.forget_log().await?;
    let updated = namespace.processor_command("init", &["--update"])?;
    let updated = updated.run(BOUND).await?;
    ensure!(updated.code == Some(0), "{updated:?}");
    let processor = namespace.processor("successor").await?;
    scene.send(2, 300).await?;
    namespace.lag()?.until_none(BOUND).await?;
    for (cell, count) in scene.count_log().await? {
        *expected.entry(cell).or_default() += count;
    }
    expected.retain(|_, count| *count != 0);
    let (code, report) = scene.totals(&["build", "--counter", "likes"]).await?;
    ensure!(code == 0 && report["outcome"] == "built", "{report}");
    scene.ensure_totals_are(&report, &expected).await?;
    let verdict = namespace.recount().await?;
    ensure!(!verdict.all_right(), "its past was not counted yet");
    restore(&scene, vec![processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_of_archived_transactions_have_what_was_committed() -> Result<()> {
    let scene = Scene::in_folder("transactions", 1, "").await?;
    let (kafka, topic) = (&scene.namespace.servers.kafka, scene.namespace.topic());
    let events = events(1, 120)?;
    let end = |at: usize| if at % 3 == 1 { End::Abort } else { End::Commit };
    let chunks = events.chunks(10).enumerate();
    let transactions = chunks.map(|(at, records)| (records.to_vec(), end(at)));
    send_in_transactions(kafka, topic, topic, transactions.collect()).await?;
    let expected = scene.count_log().await?;
    let report = scene.archive_once().await?;
    // 120 records, of which 40 were aborted, and a marker for each of 12 transactions.
    ensure!(
        report["complete_to"]["0"] == 132 && report["records"] == 80,
        "{report}"
    );
    forget_records(kafka, topic, 0, 132).await?;
    let report = scene.build(&expected).await?;
    ensure!(
        report["records_read"] == 80 && !expected.is_empty(),
        "{report}"
    );
    Ok(())
}

/// Nothing of it is archived, so that nothing but ZooKeeper knows the former topic's records.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_again_is_not_added_to_the_totals_of_the_former() -> Result<()> {
    let scene = Scene::in_folder("made_again", 1, "").await?;
    let namespace = &scene.namespace;
    let (kafka, topic) = (&namespace.servers.kafka, namespace.topic());
    let processor = namespace.processor("processor").await?;
    scene.send(1, 100).await?;
    namespace.lag()?.until_none(BOUND).await?;
    namespace.stop([processor]).await?;
    let former = scene.build(&scene.count_log().await?).await?;
    delete_topic(kafka, topic).await?;
    create_topic(kafka, topic, 1).await?;
    for (seed, count) in [(2, 50), (3, 100)] {
        scene.send(seed, count).await?;
        for command in [&["build"][..], &["verify", text(&former["id"])?]] {
            let refused = scene.totals(command).await?;
            let words = [topic, "partition 0", "its first record is another one"];
            expect_refusal(&refused, &words)?;
        }
    }
    let manifests = scene.objects(&["manifest.json"]).await?;
    ensure!(manifests.len() == 1, "{manifests:?}");
    Ok(())
}

/// Of a compacted topic records are missing, and a gap of offsets looks as one between transactions does.
#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_neither_archived_nor_added_up() -> Result<()> {
    let scene = Scene::in_folder("compacted", 1, "").await?;
    let namespace = &scene.namespace;
    scene.send(1, 50).await?;
    let policy = async |policy: &str| {
        let kafka = &namespace.servers.kafka;
        alter_topic(kafka, namespace.topic(), "cleanup.policy", policy).await
    };
    policy("compact,delete").await?;
    for refused in [
        scene.archive(&["run", "--once"]).await?,
        scene.totals(&["build"]).await?,
    ] {
        expect_refusal(&refused, &["compacted", "cleanup.policy"])?;
    }
    policy("delete").await?;
    scene.archive_once().await?;
    scene.build(&scene.count_log().await?).await.map(drop)
}
