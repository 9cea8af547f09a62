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

#[tokio::test(flavor = "multi_thread")]
async fn counters_share_a_request_while_all_of_their_replicas_are_up() -> Result<()> {
    let namespace = test_namespace("shared_requests").await?;
    let config = Config::load(Some(&namespace.config), &Environment::default())?;
    let cql = ScyllaCql::new(&config, SystemClock);
    let store = cql.connect_store(&MemberId::new(1, 1)).await?;
    let counters: Vec<_> = (0..10)
        .map(|n| Counter::new("plays", format!("track-{n}")))
        .collect();
    ensure!(
        store.replicas(&counters[0]).is_none(),
        "no node is admitted"
    );
    let nodes = store.nodes().await;
    let ids: Vec<_> = nodes.iter().map(|known| known.node.id).collect();
    ensure!(ids.len() == 3, "{nodes:?}");
    store.admit(&ids);

    until_shared(&store, &counters, true).await?;
    let outcome = increment(&store, &counters).await?;
    ensure!(outcome == Outcome::Applied, "{outcome:?}");

    namespace.servers.kill("cassandra-3").await?;
    let seen = until_shared(&store, &counters, false).await;
    let alone = increment(&store, &counters[..1]).await?;
    namespace.servers.start("cassandra-3").await?;
    seen?;
    ensure!(alone == Outcome::Applied, "{alone:?}");
    until_shared(&store, &counters, true).await?;

    for (counter, expected) in counters.iter().zip([2, 1, 1, 1, 1, 1, 1, 1, 1, 1]) {
        let cells = CellSelection::Whole;
        let read = store.read(counter, cells, Level::Quorum).await?;
        ensure!(
            read.len() == 1 && read[0].1.0 == expected,
            "{counter}: {read:?}"
        );
    }
    Ok(())
}
