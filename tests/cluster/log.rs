//! A log that takes back records that were counted, as after the election of a leader that had fallen behind: here the
//! broker loses the end of a segment, and leads the partition again in a new epoch.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::test_namespace::TestNamespace;
use stitch_tests::scene::{
    BOUND, all_right, count, expect_refusal, restorator_json, restore, some_events,
};
use tokio::time::{sleep, timeout};

use crate::test_namespace;

const PARTITION: i64 = 0;
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Takes back the second half of what the partition has; its broker must not run.
fn cut(namespace: &TestNamespace) -> Result<()> {
    let servers = std::env::var("STITCH_TEST_SERVERS").context("deploy/test sets it")?;
    let folder = PathBuf::from(servers).join("kafka/data");
    let folder = folder.join(format!("{}-{PARTITION}", namespace.topic()));
    let segment = folder.join("00000000000000000000.log");
    let file = OpenOptions::new().write(true).open(&segment);
    let file = file.with_context(|| segment.display().to_string())?;
    // Within a batch, of which the broker keeps nothing.
    Ok(file.set_len(file.metadata()?.len() / 2)?)
}

/// Whether a status says that the log was cut. The doubt is written after the suspension.
fn has_doubt(status: &Value) -> bool {
    let mut doubts = status["doubts"].as_array().into_iter().flatten();
    doubts.any(|doubt| doubt["cause"] == "log-truncated")
}

/// The suspended partitions of a status.
fn suspended(status: &Value) -> Vec<&Value> {
    let partitions = status["partitions"].as_array().into_iter().flatten();
    let suspended = partitions.filter(|partition| partition["suspended"].is_object());
    suspended.collect()
}

async fn until_suspended(namespace: &TestNamespace) -> Result<Value> {
    let mut last = Value::Null;
    let noticed = async {
        // A status that a busy server leaves without an answer is asked for again.
        while suspended(&last).is_empty() || !has_doubt(&last) {
            sleep(POLL_INTERVAL).await;
            (_, last) = restorator_json(namespace, "status", &[]).await?;
        }
        anyhow::Ok(())
    };
    let noticed = timeout(BOUND, noticed).await;
    noticed.with_context(|| last.to_string())??;
    Ok(last)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_takes_back_counted_records_suspends_the_partition_and_leaves_a_doubt()
-> Result<()> {
    let namespace = test_namespace("cut_log").await?;
    let processor = namespace.processor("processor").await?;
    for seed in 1..=4 {
        count(&namespace, some_events(seed, 500)?).await?;
    }
    namespace.servers.kill("kafka").await?;
    cut(&namespace)?;
    namespace.servers.start("kafka").await?;

    let status = until_suspended(&namespace).await?;
    let partitions = suspended(&status);
    ensure!(
        partitions.len() == 1 && partitions[0]["partition"] == PARTITION,
        "{status}"
    );
    // Either the feed notices, at its next offset, or whoever acquires the partition, by its checkpoint: they are equal.
    let counted = partitions[0]["highest"].to_string();
    let message = partitions[0]["suspended"]["message"].to_string();
    ensure!(
        message.contains("partition 0 ") && message.contains(&counted),
        "{message}"
    );
    let (code, answer) = restorator_json(&namespace, "run", &["--now"]).await?;
    expect_refusal(code, &answer, &["partition 0"])?;

    // The log grows past what was counted of it: other records have those offsets now, and the log is the truth.
    namespace.feed()?.send(some_events(5, 4000)?).await?;
    namespace.stop([processor]).await?;
    let processor = namespace.processor("successor").await?;
    namespace.lag()?.until_none(BOUND).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}
