//! Freshness during lag, locks, in-doubt markers, dead members, and without ZooKeeper.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_common::cell::Counter;
use stitch_common::clock::SystemClock;
use stitch_common::ports::ZooKeeper;
use stitch_common::range::RangeId;
use stitch_config::{Config, Environment};
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use stitch_protocol::contender::Kind;
use stitch_protocol::doubt::{self, DoubtRemoval};
use stitch_protocol::path::Paths;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::{NamespaceSession, in_doubt};
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

use crate::support::{Api, BOUND, events, namespace};

const KEY: &str = "/v1/counters/plays/keys/track-1";

async fn session(
    namespace: &TestNamespace,
) -> Result<NamespaceSession<ZooKeeperSession, SystemClock>> {
    let zookeeper = ZooKeeperClient::new(
        &namespace.servers.zookeeper.parse()?,
        Duration::from_secs(4),
    );
    let session = zookeeper.connect().await?;
    Ok(NamespaceSession::new(
        session,
        SystemClock,
        Paths::new(&namespace.name),
    ))
}

/// The range of [`KEY`], and the address of a key in another range.
fn range(namespace: &TestNamespace) -> Result<(RangeId, String)> {
    let config = Config::load(Some(&namespace.config), &Environment::default())?;
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
async fn uncounted_events_are_a_lag_until_a_processor_counts_them() -> Result<()> {
    let namespace = namespace("api_lag").await?;
    let api = Api::start(&namespace, &[]).await?;
    let empty = api.until_state(KEY, "live").await?;
    ensure!(behind(&empty) == Some(0), "{empty}");
    namespace.feed()?.send(events(500)?).await?;
    let lagging = api.until_state(KEY, "lagging").await?;
    ensure!(
        behind(&lagging) == Some(500) && lagging["count"] == 0,
        "{lagging}"
    );
    let processor = namespace.processor("processor").await?;
    let live = api.until_state(KEY, "live").await?;
    namespace.lag()?.until_none(BOUND).await?;
    ensure!(live["count"].as_i64() > Some(0), "{live}");
    api.until("stitch_api_behind_events", 0.0).await?;
    api.stop().await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_range_and_an_in_doubt_range_are_shown_and_no_other() -> Result<()> {
    let namespace = namespace("api_locked").await?;
    let (range, other) = range(&namespace)?;
    let api = Api::start(&namespace, &[]).await?;
    api.until_state(KEY, "live").await?;
    let session = session(&namespace).await?;
    let mut lock = RangeLock::new(&session, range, Kind::Exclusive);
    lock.wait_granted(&session).await?;
    api.until_state(KEY, "restoring").await?;
    ensure!(api.ok(&other).await?["freshness"]["state"] == "live");
    lock.release(&session).await?;
    api.until_state(KEY, "live").await?;
    let marker = in_doubt::create(&session, range).await?;
    api.until_state(KEY, "uncertain").await?;
    ensure!(api.ok(&other).await?["freshness"]["state"] == "live");
    in_doubt::delete(&session, &marker).await?;
    let doubted = api.until_cause(KEY, "in-doubt").await?;
    ensure!(doubted["freshness"]["state"] == "uncertain", "{doubted}");
    for known in doubt::list(&session).await? {
        ensure!(doubt::remove(&session, &known).await? == DoubtRemoval::Removed);
    }
    api.until_state("/v1/freshness", "live").await?;
    session.close().await;
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_processor_makes_counts_uncertain_until_it_is_waited_out() -> Result<()> {
    let namespace = namespace("api_killed").await?;
    let mut processor = namespace.processor("victim").await?;
    let api = Api::start(&namespace, &[]).await?;
    namespace.feed()?.send(events(200)?).await?;
    namespace.lag()?.until_none(BOUND).await?;
    api.until_state(KEY, "live").await?;
    processor.kill().await?;
    api.until_state(KEY, "uncertain").await?;
    // The next one passes the quiescence barrier and removes what the dead one left.
    let next = namespace.processor("next").await?;
    api.until_state(KEY, "live").await?;
    api.stop().await?;
    namespace.stop([next]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_served_without_zookeeper_with_unknown_freshness() -> Result<()> {
    let namespace = namespace("api_alone").await?;
    let nowhere = ("STITCH_ZOOKEEPER__CONNECT", "127.0.0.1:1");
    let api = Api::start(&namespace, &[nowhere]).await?;
    let answer = api.ok(KEY).await?;
    ensure!(
        answer["count"] == 0 && answer["freshness"]["state"] == "unknown",
        "{answer}"
    );
    ensure!(answer["freshness"]["behind_events"].is_null(), "{answer}");
    let (ready, _) = get(&api.address, "/ready").await?;
    ensure!(ready == 503, "ready: {ready}");
    api.stop().await
}

/// [Decision 0029](../../../docs/decisions/0029-a-server-stays-ready-while-freshness-is-unknown.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_known_freshness_stays_ready_and_serves_while_zookeeper_is_away()
-> Result<()> {
    let namespace = namespace("api_zookeeper_away").await?;
    let processor = namespace.processor("processor").await?;
    namespace.feed()?.send(events(200)?).await?;
    namespace.lag()?.until_none(BOUND).await?;
    let proxy = Proxy::start(&namespace.servers.zookeeper).await?;
    let reached = ("STITCH_ZOOKEEPER__CONNECT", &*proxy.address());
    let api = Api::start(&namespace, &[reached]).await?;
    let before = api.until_state(KEY, "live").await?;
    ensure!(before["count"].as_i64() > Some(0), "{before}");
    let (status, said) = get(&api.address, "/ready").await?;
    ensure!(status == 200 && !said.contains("not known"), "{said}");

    proxy.set(Mode::Refuse);
    let away = api.until_state(KEY, "unknown").await?;
    ensure!(away["count"] == before["count"], "{before} {away}");
    ensure!(away["freshness"]["behind_events"].is_null(), "{away}");
    let (status, said) = get(&api.address, "/ready").await?;
    ensure!(status == 200, "{status} {said}");
    for part in ["counts are served", "not known how fresh", "ZooKeeper"] {
        ensure!(said.contains(part), "{part}: {said}");
    }

    proxy.set(Mode::Pass);
    api.until_state(KEY, "live").await?;
    let (status, said) = get(&api.address, "/ready").await?;
    ensure!(status == 200 && !said.contains("not known"), "{said}");
    api.stop().await?;
    namespace.stop([processor]).await
}
