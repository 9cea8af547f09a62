//! Both layers over HTTP, on two clusters of Cassandra, while the program that loads batch counts is killed at any moment,
//! and while the cluster of batch counts is away: real servers and processes.
//!
//! Beside the servers of every test they need a second Cassandra, its address in `STITCH_TEST_BATCH_CASSANDRA`, which
//! `deploy/test` sets (`deploy/local up --only cassandra`).

mod added_counter;
mod held_up;
mod other_table;
mod second_cluster;
mod support;
mod zookeeper_away;

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::drop_table;
use stitch_harness::events::{Generator, Shape};
use stitch_harness::feed::{create_topic, delete_topic};
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use stitch_harness::zookeeper::ZooKeeperClient;
use tokio::time::sleep;

use support::{BOUND, Layers, batch, done, initialise};

/// When the first load is killed; each later one half as long again after its start.
const FIRST_KILL: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn a_late_event_shows_in_real_time_and_with_the_next_batch() -> Result<()> {
    let store = tempfile::tempdir()?;
    let layers = Layers::start(store.path(), "late", "").await?;
    let processor = layers.namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    layers.feed(&mut events, 2000).await?;
    let counted = layers.sum("realtime", "realtime").await?;
    ensure!(counted > 0, "{counted}");
    // Before anything is published.
    ensure!(layers.sum("auto", "realtime").await? == counted);
    let (status, problem) = layers.months("batch").await?;
    ensure!(
        status == 503 && problem["type"] == "/problems/batch-unavailable",
        "{problem}"
    );
    let first = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&first["totals"]).await?;
    ensure!(layers.sum("batch", "batch").await? == counted);
    ensure!(layers.sum("auto", "batch").await? == counted);
    // Every event of the generator is of months that ended long ago.
    layers.feed(&mut events, 1000).await?;
    let more = layers.sum("realtime", "realtime").await?;
    ensure!(more > counted, "{more}");
    ensure!(layers.sum("auto", "batch").await? == counted);
    let (_, answer) = layers.months("auto").await?;
    ensure!(answer["freshness"]["as_of"] == answer["freshness"]["batch"]["as_of"]);
    let second = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&second["totals"]).await?;
    ensure!(layers.sum("auto", "batch").await? == more);
    ensure!(layers.sum("realtime", "realtime").await? == more);
    layers.end(processor).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_killed_at_any_moment_is_run_again_and_right() -> Result<()> {
    let store = tempfile::tempdir()?;
    let layers = Layers::start(store.path(), "killed", "").await?;
    let processor = layers.namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    layers.feed(&mut events, 2000).await?;
    let first = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&first["totals"]).await?;
    let published = layers.sum("batch", "batch").await?;
    let (mut kills, mut after) = (0, FIRST_KILL);
    // Each kill is a little later in the run, until a run ends before it is killed.
    loop {
        layers.feed(&mut events, 100).await?;
        let counted = layers.sum("realtime", "realtime").await?;
        let mut run = batch(&layers.namespace, &["run"])?.start()?;
        // The moment of the kill is the fault.
        sleep(after).await;
        if run.kill().await.is_err() {
            break;
        }
        kills += 1;
        after += after / 2;
        // As of the older generation, or newer.
        let served = layers.sum("batch", "batch").await?;
        ensure!(
            (published..=counted).contains(&served),
            "{published} {served} {counted}"
        );
    }
    ensure!(kills > 2, "{kills} kills");
    let last = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&last["totals"]).await?;
    let counted = layers.sum("realtime", "realtime").await?;
    ensure!(layers.sum("batch", "batch").await? == counted);
    let compared = done(&layers.namespace, &["compare"]).await?;
    ensure!(compared["outcome"] == "equal", "{compared}");
    layers.end(processor).await
}

/// Nothing but the table is lost: it is made and loaded again, and the process that has served the former one serves it.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_dropped_and_made_again_is_served_by_the_same_process() -> Result<()> {
    let store = tempfile::tempdir()?;
    let layers = Layers::start(store.path(), "made_again", "").await?;
    let processor = layers.namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    layers.feed(&mut events, 2000).await?;
    let first = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&first["totals"]).await?;
    let counted = layers.sum("batch", "batch").await?;
    ensure!(counted > 0, "{counted}");
    drop_table(&layers.nodes, &format!("{}.batch_counts", layers.keyspace)).await?;
    let made = initialise(&layers.namespace, &layers.nodes).await?;
    ensure!(made["outcome"] == "created", "{made}");
    // What is published is of the former table: the new one has no rows, and no row is no count of 0.
    layers.until_batch_is_unavailable().await?;
    ensure!(layers.sum("auto", "realtime").await? == counted);
    layers
        .until_ready_says("batch counts are not served: the table batch_counts")
        .await?;
    layers.feed(&mut events, 1000).await?;
    let second = done(&layers.namespace, &["run"]).await?;
    ensure!(second["loaded"] == second["rows"], "{second}");
    layers.until_served(&second["totals"]).await?;
    let more = layers.sum("realtime", "realtime").await?;
    ensure!(more > counted, "{counted} {more}");
    ensure!(layers.sum("batch", "batch").await? == more);
    ensure!(layers.sum("auto", "batch").await? == more);
    layers.end(processor).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_of_what_is_published_leaves_counts_in_real_time_as_they_are() -> Result<()>
{
    let store = tempfile::tempdir()?;
    let layers = Layers::start(store.path(), "damaged", "").await?;
    let processor = layers.namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    layers.feed(&mut events, 1000).await?;
    let published = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&published["totals"]).await?;
    let zookeeper = ZooKeeperClient::connect(&layers.namespace.servers.zookeeper).await?;
    let node = format!("/stitch/{}/batch", layers.namespace.name);
    let good = zookeeper.data(&node).await?;
    zookeeper.set(&node, &good[1..]).await?;
    layers
        .until_ready_says("batch counts are not served")
        .await?;
    let counted = layers.sum("auto", "realtime").await?;
    ensure!(counted > 0, "{counted}");
    let (_, answer) = layers.months("auto").await?;
    ensure!(answer["freshness"]["state"] == "live", "{answer}");
    let (status, problem) = layers.months("batch").await?;
    ensure!(
        status == 503 && problem["type"] == "/problems/batch-unavailable",
        "{problem}"
    );
    let log = layers.api.errors();
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    ensure!(errors.len() == 1 && errors[0].contains(&node), "{errors:?}");
    zookeeper.set(&node, &good).await?;
    layers.until_served(&published["totals"]).await?;
    ensure!(layers.sum("auto", "batch").await? == counted);
    layers.end(processor).await
}

