//! The cluster of batch counts is away while the other one is up.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use stitch_harness::corruptor::drop_table;
use stitch_harness::events::{Generator, Shape};
use stitch_harness::proxy::Proxy;
use stitch_harness::test_namespace::TestNamespace;

use crate::support::{BOUND, Layers, batch, done, second_cluster};

/// The message of a command that could not be done.
async fn refused(namespace: &TestNamespace, command: &str) -> Result<String> {
    let finished = batch(namespace, &[command])?.run(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    let report: Value = serde_json::from_str(&finished.output)?;
    let message = report["error"]["message"].as_str().context("a message")?;
    Ok(message.to_owned())
}

/// While it is away: batch alone fails, and says so.
async fn batch_alone_fails(layers: &Layers, published: &Value) -> Result<()> {
    let (status, problem) = layers.months("batch").await?;
    ensure!(
        status == 503 && problem["type"] == "/problems/store-unavailable",
        "{problem}"
    );
    let node = &layers.nodes[0];
    for command in ["run", "compare"] {
        let message = refused(&layers.namespace, command).await?;
        ensure!(message.contains(node), "{command}: {message}");
    }
    // What is published is not in that cluster.
    let known = done(&layers.namespace, &["status"]).await?;
    ensure!(
        known["published"]["totals"] == published["totals"],
        "{known}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_cluster_of_batch_is_away_counts_in_real_time_go_on() -> Result<()> {
    let store = tempfile::tempdir()?;
    let [server] = &second_cluster()?[..] else {
        bail!("one node");
    };
    // While there is no proxy, connections are refused as by a host whose Cassandra was killed.
    let up = Proxy::cassandra(server).await?;
    let address = up.address();
    let nodes = vec![address.clone()];
    let mut layers = Layers::start_reaching(store.path(), "second_away", "", nodes).await?;
    let processor = layers.namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    layers.feed(&mut events, 2000).await?;
    let first = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&first["totals"]).await?;
    let counted = layers.sum("realtime", "realtime").await?;
    ensure!(counted > 0 && layers.sum("batch", "batch").await? == counted);
    let table = format!("{}.batch_counts", layers.keyspace);
    let elsewhere = drop_table(&layers.namespace.servers.cassandra, &table).await;
    ensure!(elsewhere.is_err(), "the first cluster has {table}");

    drop(up);
    layers.feed(&mut events, 1000).await?;
    let more = layers.sum("realtime", "realtime").await?;
    ensure!(more > counted, "{counted} {more}");
    ensure!(layers.sum("auto", "realtime").await? == more);
    layers.until_ready_says("counts are served").await?;
    batch_alone_fails(&layers, &first).await?;
    // A server that starts now serves real time, and batch as soon as it can.
    let mut late = layers.namespace.api_command("run", &[])?.start()?;
    let its_address = TestNamespace::address(&mut late).await?;
    let early = std::mem::replace(&mut layers.api, late);
    let early_address = std::mem::replace(&mut layers.address, its_address);
    layers
        .until_ready_says("batch counts are not served yet")
        .await?;
    ensure!(layers.sum("auto", "realtime").await? == more);
    let _up = Proxy::cassandra_at(&address, server).await?;

    layers.until_served(&first["totals"]).await?;
    ensure!(layers.sum("batch", "batch").await? == counted);
    let second = done(&layers.namespace, &["run"]).await?;
    ensure!(second["base"]["totals"] == first["totals"], "{second}");
    layers.until_served(&second["totals"]).await?;
    ensure!(layers.sum("batch", "batch").await? == more);
    // The server that has seen it go away, too.
    let late = std::mem::replace(&mut layers.api, early);
    layers.address = early_address;
    layers.until_served(&second["totals"]).await?;
    ensure!(layers.sum("batch", "batch").await? == more);
    let compared = done(&layers.namespace, &["compare"]).await?;
    ensure!(compared["outcome"] == "equal", "{compared}");
    let stopped = late.stop(BOUND).await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    layers.end(processor).await
}
