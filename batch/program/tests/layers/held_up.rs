//! The network between a load and its cluster fails or is slow, while readers reach it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use stitch_harness::events::{Generator, Shape};
use stitch_harness::process::Program;
use stitch_harness::proxy::{Mode, Proxy};
use tokio::time::timeout;

use crate::support::{BOUND, Layers, batch, done};

/// Of each request and of each reply.
const SLOW: Duration = Duration::from_millis(20);

/// A load that reaches its cluster through this proxy.
fn through(proxy: &Proxy, layers: &Layers) -> Result<Program> {
    let mut run = batch(&layers.namespace, &["run"])?;
    let nodes = format!("[\"{}\"]", proxy.address());
    run.environment = vec![("STITCH_BATCH__CASSANDRA__NODES".to_owned(), nodes)];
    Ok(run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_cut_off_waits_and_publishes_what_is_right() -> Result<()> {
    let store = tempfile::tempdir()?;
    let layers = Layers::start(store.path(), "held_up", "").await?;
    let proxy = Proxy::cassandra(&layers.nodes[0]).await?;
    let processor = layers.namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    layers.feed(&mut events, 2000).await?;
    let first = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&first["totals"]).await?;
    let published = layers.sum("batch", "batch").await?;

    layers.feed(&mut events, 1000).await?;
    let counted = layers.sum("realtime", "realtime").await?;
    // It has begun to load when the first batch is lost, and cannot end without it.
    proxy.lose_batches(1);
    let mut run = through(&proxy, &layers)?.start()?;
    timeout(BOUND, proxy.until_all_are_lost()).await?;
    proxy.set(Mode::Refuse);
    let said = run.until_says("Cassandra does not answer, waiting", BOUND);
    said.await?;
    let status = done(&layers.namespace, &["status"]).await?;
    ensure!(
        status["published"]["totals"] == first["totals"] && status["loading"].is_object(),
        "{status}"
    );
    ensure!(layers.generation().await? == first["totals"]);
    // As of the older generation, or newer.
    let served = layers.sum("batch", "batch").await?;
    ensure!(
        (published..=counted).contains(&served),
        "{published} {served} {counted}"
    );
    proxy.set(Mode::Pass);
    let finished = run.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let second: Value = serde_json::from_str(&finished.output)?;
    ensure!(second["outcome"] == "published", "{second}");
    layers.until_served(&second["totals"]).await?;
    ensure!(layers.sum("batch", "batch").await? == counted);

    // Slow, and nothing else.
    layers.feed(&mut events, 100).await?;
    proxy.set(Mode::Delay(SLOW));
    let finished = through(&proxy, &layers)?.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let third: Value = serde_json::from_str(&finished.output)?;
    layers.until_served(&third["totals"]).await?;
    let counted = layers.sum("realtime", "realtime").await?;
    ensure!(layers.sum("batch", "batch").await? == counted);
    layers.end(processor).await
}