/// Neither processors nor a table of counts: `init` makes the table of batch counts alone.
#[tokio::test(flavor = "multi_thread")]
async fn purely_in_batch_nothing_needs_processors_or_a_table_of_counts() -> Result<()> {
    let store = tempfile::tempdir()?;
    let layers = Layers::start(store.path(), "pure", "realtime = false").await?;
    let namespace = &layers.namespace;
    let refused = namespace.processor_command("run", &["--output", "json"])?;
    let refused = refused.run(BOUND).await?;
    let report: Value = serde_json::from_str(&refused.output)?;
    let message = report["error"]["message"].as_str().unwrap_or_default();
    ensure!(
        refused.code == Some(2) && message.contains("purely in batch"),
        "{refused:?}"
    );
    let (ready, body) = get(&layers.address, "/ready").await?;
    ensure!(ready == 200, "{body}");
    for (program, command) in [
        ("restorator", "sums"),
        ("restorator", "plan"),
        ("batch", "compare"),
    ] {
        let finished = match program {
            "batch" => batch(namespace, &[command])?.run(BOUND).await?,
            _ => {
                namespace
                    .restorator(command, &["--output", "json"], BOUND)
                    .await?
            }
        };
        let report: Value = serde_json::from_str(&finished.output)?;
        let message = report["error"]["message"].as_str().unwrap_or_default();
        ensure!(
            finished.code == Some(2) && message.contains("batch.realtime is false"),
            "{command}: {finished:?}"
        );
    }
    let checked = namespace.api_command("check", &["--output", "json"])?;
    let checked = checked.run(BOUND).await?;
    ensure!(checked.code == Some(0), "{checked:?}");
    ensure!(!checked.output.contains(".counts "), "{checked:?}");
    let events = Generator::new(Shape::default())?.take(2000);
    namespace.feed()?.send(events.collect::<Vec<_>>()).await?;
    let published = done(namespace, &["run"]).await?;
    layers.until_served(&published["totals"]).await?;
    let sum = layers.sum("auto", "batch").await?;
    ensure!(sum > 0, "{sum}");
    let path = "/v1/counters/plays/keys/track-1";
    let (_, body) = get(&layers.address, path).await?;
    let all: Value = serde_json::from_str(&body)?;
    ensure!(
        all["layer"] == "batch" && all["count"] == sum && all["freshness"]["state"] == "batch",
        "{all}"
    );
    // In neither cluster.
    let first = &namespace.servers.cassandra;
    for (nodes, keyspace) in [
        (first, namespace.keyspace()),
        (first, &*layers.keyspace),
        (&layers.nodes, namespace.keyspace()),
        (&layers.nodes, &*layers.keyspace),
    ] {
        let there = drop_table(nodes, &format!("{keyspace}.counts")).await;
        ensure!(there.is_err(), "{nodes:?} have {keyspace}.counts");
    }
    a_topic_made_again_is_refused(namespace).await?;
    layers.stop().await?;
    Ok(())
}

/// The topic was empty when the namespace was made, and no processor has kept its first records since.
async fn a_topic_made_again_is_refused(namespace: &TestNamespace) -> Result<()> {
    let (kafka, topic) = (&namespace.servers.kafka, namespace.topic());
    delete_topic(kafka, topic).await?;
    create_topic(kafka, topic, 4).await?;
    let shape = Shape {
        seed: 7,
        ..Shape::default()
    };
    // More than there were in the former one.
    let events = Generator::new(shape)?.take(5000);
    namespace.feed()?.send(events.collect::<Vec<_>>()).await?;
    let refused = batch(namespace, &["run"])?.run(BOUND).await?;
    ensure!(
        refused.code == Some(2) && refused.output.contains("its first record is another one"),
        "{refused:?}"
    );
    Ok(())
}
