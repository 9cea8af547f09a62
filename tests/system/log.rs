//! The event log on a real broker's disk: records that were deleted before anything was counted, and a batch that is
//! damaged.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::feed::{create_topic, delete_topic, forget_records};
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use tokio::time::{sleep, timeout};

use stitch_tests::scene::{
    BOUND, all_right, count, expect_refusal, restorator_json, restore, some_events, test_namespace,
};

const PARTITIONS: i32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn records_deleted_before_the_first_count_are_no_loss() -> Result<()> {
    let namespace = test_namespace("late_log").await?;
    namespace.feed()?.send(some_events(1, 500)?).await?;
    let kafka = &namespace.servers.kafka;
    for partition in 0..PARTITIONS {
        forget_records(kafka, namespace.topic(), partition, 10).await?;
    }
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(2, 500)?).await?;
    namespace.stop([processor]).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    // Without the totals that the restoration left, that one record is missing.
    forget_records(kafka, namespace.topic(), 0, 11).await?;
    let (code, answer) = restorator_json(&namespace, "plan", &["--base", "none"]).await?;
    expect_refusal(
        code,
        &answer,
        &["a gap between offset 10 and offset 11 of partition 0"],
    )
}

/// Totals that an audit has left are enough: the log may lose everything that is in them.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_what_the_totals_have_is_restored_under_live_traffic() -> Result<()> {
    let namespace = test_namespace("lost_log").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 2000)?).await?;
    restore(&namespace).await?;
    namespace.forget_log().await?;
    count(&namespace, some_events(2, 500)?).await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 7).await?;
    corruptor.corrupt(10).await?;
    let (sent, answer) = tokio::try_join!(
        async { namespace.feed()?.send(some_events(3, 500)?).await },
        restorator_json(&namespace, "run", &["--now"]),
    )?;
    let (code, answer) = answer;
    ensure!(code == Some(0), "{sent} events sent; {code:?}: {answer}");
    namespace.lag()?.until_none(BOUND).await?;
    all_right(&namespace).await?;
    // A single key is looked up in the totals.
    let (code, answer) = restorator_json(&namespace, "plan", &["--ranges", "3"]).await?;
    ensure!(code == Some(0), "{code:?}: {answer}");
    namespace.stop([processor]).await
}

/// Whether a status has the doubt, and every partition suspended.
fn is_noticed(status: &Value) -> bool {
    let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let (doubts, partitions) = (list("doubts"), list("partitions"));
    let is_other = |doubt: &Value| doubt["cause"] == "log-recreated";
    let is_suspended = |partition: &Value| partition["suspended"].is_object();
    doubts.iter().any(is_other) && !partitions.is_empty() && partitions.iter().all(is_suspended)
}

/// Kafka's client goes on at the old offset in the new topic: nothing but the first record shows that it is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_again_while_it_is_counted_is_suspended_and_leaves_doubts() -> Result<()> {
    let namespace = test_namespace("new_topic").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    let kafka = &namespace.servers.kafka;
    delete_topic(kafka, namespace.topic()).await?;
    let again = async {
        // Kafka deletes in the background: the name is taken for a moment.
        while create_topic(kafka, namespace.topic(), PARTITIONS)
            .await
            .is_err()
        {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(BOUND, again).await?;
    namespace.feed()?.send(some_events(2, 5000)?).await?;
    let mut last = Value::Null;
    let noticed = async {
        // A status that a busy server leaves without an answer is asked for again.
        while !is_noticed(&last) {
            sleep(Duration::from_secs(1)).await;
            (_, last) = restorator_json(&namespace, "status", &[]).await?;
        }
        anyhow::Ok(())
    };
    let noticed = timeout(BOUND, noticed).await;
    noticed.with_context(|| last.to_string())??;
    namespace.stop([processor]).await
}

/// Changes the last byte of the first segment of partition 0 on the broker's disk.
fn damage(namespace: &TestNamespace) -> Result<()> {
    let servers = std::env::var("STITCH_TEST_SERVERS").context("deploy/test sets it")?;
    let partition = format!("{}-0", namespace.topic());
    let segment = PathBuf::from(servers)
        .join("kafka/data")
        .join(partition)
        .join("00000000000000000000.log");
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&segment)
        .with_context(|| segment.display().to_string())?;
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    file.seek(SeekFrom::End(-1))?;
    file.write_all(&[last[0] ^ 0x55])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_batch_ends_plan_and_run_by_partition_and_offset() -> Result<()> {
    let namespace = test_namespace("damaged_log").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    count(&namespace, some_events(2, 500)?).await?;
    namespace.stop([processor]).await?;
    damage(&namespace)?;
    for (command, arguments) in [("plan", &[] as &[&str]), ("run", &["--now"])] {
        let (code, answer) = restorator_json(&namespace, command, arguments).await?;
        expect_refusal(code, &answer, &["partition 0", "from offset", "crc32c"])?;
        ensure!(
            answer["error"]["help"].to_string().contains("runbook"),
            "{answer}"
        );
    }
    Ok(())
}

/// What `status` says of a partition.
async fn partition(namespace: &TestNamespace, number: usize) -> Result<Value> {
    let (_, status) = restorator_json(namespace, "status", &[]).await?;
    Ok(status["partitions"][number].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_batch_suspends_its_partition_by_offset_and_the_others_are_counted() -> Result<()>
{
    let namespace = test_namespace("damaged_batch").await?;
    let processor = namespace.processor("first").await?;
    count(&namespace, some_events(1, 500)?).await?;
    namespace.stop([processor]).await?;
    let before = partition(&namespace, 1).await?;
    let counted = partition(&namespace, 0).await?["lowest"].clone();
    namespace.feed()?.send(some_events(2, 500)?).await?;
    damage(&namespace)?;

    let mut processor = namespace.processor("second").await?;
    let mut last = Value::Null;
    let named = async {
        // A status that a busy server leaves without an answer is asked for again.
        while !last["suspended"].is_object() {
            sleep(Duration::from_secs(1)).await;
            last = partition(&namespace, 0).await?;
        }
        anyhow::Ok(())
    };
    timeout(BOUND, named).await??;
    let said = last["suspended"]["message"].to_string();
    ensure!(
        said.contains("from offset") && said.contains("CRC32C"),
        "{said}"
    );
    // Nothing of the damaged batch, and nothing behind it.
    ensure!(
        last["lowest"].as_i64() >= counted.as_i64(),
        "{last} after {counted}"
    );
    let line = processor
        .until_says("partition 0 cannot be read", BOUND)
        .await?;
    ensure!(line.contains("offset"), "{line}");
    let others = async {
        while partition(&namespace, 1).await?["lowest"].as_i64() <= before["lowest"].as_i64() {
            sleep(Duration::from_secs(1)).await;
        }
        anyhow::Ok(())
    };
    timeout(BOUND, others).await??;
    let address = TestNamespace::address(&mut processor).await?;
    let (ready, _) = get(&address, "/ready").await?;
    ensure!(ready == 200, "the other partitions are counted: {ready}");

    // The batch is whole again: the partition is tried again within a minute.
    damage(&namespace)?;
    namespace.lag()?.until_none(BOUND).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}
