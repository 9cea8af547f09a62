//! Which counters share a request, while a node is up and while it is down.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_cassandra::ScyllaCql;
use stitch_common::cell::{Amount, Bucket, CellSlot, Counter, Granularity};
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::lease::Lease;
use stitch_common::member::MemberId;
use stitch_common::outcome::Outcome;
use stitch_common::ports::{CellSelection, CounterBatch, Cql, Level, Store};
use stitch_config::{Config, Environment};
use tokio::time::{Instant, sleep};

use crate::test_namespace;

/// How long a session takes at most to see that a node is down, or up again.
const NOTICE: Duration = Duration::from_secs(60);

fn all_time() -> CellSlot {
    CellSlot {
        granularity: Granularity::All,
        bucket: Bucket(0),
    }
}

/// Waits until the replicas of all these counters are known to be up, or of none.
async fn until_shared(store: &impl Store, counters: &[Counter], shared: bool) -> Result<()> {
    let began = Instant::now();
    loop {
        let replicas: Vec<_> = counters.iter().map(|one| store.replicas(one)).collect();
        // Three replicas of three nodes: all counters have the same.
        let all = replicas
            .iter()
            .all(|one| one.is_some() && *one == replicas[0]);
        let none = replicas.iter().all(Option::is_none);
        if if shared { all } else { none } {
            return Ok(());
        }
        ensure!(began.elapsed() < NOTICE, "shared {shared}: {replicas:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn increment(store: &impl Store, counters: &[Counter]) -> Result<Outcome> {
    let batch = |counter: &Counter| CounterBatch {
        counter: counter.clone(),
        amounts: vec![(all_time(), Amount(1))],
    };
    let batches: Vec<_> = counters.iter().map(batch).collect();
    let now = SystemClock.now();
    let mut lease = Lease::new(Duration::from_secs(60));
    lease.renew(now);
    let permit = lease.permit(now).context("a new lease is valid")?;
    Ok(store.increment(permit, &batches).await)
}

/// Ten counters of which no other attempt knows.
fn counters(attempt: u32) -> Vec<Counter> {
    let counters = 0..10;
    counters
        .map(|n| Counter::new("plays", format!("track-{attempt}-{n}")))
        .collect()
}

/// Increments the first `count` counters of an attempt in one request, and returns them all. An outcome that is unknown, because
/// a node was too busy, says nothing: the next attempt has counters of its own.
async fn applied(store: &impl Store, attempts: &mut u32, count: usize) -> Result<Vec<Counter>> {
    let began = Instant::now();
    loop {
        *attempts += 1;
        let counters = counters(*attempts);
        let outcome = increment(store, &counters[..count]).await?;
        if outcome == Outcome::Applied {
            return Ok(counters);
        }
        let is_unknown = matches!(outcome, Outcome::Unknown(_));
        ensure!(is_unknown && began.elapsed() < NOTICE, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_share_a_request_while_all_of_their_replicas_are_up() -> Result<()> {
    let namespace = test_namespace("shared_requests").await?;
    let config = Config::load(Some(&namespace.config), &Environment::default())?;
    let cql = ScyllaCql::new(&config, SystemClock);
    let store = cql.connect_store(&MemberId::new(1, 1)).await?;
    let mut attempts = 0;
    let some = counters(attempts);
    ensure!(store.replicas(&some[0]).is_none(), "no node is admitted");
    let nodes = store.nodes().await;
    let ids: Vec<_> = nodes.iter().map(|known| known.node.id).collect();
    ensure!(ids.len() == 3, "{nodes:?}");
    store.admit(&ids);

    until_shared(&store, &some, true).await?;
    let together = applied(&store, &mut attempts, 10).await?;

    namespace.servers.kill("cassandra-3").await?;
    let seen = until_shared(&store, &some, false).await;
    let alone = applied(&store, &mut attempts, 1).await;
    namespace.servers.start("cassandra-3").await?;
    seen?;
    let alone = alone?;
    until_shared(&store, &some, true).await?;

    for counter in together.iter().chain(&alone[..1]) {
        let cells = CellSelection::Whole;
        let read = store.read(counter, cells, Level::Quorum).await?;
        ensure!(read.len() == 1 && read[0].1.0 == 1, "{counter}: {read:?}");
    }
    for counter in &alone[1..] {
        let cells = CellSelection::Whole;
        let read = store.read(counter, cells, Level::Quorum).await?;
        ensure!(read.is_empty(), "{counter}: {read:?}");
    }
    Ok(())
}
