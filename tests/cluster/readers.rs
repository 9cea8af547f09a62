//! Reads while a node of Cassandra is frozen or down.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web;
use stitch_tests::scene::{BOUND, all_right, count, some_events};
use tokio::time::{Instant, sleep};

use crate::{test_namespace, two_processors};

/// Enough keys for each node to be asked for some of them.
const KEYS: u32 = 60;
/// A keepalive timeout within which the driver does not notice a frozen node.
const KEEPALIVE_TIMEOUT_MS: &str = "60000";
/// Cassandra takes the `speculative_retry` of a new table into use within its `read_request_timeout` (4 s here; looked at again
/// and again in this interval). Until then a coordinator waits for a silent replica for half of that time, which is as
/// long as a request may take in all (`native_transport_timeout`).
const TABLE_AGE: Duration = Duration::from_secs(9);
/// Longest read while a node is frozen unnoticed: far below the timeout of a request.
const READ_BOUND: Duration = Duration::from_secs(4);

/// Reads every key; returns the counts, and the longest time of a read.
async fn read(address: &str) -> Result<(BTreeMap<u32, i64>, Duration)> {
    let (mut counts, mut longest) = (BTreeMap::new(), Duration::ZERO);
    for number in 1..=KEYS {
        let began = Instant::now();
        let path = format!("/v1/counters/plays/keys/track-{number}");
        let (status, body) = web::get(address, &path).await?;
        ensure!(status == 200, "{path}: {status} {body}");
        let answer: Value = serde_json::from_str(&body)?;
        counts.insert(number, answer["count"].as_i64().context("a count")?);
        longest = longest.max(began.elapsed());
    }
    Ok((counts, longest))
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_succeed_while_a_node_is_frozen_or_down() -> Result<()> {
    let namespace = test_namespace("read_around").await?;
    let processors = two_processors(&namespace).await?;
    count(&namespace, some_events(1, 1000)?).await?;
    namespace.stop(processors).await?;
    let mut program = namespace.api_command("run", &[])?;
    let keepalive = "STITCH_CASSANDRA__KEEPALIVE_TIMEOUT_MS".to_owned();
    program
        .environment
        .push((keepalive, KEEPALIVE_TIMEOUT_MS.to_owned()));
    let mut api = program.start()?;
    let address = TestNamespace::address(&mut api).await?;
    sleep(TABLE_AGE).await;

    // A node that takes another one for dead on a busy machine has no third replica to ask.
    namespace.servers.all_up().await?;
    // No coordinator has read this table before: nothing is known of how long its reads take.
    let frozen = namespace.servers.freeze("cassandra-2").await?;
    let began = Instant::now();
    let around = read(&address).await.context("cassandra-2 is frozen");
    let took = began.elapsed();
    frozen.thaw();
    let (around, longest) = around?;
    let (counts, _) = read(&address).await.context("every node is up")?;
    ensure!(counts.values().any(|count| *count > 0), "{counts:?}");
    ensure!(around == counts, "{around:?} and not {counts:?}");
    ensure!(
        longest < READ_BOUND,
        "a read took {longest:?}, all of them {took:?}"
    );
    // Otherwise no request was sent to that node first, and nothing was tested.
    ensure!(longest >= Duration::from_millis(100), "{longest:?}");

    namespace.servers.kill("cassandra-3").await?;
    let (around, _) = read(&address).await.context("cassandra-3 is down")?;
    namespace.servers.start("cassandra-3").await?;
    ensure!(around == counts, "{around:?} and not {counts:?}");
    let finished = api.stop(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    all_right(&namespace).await?;
    Ok(())
}
