//! Three nodes of Cassandra and ZooKeeper, of which some stand still or are gone. One test at a time: they share the
//! servers. Every test has a namespace of its own and ends with the independent recount: every cell right.

mod readers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::process::Process;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_tests::scene::{BOUND, all_right, asked, count, events, restored, some};
use tokio::time::sleep;

/// So long increments pile up in the sockets of a node that stands still.
const PILING: Duration = Duration::from_secs(6);

async fn stage(name: &str) -> Result<TestNamespace> {
    let folder = std::env::var("STITCH_TEST_SERVERS").context("deploy/test sets it")?;
    let servers = Servers::read(&PathBuf::from(folder))?;
    ensure!(servers.cassandra.len() == 3, "three nodes are needed");
    TestNamespace::build(&servers, &TestConfig::new(name)?).await
}

async fn two_processors(stage: &TestNamespace) -> Result<[Process; 2]> {
    Ok([
        stage.processor("first").await?,
        stage.processor("second").await?,
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_wakes_in_the_middle_of_a_restoration_with_increments_in_its_sockets()
-> Result<()> {
    let stage = stage("woken_node").await?;
    let mut processors = two_processors(&stage).await?;
    count(&stage, some(1, 1000)?).await?;
    let live = stage.feed()?.live(events(2)?, 100);
    let frozen = stage.servers.freeze("cassandra-2").await?;
    // The fault itself: meanwhile requests of both processors go to that node, and get no reply.
    sleep(PILING).await;
    for processor in &mut processors {
        processor.kill().await?;
    }
    let processors = two_processors(&stage).await?;

    let mut run = stage.restorator_command("run", &["--now"])?.start()?;
    // It cannot prove anything while a node is silent: it waits, and says for what.
    run.until_says("calm", BOUND).await?;
    sleep(PILING).await;
    frozen.thaw();
    let finished = run.finish(BOUND).await?;
    live.stop().await?;
    stage.lag()?.until_none(BOUND).await?;
    if finished.code != Some(0) {
        // It may refuse, because the node was not normal while it ran. Then the next run has to prove it.
        ensure!(finished.code == Some(2), "{finished:?}");
        restored(&stage).await?;
    }
    all_right(&stage).await?;
    stage.stop(processors).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_down_leaves_counts_unproved_unless_the_operator_accepts_a_quorum()
-> Result<()> {
    let stage = stage("dead_node").await?;
    let processors = two_processors(&stage).await?;
    count(&stage, some(1, 1000)?).await?;
    let mut vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 1).await?;
    vandal.rage(10).await?;
    stage.servers.kill("cassandra-3").await?;

    let (code, answer) = asked(&stage, "run", &["--now"]).await?;
    ensure!(code == Some(2), "run ended with {code:?}: {answer}");
    let (code, answer) = asked(&stage, "run", &["--now", "--read-consistency", "QUORUM"]).await?;
    ensure!(code == Some(0), "run ended with {code:?}: {answer}");

    stage.servers.start("cassandra-3").await?;
    count(&stage, some(2, 500)?).await?;
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop(processors).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_of_zookeeper_costs_time_and_no_count() -> Result<()> {
    let stage = stage("lost_leader").await?;
    let processors = two_processors(&stage).await?;
    let live = stage.feed()?.live(events(1)?, 100);
    for node in ["zookeeper-1", "zookeeper-2", "zookeeper-3"] {
        // Whichever is the leader is among them.
        stage.servers.kill(node).await?;
        stage.servers.start(node).await?;
        stage.lag()?.until_at_most(130, BOUND).await?;
    }
    live.stop().await?;
    stage.lag()?.until_none(BOUND).await?;
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop(processors).await
}
