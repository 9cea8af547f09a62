//! Batch counts while a node of Cassandra is down.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::events::COUNTERS;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_tests::scene::{BOUND, all_right, count, expect_refusal, json_object, some_events};

/// Every month of the events is over, and in the next batch.
const BATCH: &str = "\n[batch]\nenabled = true\nclosed_after_ms = 0\n";

/// A command that has to succeed.
async fn done(namespace: &TestNamespace, command: &str, arguments: &[&str]) -> Result<Value> {
    let arguments = [arguments, &["--output", "json"]].concat();
    let finished = namespace.batch_command(command, &arguments)?;
    let finished = finished.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{command}: {finished:?}");
    json_object(&finished)
}

/// What is published is on every replica: a load says for which node it waits, publishes nothing without it, and ends by itself
/// if it is soon back.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_publishes_nothing_while_a_node_is_down_and_names_it() -> Result<()> {
    let folder = std::env::var("STITCH_TEST_SERVERS").context("deploy/test sets it")?;
    let mut config = TestConfig::new("batch_node_down")?;
    config.config = format!("{COUNTERS}{BATCH}");
    let servers = Servers::read(&PathBuf::from(folder))?;
    let namespace = TestNamespace::build(&servers, &config).await?;
    done(&namespace, "init", &["--replication", "3"]).await?;
    let processor = namespace.processor("first").await?;
    count(&namespace, some_events(1, 1000)?).await?;
    namespace.stop([processor]).await?;
    let first = done(&namespace, "run", &[]).await?;
    // In the log, and counted in real time once the node is back.
    namespace.feed()?.send(some_events(2, 500)?).await?;

    namespace.servers.all_up().await?;
    namespace.servers.kill("cassandra-3").await?;
    let node = namespace.servers.cassandra[2].clone();
    let mut run = namespace
        .batch_command("run", &["--output", "json"])?
        .start()?;
    let said = run
        .until_says("Cassandra does not answer, waiting", BOUND)
        .await;
    let status = done(&namespace, "status", &[]).await;
    namespace.servers.start("cassandra-3").await?;
    let (said, status) = (said?, status?);
    ensure!(said.contains(&node), "{node} is not in {said}");
    ensure!(
        status["published"]["totals"] == first["totals"] && status["loading"].is_object(),
        "{status}"
    );
    let finished = run.finish(BOUND).await?;
    let second = match finished.code {
        Some(0) => json_object(&finished)?,
        // On a busy machine a node takes longer to start than a load waits.
        code => {
            let report = json_object(&finished)?;
            expect_refusal(code, &report, &["cassandra", &node])?;
            done(&namespace, "run", &[]).await?
        }
    };
    ensure!(second["outcome"] == "published", "{second}");
    ensure!(second["rows"].as_u64() > first["rows"].as_u64(), "{second}");

    let processor = namespace.processor("second").await?;
    namespace.lag()?.until_none(BOUND).await?;
    namespace.stop([processor]).await?;
    let compared = done(&namespace, "compare", &[]).await?;
    ensure!(compared["outcome"] == "equal", "{compared}");
    all_right(&namespace).await?;
    Ok(())
}
