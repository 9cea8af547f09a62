//! ZooKeeper is away while both layers are served: what is published does not change by that.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::events::{Generator, Shape};
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::web::get;
use tokio::time::{sleep, timeout};

use crate::support::{BOUND, Layers, POLL_INTERVAL, done};

/// Waits until it is known, or not known any more, how fresh counts in real time are.
async fn until_known(layers: &Layers, is_known: bool) -> Result<()> {
    let path = "/v1/counters/plays/keys/track-1?layer=realtime";
    let changed = async {
        loop {
            let (_, body) = get(&layers.address, path).await?;
            let answer: Value = serde_json::from_str(&body)?;
            if (answer["freshness"]["state"] != "unknown") == is_known {
                return anyhow::Ok(());
            }
            sleep(POLL_INTERVAL).await;
        }
    };
    timeout(BOUND, changed)
        .await
        .context("it does not change")?
}

#[tokio::test(flavor = "multi_thread")]
async fn while_zookeeper_is_away_closed_periods_are_served_by_the_last_generation() -> Result<()> {
    let store = tempfile::tempdir()?;
    let mut layers = Layers::start(store.path(), "zookeeper_away", "").await?;
    let proxy = Proxy::start(&layers.namespace.servers.zookeeper).await?;
    let address = proxy.address();
    layers
        .restart_with(&[("STITCH_ZOOKEEPER__CONNECT", &address)])
        .await?;
    let processor = layers.namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    layers.feed(&mut events, 2000).await?;
    let first = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&first["totals"]).await?;
    let counted = layers.sum("batch", "batch").await?;
    ensure!(counted > 0, "{counted}");

    proxy.set(Mode::Refuse);
    until_known(&layers, false).await?;
    layers.feed(&mut events, 1000).await?;
    let second = done(&layers.namespace, &["run"]).await?;
    ensure!(second["outcome"] == "published", "{second}");
    // The table has the next generation by now. What is served is called what this server last knew of, and is no older.
    for layer in ["auto", "batch"] {
        let sum = layers.sum(layer, "batch").await?;
        ensure!(sum >= counted, "{layer}: {sum} and not {counted}");
        let (_, answer) = layers.months(layer).await?;
        let freshness = &answer["freshness"];
        ensure!(
            freshness["state"] == "batch" && freshness["batch"]["generation"] == first["totals"],
            "{answer}"
        );
    }
    layers.until_ready_says("ZooKeeper cannot be read").await?;
    proxy.set(Mode::Pass);
    until_known(&layers, true).await?;
    layers.until_served(&second["totals"]).await?;
    let more = layers.sum("realtime", "realtime").await?;
    ensure!(layers.sum("auto", "batch").await? == more);
    layers.end(processor).await
}
