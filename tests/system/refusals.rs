//! Refusals of what would falsify counts: each with help, and without counting anything.

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::feed::{alter_topic, create_topic, delete_topic, forget_records};
use stitch_harness::recount::{read_table, session};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::zookeeper::ZooKeeperClient;

use stitch_tests::scene::{
    BOUND, all_right, count, expect_refusal, json_object, restorator_json, restore, some_events,
    test_namespace,
};

/// Creates a namespace, counts its first events, and stops the processor.
async fn counted_namespace(name: &str) -> Result<TestNamespace> {
    let namespace = test_namespace(name).await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    namespace.stop([processor]).await?;
    Ok(namespace)
}

/// Fails unless a processor exits with 2, and with these words in its log.
async fn processor_refuses(namespace: &TestNamespace, words: &[&str]) -> Result<()> {
    let run = namespace.processor_command("run", &[])?;
    let finished = run.run(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    let errors = finished.errors.to_lowercase();
    for word in words {
        ensure!(errors.contains(word), "\"{word}\" is not in {errors}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_first_events_is_refused() -> Result<()> {
    let namespace = counted_namespace("short_log").await?;
    forget_records(&namespace.servers.kafka, namespace.topic(), 0, 10).await?;
    let gap = "a gap between offset 0 and offset 10 of partition 0";
    let (code, answer) = restorator_json(&namespace, "plan", &[]).await?;
    expect_refusal(code, &answer, &[gap])?;
    let (code, answer) = restorator_json(&namespace, "run", &["--now"]).await?;
    expect_refusal(code, &answer, &[gap])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_log_is_refused() -> Result<()> {
    let namespace = counted_namespace("compacted").await?;
    let kafka = &namespace.servers.kafka;
    alter_topic(kafka, namespace.topic(), "cleanup.policy", "compact").await?;
    let (code, answer) = restorator_json(&namespace, "plan", &[]).await?;
    expect_refusal(code, &answer, &["compact"])
}

#[tokio::test(flavor = "multi_thread")]
async fn another_topic_of_the_same_name_is_refused() -> Result<()> {
    let namespace = counted_namespace("other_topic").await?;
    let kafka = &namespace.servers.kafka;
    delete_topic(kafka, namespace.topic()).await?;
    let again = async {
        // Kafka deletes in the background: the name is taken for a moment.
        while create_topic(kafka, namespace.topic(), 4).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(BOUND, again).await?;
    namespace.feed()?.send(some_events(2, 800)?).await?;
    let (code, answer) = restorator_json(&namespace, "plan", &[]).await?;
    expect_refusal(code, &answer, &[namespace.topic()])?;
    processor_refuses(&namespace, &[namespace.topic()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_namespace_is_refused() -> Result<()> {
    let first = counted_namespace("claimed").await?;
    let second =
        TestNamespace::bare(&Servers::from_environment()?, &TestConfig::new("claims")?).await?;
    second.configure(&format!(
        "{}\n[cassandra]\nkeyspace = \"{}\"",
        stitch_harness::events::COUNTERS,
        first.keyspace()
    ))?;
    let init = second.processor_command("init", &["--output", "json"])?;
    let finished = init.run(BOUND).await?;
    expect_refusal(finished.code, &json_object(&finished)?, &[&first.name])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_its_checkpoint_is_not_counted_again() -> Result<()> {
    let namespace = counted_namespace("no_progress").await?;
    let zookeeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let progress = format!("/stitch/{}/partitions/0/checkpoint", namespace.name);
    let kept = zookeeper.data(&progress).await?;
    zookeeper.delete(&progress).await?;
    let processor = namespace.processor("again").await?;
    namespace.feed()?.send(some_events(2, 500)?).await?;
    let (code, answer) = restorator_json(&namespace, "run", &["--now"]).await?;
    expect_refusal(code, &answer, &["checkpoint"])?;
    drop((processor, kept));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_from_an_old_copy_of_zookeeper_is_refused() -> Result<()> {
    let namespace = counted_namespace("old_progress").await?;
    let zookeeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let paths: Vec<String> = (0..4)
        .map(|p| format!("/stitch/{}/partitions/{p}/checkpoint", namespace.name))
        .collect();
    let mut old = Vec::new();
    for path in &paths {
        old.push(zookeeper.data(path).await?);
    }
    let processor = namespace.processor("further").await?;
    count(&namespace, some_events(2, 500)?).await?;
    namespace.stop([processor]).await?;
    let mut new = Vec::new();
    for (path, data) in paths.iter().zip(&old) {
        new.push(zookeeper.data(path).await?);
        zookeeper.set(path, data).await?;
    }
    let mut refusing = namespace.processor_command("run", &[])?.start()?;
    refusing.until_says("behind", BOUND).await?;
    all_right(&namespace)
        .await
        .context("nothing was counted twice")?;
    drop(refusing);
    for (path, data) in paths.iter().zip(&new) {
        zookeeper.set(path, data).await?;
    }
    let processor = namespace.processor("healed").await?;
    count(&namespace, some_events(3, 500)?).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_another_namespace_is_refused() -> Result<()> {
    let (first, second) = (
        counted_namespace("plan_here").await?,
        counted_namespace("plan_there").await?,
    );
    let file = first.folder.join("plan.json").display().to_string();
    let (code, plan) = restorator_json(&first, "plan", &["--plan-file", &file]).await?;
    ensure!(code == Some(0), "{plan}");
    let (code, answer) = restorator_json(&second, "run", &[&file]).await?;
    expect_refusal(code, &answer, &["plan"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_other_definitions_does_not_start() -> Result<()> {
    let namespace = counted_namespace("other_definitions").await?;
    let changed = stitch_harness::events::COUNTERS.replace("\"cents\"", "\"pence\"");
    namespace.configure(&changed)?;
    processor_refuses(&namespace, &["revenue"]).await?;
    let (code, answer) = restorator_json(&namespace, "plan", &[]).await?;
    expect_refusal(code, &answer, &["revenue"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_cell_is_named_as_unverified() -> Result<()> {
    let namespace = counted_namespace("deleted").await?;
    let session = session(&namespace.servers.cassandra).await?;
    let cells = read_table(&session, namespace.keyspace()).await?;
    let id = cells.keys().next().context("a cell")?;
    let corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 8).await?;
    corruptor.delete(id).await?;
    let processor = namespace.processor("again").await?;
    let (code, answer) = restorator_json(&namespace, "run", &["--now"]).await?;
    ensure!(code == Some(2), "run exited with {code:?}: {answer}");
    ensure!(answer.to_string().contains(&id.key), "{answer}");
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_to_the_topic_are_counted() -> Result<()> {
    let namespace = test_namespace("grown").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    stitch_harness::feed::grow_topic(&namespace.servers.kafka, namespace.topic(), 6).await?;
    let processor_after = namespace.processor("after").await?;
    count(&namespace, some_events(2, 1000)?).await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 6).await?;
    corruptor.corrupt(5).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([processor, processor_after]).await
}
