//! Interrupted restorations: killed between any two steps, or by SIGINT.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use rustix::process::Signal;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::zookeeper::ZooKeeperClient;
use stitch_restorator::failpoint::POINTS;

use stitch_tests::scene::{
    BOUND, all_right, count, events, restorator_json, restore, some_events, test_namespace,
};

/// Runs a restoration that kills itself at a failpoint.
async fn kill_at(namespace: &TestNamespace, point: &str) -> Result<()> {
    let mut program = namespace.restorator_command("run", &["--now"])?;
    let action = format!("{point}=return");
    program.environment = vec![("FAILPOINTS".to_owned(), action)];
    let finished = program.run(BOUND).await?;
    ensure!(
        finished.code.is_none(),
        "{point}: it was not killed, but exited with {:?}: {}{}",
        finished.code,
        finished.output,
        finished.errors
    );
    Ok(())
}

async fn kill_at_each(points: &[&str], number: usize) -> Result<()> {
    let namespace = test_namespace(&format!("killed_restorator_{number}")).await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 1000)?).await?;
    // Four namespaces do this at once, beside other tests, on as few as two cores.
    let live = namespace.feed()?.live(events(2)?, 25);
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    for point in points {
        corruptor.corrupt(5).await?;
        kill_at(&namespace, point).await?;
        let (code, status) = restorator_json(&namespace, "status", &[]).await?;
        ensure!(code == Some(0), "{point}: status: {status}");
    }
    restore(&namespace).await?;
    live.stop().await?;
    namespace.lag()?.until_none(BOUND).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restorator_killed_between_any_two_steps_leaves_what_the_next_run_repairs() -> Result<()>
{
    // After each kill the next run waits for quiescence: four namespaces do so concurrently.
    let chunks = POINTS.chunks(POINTS.len().div_ceil(4)).enumerate();
    try_join_all(chunks.map(|(number, points)| kill_at_each(points, number))).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restorator_releases_its_locks_at_once_on_sigint() -> Result<()> {
    let namespace = test_namespace("interrupted").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    corruptor.corrupt(5).await?;
    let mut program = namespace.restorator_command("run", &["--now", "--output", "json"])?;
    // It pauses while it holds a lock, for less than its lease.
    program.environment = vec![("FAILPOINTS".to_owned(), "r5-read=sleep(1500)".to_owned())];
    let run = program.start()?;
    let zookeeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let requests = format!("/stitch/{}/revocations", namespace.name);
    let requested = zookeeper
        .until_children(&requests, BOUND, |names| !names.is_empty())
        .await?;
    ensure!(!requested.is_empty(), "no range was requested");
    run.signal(Signal::INT)?;
    let finished = run.finish(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    stitch_tests::scene::json_object(&finished).context("an object even so")?;
    let left = zookeeper.children(&requests).await?;
    ensure!(left.is_empty(), "revocation requests left behind: {left:?}");
    count(&namespace, some_events(2, 500)?).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_restoration_names_the_first_and_exits() -> Result<()> {
    let namespace = test_namespace("second").await?;
    let mut victim = namespace.processor("victim").await?;
    count(&namespace, some_events(1, 1000)?).await?;
    victim.kill().await?;
    // The dead member held ranges, so the first one has to wait for quiescence: that takes several times as long as the
    // second one waits for the first.
    let first = namespace.restorator_command("run", &["--now"])?.start()?;
    let zookeeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let restorations = format!("/stitch/{}/restorations", namespace.name);
    zookeeper
        .until_children(&restorations, BOUND, |names| {
            names.iter().any(|name| name.starts_with("lock"))
        })
        .await?;
    let (code, answer) = restorator_json(&namespace, "run", &["--now"]).await?;
    stitch_tests::scene::expect_refusal(code, &answer, &["restoration"])?;
    let finished = first.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let processor = namespace.processor("processor").await?;
    namespace.lag()?.until_none(BOUND).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}
