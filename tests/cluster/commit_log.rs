//! A node whose commit log stalls: it answers reads and gossip, and holds increments that it will apply when the disk goes
//! on. No barrier may hold meanwhile.

use std::io::Write;

use anyhow::{Result, ensure};
use stitch_tests::scene::{BOUND, all_right, count, events, restore, some_events};
use tokio::time::sleep;

use super::{PILING, test_namespace, two_processors};

/// The node whose commit log deploy/test puts on a file system of its own.
const NODE: &str = "cassandra-2";

#[tokio::test(flavor = "multi_thread")]
async fn no_barrier_holds_while_a_commit_log_stalls_with_increments_in_it() -> Result<()> {
    let namespace = test_namespace("stalled_log").await?;
    if namespace.servers.commit_log(NODE).is_none() {
        // To standard error itself, which the test runner does not keep back.
        writeln!(
            std::io::stderr(),
            "NOT TESTED: the commit log of {NODE} has no file system of its own (that takes root)"
        )?;
        return Ok(());
    }
    let mut processors = two_processors(&namespace).await?;
    count(&namespace, some_events(1, 1000)?).await?;
    // Every statement is prepared at every node by now: preparing a new one is a write.
    restore(&namespace).await?;
    let live = namespace.feed()?.live(events(2)?, 100);
    let frozen = namespace.servers.freeze_commit_log(NODE).await?;
    sleep(PILING).await;
    for processor in &mut processors {
        processor.kill().await?;
    }
    live.stop().await?;

    let mut run = namespace.restorator_command("run", &["--now"])?.start()?;
    run.until_says("has applied no increment", BOUND).await?;
    // Longer than the whole bound of these servers: with reads as probes the barrier would have held by then.
    let ended = run.wait(4 * PILING).await;
    ensure!(ended.is_err(), "it went on although a node applies nothing");
    frozen.thaw();
    let finished = run.finish(BOUND).await?;
    let processors = two_processors(&namespace).await?;
    namespace.lag()?.until_none(BOUND).await?;
    if finished.code != Some(0) {
        ensure!(finished.code == Some(2), "{finished:?}");
    }
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop(processors).await
}
