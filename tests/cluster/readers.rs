//! Readers, while a node of Cassandra stands still or is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web;
use stitch_tests::scene::{BOUND, all_right, count, some};
use tokio::time::Instant;

use crate::{stage, two_processors};

/// Keys that are read: enough that each node is asked for some of them.
const KEYS: u32 = 60;
/// A node that stands still is noticed later: so long the driver takes its connections for good.
const NOT_NOTICED: &str = "60000";
/// So long a read may be behind a node that nobody knows to stand still, and no request comes near its own bound.
const LATE: Duration = Duration::from_secs(4);

/// The answers to each key, and the longest time that one took.
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
async fn a_node_that_stands_still_or_is_gone_costs_readers_time_and_no_answer() -> Result<()> {
    let stage = stage("read_around").await?;
    let processors = two_processors(&stage).await?;
    count(&stage, some(1, 1000)?).await?;
    stage.stop(processors).await?;
    let mut program = stage.api_command("run", &[])?;
    let keepalive = "STITCH_CASSANDRA__KEEPALIVE_TIMEOUT_MS".to_owned();
    program
        .environment
        .push((keepalive, NOT_NOTICED.to_owned()));
    let mut api = program.start()?;
    let address = TestNamespace::address(&mut api).await?;
    let (counts, _) = read(&address).await?;
    ensure!(counts.values().any(|count| *count > 0), "{counts:?}");

    let frozen = stage.servers.freeze("cassandra-2").await?;
    let began = Instant::now();
    let (around, longest) = read(&address).await?;
    let took = began.elapsed();
    frozen.thaw();
    ensure!(around == counts, "{around:?} and not {counts:?}");
    ensure!(
        longest < LATE,
        "a read took {longest:?}, all of them {took:?}"
    );
    // Else no request went to that node first, and nothing was tried.
    ensure!(longest >= Duration::from_millis(100), "{longest:?}");

    stage.servers.kill("cassandra-3").await?;
    let (around, _) = read(&address).await?;
    stage.servers.start("cassandra-3").await?;
    ensure!(around == counts, "{around:?} and not {counts:?}");
    let finished = api.stop(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    all_right(&stage).await?;
    Ok(())
}
