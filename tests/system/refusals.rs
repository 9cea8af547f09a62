//! What is refused because it would falsify counts: each once, with a way out, and nothing was counted on it.

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::feed::{alter_topic, create_topic, delete_topic, forget_records};
use stitch_harness::keeper::Keeper;
use stitch_harness::recount::{read_table, session};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};

use stitch_tests::scene::{BOUND, all_right, asked, count, object, refused, restored, some, stage};

/// A stage whose first events are counted and whose processor has ended.
async fn counted(name: &str) -> Result<TestNamespace> {
    let stage = stage(name).await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 500)?).await?;
    stage.stop([processor]).await?;
    Ok(stage)
}

/// A processor that does not start, or stops by itself, with these words.
async fn processor_refuses(stage: &TestNamespace, words: &[&str]) -> Result<()> {
    let run = stage.processor_command("run", &[])?;
    let finished = run.run(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    let said = finished.errors.to_lowercase();
    for word in words {
        ensure!(said.contains(word), "\"{word}\" is not in {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_first_events_gives_no_totals() -> Result<()> {
    let stage = counted("short_log").await?;
    forget_records(&stage.servers.kafka, stage.topic(), 0, 10).await?;
    let (code, answer) = asked(&stage, "plan", &[]).await?;
    refused(code, &answer, &[stage.topic()])?;
    let (code, answer) = asked(&stage, "run", &["--now"]).await?;
    refused(code, &answer, &[stage.topic()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_log_gives_no_totals() -> Result<()> {
    let stage = counted("compacted").await?;
    let kafka = &stage.servers.kafka;
    alter_topic(kafka, stage.topic(), "cleanup.policy", "compact").await?;
    let (code, answer) = asked(&stage, "plan", &[]).await?;
    refused(code, &answer, &["compact"])
}

#[tokio::test(flavor = "multi_thread")]
async fn another_topic_of_the_same_name_is_not_counted_on() -> Result<()> {
    let stage = counted("other_topic").await?;
    let kafka = &stage.servers.kafka;
    delete_topic(kafka, stage.topic()).await?;
    let again = async {
        // Kafka deletes in the background: the name is taken for a moment.
        while create_topic(kafka, stage.topic(), 4).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(BOUND, again).await?;
    stage.feed()?.send(some(2, 800)?).await?;
    let (code, answer) = asked(&stage, "plan", &[]).await?;
    refused(code, &answer, &[stage.topic()])?;
    processor_refuses(&stage, &[stage.topic()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_another_namespace_claims_is_refused() -> Result<()> {
    let first = counted("claimed").await?;
    let second =
        TestNamespace::bare(&Servers::from_environment()?, &TestConfig::new("claims")?).await?;
    second.configure(&format!(
        "{}\n[cassandra]\nkeyspace = \"{}\"",
        stitch_harness::events::COUNTERS,
        first.keyspace()
    ))?;
    let init = second.processor_command("init", &["--output", "json"])?;
    let finished = init.run(BOUND).await?;
    refused(finished.code, &object(&finished)?, &[&first.namespace])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_progress_is_gone_is_not_counted_again() -> Result<()> {
    let stage = counted("no_progress").await?;
    let keeper = Keeper::connect(&stage.servers.zookeeper).await?;
    let progress = format!("/stitch/{}/partitions/0/checkpoint", stage.namespace);
    let kept = keeper.data(&progress).await?;
    keeper.delete(&progress).await?;
    let processor = stage.processor("again").await?;
    stage.feed()?.send(some(2, 500)?).await?;
    let (code, answer) = asked(&stage, "run", &["--now"]).await?;
    refused(code, &answer, &["checkpoint"])?;
    drop((processor, kept));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_from_an_old_copy_of_zookeeper_is_not_counted_on() -> Result<()> {
    let stage = counted("old_progress").await?;
    let keeper = Keeper::connect(&stage.servers.zookeeper).await?;
    let paths: Vec<String> = (0..4)
        .map(|p| format!("/stitch/{}/partitions/{p}/checkpoint", stage.namespace))
        .collect();
    let mut old = Vec::new();
    for path in &paths {
        old.push(keeper.data(path).await?);
    }
    let processor = stage.processor("further").await?;
    count(&stage, some(2, 500)?).await?;
    stage.stop([processor]).await?;
    let mut new = Vec::new();
    for (path, data) in paths.iter().zip(&old) {
        new.push(keeper.data(path).await?);
        keeper.set(path, data).await?;
    }
    let mut refusing = stage.processor_command("run", &[])?.start()?;
    refusing.until_says("behind", BOUND).await?;
    all_right(&stage)
        .await
        .context("nothing was counted twice")?;
    drop(refusing);
    for (path, data) in paths.iter().zip(&new) {
        keeper.set(path, data).await?;
    }
    let processor = stage.processor("healed").await?;
    count(&stage, some(3, 500)?).await?;
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_another_namespace_is_not_carried_out() -> Result<()> {
    let (first, second) = (counted("plan_here").await?, counted("plan_there").await?);
    let file = first.folder.join("plan.json").display().to_string();
    let (code, plan) = asked(&first, "plan", &["--plan-file", &file]).await?;
    ensure!(code == Some(0), "{plan}");
    let (code, answer) = asked(&second, "run", &[&file]).await?;
    refused(code, &answer, &["plan"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_other_definitions_does_not_start() -> Result<()> {
    let stage = counted("other_definitions").await?;
    let changed = stitch_harness::events::COUNTERS.replace("\"cents\"", "\"pence\"");
    stage.configure(&changed)?;
    processor_refuses(&stage, &["revenue"]).await?;
    let (code, answer) = asked(&stage, "plan", &[]).await?;
    refused(code, &answer, &["revenue"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_was_deleted_by_hand_is_named_as_not_proved() -> Result<()> {
    let stage = counted("deleted").await?;
    let session = session(&stage.servers.cassandra).await?;
    let cells = read_table(&session, stage.keyspace()).await?;
    let place = cells.keys().next().context("a cell")?;
    let vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 8).await?;
    vandal.delete(place).await?;
    let processor = stage.processor("again").await?;
    let (code, answer) = asked(&stage, "run", &["--now"]).await?;
    ensure!(code == Some(2), "run ended with {code:?}: {answer}");
    ensure!(answer.to_string().contains(&place.key), "{answer}");
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_to_the_topic_are_taken_up() -> Result<()> {
    let stage = stage("grown").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 500)?).await?;
    stitch_harness::feed::grow_topic(&stage.servers.kafka, stage.topic(), 6).await?;
    let processor_after = stage.processor("after").await?;
    count(&stage, some(2, 1000)?).await?;
    let mut vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 6).await?;
    vandal.rage(5).await?;
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop([processor, processor_after]).await
}
