//! Processors, and their faults.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use stitch_harness::proxy::Proxy;
use tokio::time::{sleep, timeout};

use stitch_tests::scene::{
    BOUND, PAST_THE_SESSION, all_right, count, events, kill_while_counting, restore, some_events,
    test_namespace,
};

#[tokio::test(flavor = "multi_thread")]
async fn processors_that_join_and_leave_gracefully_never_miscount() -> Result<()> {
    let namespace = test_namespace("rebalance").await?;
    let first = namespace.processor("first").await?;
    let live = namespace.feed()?.live(events(1)?, 150);
    let second = namespace.processor("second").await?;
    namespace.lag()?.until_at_most(60, BOUND).await?;
    let third = namespace.processor("third").await?;
    namespace.stop([first]).await?;
    namespace.lag()?.until_at_most(60, BOUND).await?;
    live.stop().await?;
    namespace.lag()?.until_none(BOUND).await?;
    // Without a restoration: hand-overs alone leave every cell right.
    all_right(&namespace).await?;
    namespace.stop([second, third]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restoration_repairs_what_processors_killed_while_counting_leave_behind() -> Result<()> {
    let namespace = test_namespace("killed").await?;
    let mut survivor = namespace.processor("survivor").await?;
    for round in 0..3 {
        let mut victim = namespace.processor(&format!("victim-{round}")).await?;
        kill_while_counting(&namespace, &mut victim, some_events(round, 3000)?).await?;
    }
    kill_while_counting(&namespace, &mut survivor, some_events(9, 3000)?).await?;
    let last = namespace.processor("last").await?;
    namespace.lag()?.until_none(BOUND).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([last]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_whose_reply_was_lost_is_not_counted_twice() -> Result<()> {
    let namespace = test_namespace("lost_reply").await?;
    let proxy = Proxy::cassandra(&namespace.servers.cassandra[0]).await?;
    let processor = namespace
        .processor_reaching("processor", &[proxy.address()])
        .await?;
    count(&namespace, some_events(1, 500)?).await?;
    proxy.lose_batch_replies(7);
    count(&namespace, some_events(2, 1000)?).await?;
    ensure!(proxy.lost() == 7, "{} replies were lost", proxy.lost());
    // The batches were applied, and not sent again.
    all_right(&namespace).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restoration_adds_increments_that_were_lost_before_they_arrived() -> Result<()> {
    let namespace = test_namespace("lost_request").await?;
    let proxy = Proxy::cassandra(&namespace.servers.cassandra[0]).await?;
    let processor = namespace
        .processor_reaching("processor", &[proxy.address()])
        .await?;
    proxy.lose_batches(7);
    count(&namespace, some_events(1, 1000)?).await?;
    timeout(BOUND, proxy.until_all_are_lost()).await?;
    let wrong = namespace.recount().await?.total().wrong;
    ensure!(
        wrong > 0,
        "lost increments are missing until they are restored"
    );
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_frozen_past_its_session_continues_as_a_new_member() -> Result<()> {
    let namespace = test_namespace("frozen").await?;
    let sleeper = namespace.processor("sleeper").await?;
    let other = namespace.processor("other").await?;
    let live = namespace.feed()?.live(events(1)?, 150);
    for _ in 0..2 {
        namespace.lag()?.until_at_most(60, BOUND).await?;
        sleeper.freeze()?;
        // Frozen meanwhile.
        sleep(PAST_THE_SESSION).await;
        sleeper.thaw()?;
    }
    live.stop().await?;
    namespace.lag()?.until_none(BOUND).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    // It does count again: the other one leaves, and more events are counted.
    namespace.stop([other]).await?;
    count(&namespace, some_events(2, 500)?).await?;
    all_right(&namespace).await?;
    namespace.stop([sleeper]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_drains_on_sigint_and_leaves_no_member_behind() -> Result<()> {
    let namespace = test_namespace("clean_stop").await?;
    let processor = namespace.processor("processor").await?;
    let live = namespace.feed()?.live(events(1)?, 150);
    namespace.lag()?.until_at_most(60, BOUND).await?;
    processor.signal(Signal::INT)?;
    let finished = processor.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    live.stop().await?;
    let zookeeper =
        stitch_harness::zookeeper::ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let members = zookeeper
        .children(&format!("/stitch/{}/members", namespace.name))
        .await
        .context("members")?;
    ensure!(members.is_empty(), "members left behind: {members:?}");
    let next = namespace.processor("next").await?;
    namespace.lag()?.until_none(BOUND).await?;
    all_right(&namespace).await?;
    namespace.stop([next]).await
}
