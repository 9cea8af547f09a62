//! Three nodes of Cassandra and ZooKeeper, of which some are frozen or down. One test at a time, because they share the
//! servers. Every test has a namespace of its own, and ends with the independent recount: every cell right.

mod batch;
mod commit_log;
mod log;
mod readers;
mod requests;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::process::Process;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_tests::scene::{BOUND, all_right, count, events, restorator_json, restore, some_events};
use tokio::time::sleep;

/// How long increments pile up in the sockets of a frozen node.
const PILING: Duration = Duration::from_secs(6);

async fn test_namespace(name: &str) -> Result<TestNamespace> {
    let folder = std::env::var("STITCH_TEST_SERVERS").context("deploy/test sets it")?;
    let servers = Servers::read(&PathBuf::from(folder))?;
    ensure!(servers.cassandra.len() == 3, "three nodes are needed");
    TestNamespace::build(&servers, &TestConfig::new(name)?).await
}

async fn two_processors(namespace: &TestNamespace) -> Result<[Process; 2]> {
    Ok([
        namespace.processor("first").await?,
        namespace.processor("second").await?,
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_may_resume_during_a_restoration_with_increments_in_its_sockets() -> Result<()>
{
    let namespace = test_namespace("woken_node").await?;
    let mut processors = two_processors(&namespace).await?;
    count(&namespace, some_events(1, 1000)?).await?;
    let live = namespace.feed()?.live(events(2)?, 100);
    let frozen = namespace.servers.freeze("cassandra-2").await?;
    // Meanwhile requests of both processors are sent to that node, and not answered.
    sleep(PILING).await;
    for processor in &mut processors {
        processor.kill().await?;
    }
    let processors = two_processors(&namespace).await?;

    let mut run = namespace.restorator_command("run", &["--now"])?.start()?;
    // It cannot verify anything while a node does not answer: it waits, and reports for what.
    run.until_says("quiescence", BOUND).await?;
    sleep(PILING).await;
    frozen.thaw();
    let finished = run.finish(BOUND).await?;
    live.stop().await?;
    namespace.lag()?.until_none(BOUND).await?;
    if finished.code != Some(0) {
        // It may refuse, because the node was not in its normal state meanwhile. Then the next run has to succeed.
        ensure!(finished.code == Some(2), "{finished:?}");
        restore(&namespace).await?;
    }
    all_right(&namespace).await?;
    namespace.stop(processors).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_down_leaves_counts_unverified_unless_quorum_reads_are_accepted()
-> Result<()> {
    let namespace = test_namespace("dead_node").await?;
    let processors = two_processors(&namespace).await?;
    count(&namespace, some_events(1, 1000)?).await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    corruptor.corrupt(10).await?;
    namespace.servers.kill("cassandra-3").await?;

    let (code, answer) = restorator_json(&namespace, "run", &["--now"]).await?;
    ensure!(code == Some(2), "run exited with {code:?}: {answer}");
    let (code, answer) = restorator_json(
        &namespace,
        "run",
        &["--now", "--read-consistency", "QUORUM"],
    )
    .await?;
    ensure!(code == Some(3), "run exited with {code:?}: {answer}");
    ensure!(answer["outcome"] == "verified_with_exceptions", "{answer}");
    ensure!(
        answer["exceptions"]["read_consistency"] == "QUORUM",
        "{answer}"
    );

    namespace.servers.start("cassandra-3").await?;
    count(&namespace, some_events(2, 500)?).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop(processors).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_of_zookeeper_costs_time_and_no_count() -> Result<()> {
    let namespace = test_namespace("lost_leader").await?;
    let processors = two_processors(&namespace).await?;
    let live = namespace.feed()?.live(events(1)?, 100);
    for node in ["zookeeper-1", "zookeeper-2", "zookeeper-3"] {
        // The leader is one of them.
        namespace.servers.kill(node).await?;
        namespace.servers.start(node).await?;
        namespace.lag()?.until_at_most(130, BOUND).await?;
    }
    live.stop().await?;
    namespace.lag()?.until_none(BOUND).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop(processors).await
}
