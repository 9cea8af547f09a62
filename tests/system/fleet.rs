//! Processors alone, and what goes wrong with them.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use stitch_harness::proxy::Proxy;
use tokio::time::{sleep, timeout};

use stitch_tests::scene::{
    BOUND, PAST_THE_SESSION, all_right, count, events, kill_amid, restored, some, stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn processors_that_come_and_go_in_good_order_never_miscount() -> Result<()> {
    let stage = stage("rebalance").await?;
    let first = stage.processor("first").await?;
    let live = stage.feed()?.live(events(1)?, 150);
    let second = stage.processor("second").await?;
    stage.lag()?.until_at_most(60, BOUND).await?;
    let third = stage.processor("third").await?;
    stage.stop([first]).await?;
    stage.lag()?.until_at_most(60, BOUND).await?;
    live.stop().await?;
    stage.lag()?.until_none(BOUND).await?;
    // Nothing was restored: hand-overs alone leave nothing wrong.
    all_right(&stage).await?;
    stage.stop([second, third]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_killed_in_the_midst_of_batches_leaves_nothing_that_a_restoration_does_not_repair()
-> Result<()> {
    let stage = stage("killed").await?;
    let mut survivor = stage.processor("survivor").await?;
    for round in 0..3 {
        let mut victim = stage.processor(&format!("victim-{round}")).await?;
        kill_amid(&stage, &mut victim, some(round, 3000)?).await?;
    }
    kill_amid(&stage, &mut survivor, some(9, 3000)?).await?;
    let last = stage.processor("last").await?;
    stage.lag()?.until_none(BOUND).await?;
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop([last]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_whose_reply_was_lost_is_not_counted_twice() -> Result<()> {
    let stage = stage("lost_reply").await?;
    let proxy = Proxy::cassandra(&stage.servers.cassandra[0]).await?;
    let processor = stage
        .processor_reaching("processor", &[proxy.address()])
        .await?;
    count(&stage, some(1, 500)?).await?;
    proxy.lose_batch_replies(7);
    count(&stage, some(2, 1000)?).await?;
    ensure!(proxy.lost() == 7, "{} replies were lost", proxy.lost());
    // What got through was applied, and nothing of it was sent again.
    all_right(&stage).await?;
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_that_was_lost_on_its_way_is_made_up_for_by_a_restoration() -> Result<()> {
    let stage = stage("lost_request").await?;
    let proxy = Proxy::cassandra(&stage.servers.cassandra[0]).await?;
    let processor = stage
        .processor_reaching("processor", &[proxy.address()])
        .await?;
    proxy.lose_batches(7);
    count(&stage, some(1, 1000)?).await?;
    timeout(BOUND, proxy.until_all_are_lost()).await?;
    let wrong = stage.recount().await?.total().wrong;
    ensure!(
        wrong > 0,
        "lost increments are missing until they are restored"
    );
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_frozen_past_its_session_goes_on_as_a_new_member() -> Result<()> {
    let stage = stage("frozen").await?;
    let sleeper = stage.processor("sleeper").await?;
    let other = stage.processor("other").await?;
    let live = stage.feed()?.live(events(1)?, 150);
    for _ in 0..2 {
        stage.lag()?.until_at_most(60, BOUND).await?;
        sleeper.freeze()?;
        // The fault itself: so long it stands still.
        sleep(PAST_THE_SESSION).await;
        sleeper.thaw()?;
    }
    live.stop().await?;
    stage.lag()?.until_none(BOUND).await?;
    restored(&stage).await?;
    all_right(&stage).await?;
    // It counts again: the other one leaves, and more is counted.
    stage.stop([other]).await?;
    count(&stage, some(2, 500)?).await?;
    all_right(&stage).await?;
    stage.stop([sleeper]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_is_asked_to_end_drains_and_leaves_no_member_behind() -> Result<()> {
    let stage = stage("clean_stop").await?;
    let processor = stage.processor("processor").await?;
    let live = stage.feed()?.live(events(1)?, 150);
    stage.lag()?.until_at_most(60, BOUND).await?;
    processor.signal(Signal::INT)?;
    let finished = processor.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    live.stop().await?;
    let keeper = stitch_harness::keeper::Keeper::connect(&stage.servers.zookeeper).await?;
    let members = keeper
        .children(&format!("/stitch/{}/members", stage.namespace))
        .await
        .context("members")?;
    ensure!(members.is_empty(), "members left behind: {members:?}");
    let next = stage.processor("next").await?;
    stage.lag()?.until_none(BOUND).await?;
    all_right(&stage).await?;
    stage.stop([next]).await
}
