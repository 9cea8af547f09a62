//! Restorations that are cut short: killed between any two steps, or asked to end.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use rustix::process::Signal;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::keeper::Keeper;
use stitch_harness::test_namespace::TestNamespace;
use stitch_restorator::failpoint::POINTS;

use stitch_tests::scene::{BOUND, all_right, asked, count, events, restored, some, stage};

/// Runs a restoration that kills itself at a point.
async fn killed_at(stage: &TestNamespace, point: &str) -> Result<()> {
    let mut program = stage.restorator_command("run", &["--now"])?;
    let action = format!("{point}=return");
    program.environment = vec![("FAILPOINTS".to_owned(), action)];
    let finished = program.run(BOUND).await?;
    ensure!(
        finished.code.is_none(),
        "{point}: it was not killed but ended with {:?}: {}{}",
        finished.code,
        finished.output,
        finished.errors
    );
    Ok(())
}

async fn survives(points: &[&str], number: usize) -> Result<()> {
    let stage = stage(&format!("killed_restorator_{number}")).await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 1000)?).await?;
    let live = stage.feed()?.live(events(2)?, 100);
    let mut vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 1).await?;
    for point in points {
        vandal.rage(5).await?;
        killed_at(&stage, point).await?;
        let (code, status) = asked(&stage, "status", &[]).await?;
        ensure!(code == Some(0), "{point}: status: {status}");
    }
    restored(&stage).await?;
    live.stop().await?;
    stage.lag()?.until_none(BOUND).await?;
    all_right(&stage).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restorator_killed_between_any_two_steps_leaves_what_the_next_run_repairs() -> Result<()>
{
    // Each kill costs the next run a calm, in which nothing happens: four namespaces wait side by side.
    let portions = POINTS.chunks(POINTS.len().div_ceil(4)).enumerate();
    try_join_all(portions.map(|(number, points)| survives(points, number))).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restorator_that_is_asked_to_end_gives_its_locks_back_at_once() -> Result<()> {
    let stage = stage("interrupted").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 500)?).await?;
    let mut vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 1).await?;
    vandal.rage(5).await?;
    let mut program = stage.restorator_command("run", &["--now", "--output", "json"])?;
    // It lingers with a lock in its hands, for less than its lease.
    program.environment = vec![("FAILPOINTS".to_owned(), "r5-read=sleep(1500)".to_owned())];
    let run = program.start()?;
    let keeper = Keeper::connect(&stage.servers.zookeeper).await?;
    let requests = format!("/stitch/{}/revocations", stage.namespace);
    let asked_for = keeper
        .until_children(&requests, BOUND, |names| !names.is_empty())
        .await?;
    ensure!(!asked_for.is_empty(), "no range was asked for");
    run.signal(Signal::INT)?;
    let finished = run.finish(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    stitch_tests::scene::object(&finished).context("an object even so")?;
    let left = keeper.children(&requests).await?;
    ensure!(left.is_empty(), "requests left behind: {left:?}");
    count(&stage, some(2, 500)?).await?;
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_restoration_names_the_first_and_ends() -> Result<()> {
    let stage = stage("second").await?;
    let mut victim = stage.processor("victim").await?;
    count(&stage, some(1, 1000)?).await?;
    victim.kill().await?;
    // The dead member held ranges, so a calm is due, and nobody else is there to wait for it: that takes several times as
    // long as the second one waits for the first.
    let first = stage.restorator_command("run", &["--now"])?.start()?;
    let keeper = Keeper::connect(&stage.servers.zookeeper).await?;
    let restorations = format!("/stitch/{}/restorations", stage.namespace);
    keeper
        .until_children(&restorations, BOUND, |names| {
            names.iter().any(|name| name.starts_with("lock"))
        })
        .await?;
    let (code, answer) = asked(&stage, "run", &["--now"]).await?;
    stitch_tests::scene::refused(code, &answer, &["restoration"])?;
    let finished = first.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let processor = stage.processor("processor").await?;
    stage.lag()?.until_none(BOUND).await?;
    all_right(&stage).await?;
    stage.stop([processor]).await
}
