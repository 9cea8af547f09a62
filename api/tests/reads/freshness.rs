//! How fresh counts are, while something is the matter with them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_common::cell::Counter;
use stitch_common::clock::SystemClock;
use stitch_common::config::{Config, Environment};
use stitch_common::ports::ZooKeeper;
use stitch_common::range::RangeId;
use stitch_harness::test_namespace::TestNamespace;
use stitch_protocol::contender::Kind;
use stitch_protocol::path::Paths;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::{NamespaceSession, in_doubt};
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

use crate::support::{Api, BOUND, events, stage};

const KEY: &str = "/v1/counters/plays/keys/track-1";

async fn session(stage: &TestNamespace) -> Result<NamespaceSession<ZooKeeperSession, SystemClock>> {
    let keeper = ZooKeeperClient::new(&stage.servers.zookeeper, Duration::from_secs(4));
    let session = keeper.connect().await?;
    Ok(NamespaceSession::new(
        session,
        SystemClock,
        Paths::new(&stage.name),
    ))
}

/// The range of [`KEY`], and a key of another one.
fn range(stage: &TestNamespace) -> Result<(RangeId, String)> {
    let config = Config::load(Some(&stage.config), &Environment::default())?;
    let bits = config.definitions.range_bits;
    let of = |key: &str| bits.range_of(Counter::new("plays", key).token());
    let range = of("track-1");
    let mut keys = (2..).map(|number| format!("track-{number}"));
    let other = keys.find(|key| of(key) != range).context("another range")?;
    Ok((range, format!("/v1/counters/plays/keys/{other}")))
}

fn behind(answer: &Value) -> Option<u64> {
    answer["freshness"]["behind_events"].as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_nobody_counts_are_a_lag_until_somebody_does() -> Result<()> {
    let stage = stage("api_lag").await?;
    let api = Api::start(&stage, &[]).await?;
    let empty = api.until_state(KEY, "live").await?;
    ensure!(behind(&empty) == Some(0), "{empty}");
    stage.feed()?.send(events(500)?).await?;
    let lagging = api.until_state(KEY, "lagging").await?;
    ensure!(
        behind(&lagging) == Some(500) && lagging["count"] == 0,
        "{lagging}"
    );
    let processor = stage.processor("processor").await?;
    let live = api.until_state(KEY, "live").await?;
    stage.lag()?.until_none(BOUND).await?;
    ensure!(live["count"].as_i64() > Some(0), "{live}");
    api.until("stitch_api_behind_events", 0.0).await?;
    api.stop().await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_range_and_a_marked_one_are_told_and_no_other() -> Result<()> {
    let stage = stage("api_locked").await?;
    let (range, other) = range(&stage)?;
    let api = Api::start(&stage, &[]).await?;
    api.until_state(KEY, "live").await?;
    let here = session(&stage).await?;
    let mut lock = RangeLock::new(&here, range, Kind::Exclusive);
    lock.wait_granted(&here).await?;
    api.until_state(KEY, "restoring").await?;
    ensure!(api.ok(&other).await?["freshness"]["state"] == "live");
    lock.release(&here).await?;
    api.until_state(KEY, "live").await?;
    let marker = in_doubt::create(&here, range).await?;
    api.until_state(KEY, "uncertain").await?;
    ensure!(api.ok(&other).await?["freshness"]["state"] == "live");
    in_doubt::delete(&here, &marker).await?;
    api.until_state("/v1/freshness", "live").await?;
    here.close().await;
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_was_killed_makes_counts_uncertain_until_it_is_waited_out() -> Result<()> {
    let stage = stage("api_killed").await?;
    let mut processor = stage.processor("victim").await?;
    let api = Api::start(&stage, &[]).await?;
    stage.feed()?.send(events(200)?).await?;
    stage.lag()?.until_none(BOUND).await?;
    api.until_state(KEY, "live").await?;
    processor.kill().await?;
    api.until_state(KEY, "uncertain").await?;
    // The next one waits for a calm and sweeps away what the dead one left.
    let next = stage.processor("next").await?;
    api.until_state(KEY, "live").await?;
    api.stop().await?;
    stage.stop([next]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_answered_without_zookeeper_and_it_is_said_that_nothing_is_known() -> Result<()>
{
    let stage = stage("api_alone").await?;
    let nowhere = ("STITCH_ZOOKEEPER__CONNECT", "127.0.0.1:1");
    let api = Api::start(&stage, &[nowhere]).await?;
    let answer = api.ok(KEY).await?;
    ensure!(
        answer["count"] == 0 && answer["freshness"]["state"] == "unknown",
        "{answer}"
    );
    ensure!(answer["freshness"]["behind_events"].is_null(), "{answer}");
    let (ready, _) = stitch_harness::web::get(&api.address, "/ready").await?;
    ensure!(ready == 503, "ready: {ready}");
    api.stop().await
}
