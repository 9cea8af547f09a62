//! A counter that is added to a namespace with both layers.

use anyhow::{Result, ensure};
use serde_json::Value;
use stitch_harness::events::{Generator, Shape};
use stitch_harness::recount::count_log;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;

use crate::support::{BOUND, Layers, done};

const ADDED: &str = r#"
[[counter]]
name = "heard"
on = ["play"]
key = "track"
granularities = ["hour", "month", "all"]
"#;

/// What the log has of the added counter's months and of all time, by a recount that shares no code with the product.
async fn recounted(namespace: &TestNamespace, granularity: &str) -> Result<i64> {
    let (cells, _) = count_log(&namespace.servers, &namespace.config, namespace.topic()).await?;
    let of_track = cells.iter().filter(|(cell, _)| {
        cell.counter == "heard" && cell.key == "track-1" && cell.granularity == granularity
    });
    Ok(of_track.map(|(_, count)| count).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_is_added_is_whole_in_batch_with_the_next_run() -> Result<()> {
    let store = tempfile::tempdir()?;
    let mut layers = Layers::start(store.path(), "added", "").await?;
    let processor = layers.namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    layers.feed(&mut events, 2000).await?;
    let first = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&first["totals"]).await?;

    layers.namespace.stop([processor]).await?;
    layers
        .namespace
        .configure(&format!("{}{ADDED}", layers.sections))?;
    let update = layers.namespace.processor_command("init", &["--update"])?;
    let updated = update.run(BOUND).await?;
    ensure!(updated.code == Some(0), "{updated:?}");
    let processor = layers.namespace.processor("with the counter").await?;
    layers.restart().await?;
    layers.feed(&mut events, 1000).await?;
    // Before the run that adds it: what was counted since, in real time.
    let (status, problem) = layers.months_of("heard", "batch").await?;
    ensure!(
        status == 503 && problem["type"] == "/problems/batch-unavailable",
        "{problem}"
    );
    let since = layers.sum_of("heard", "auto", "realtime").await?;
    let months = recounted(&layers.namespace, "month").await?;
    ensure!((1..months).contains(&since), "{since} of {months}");

    let second = done(&layers.namespace, &["run"]).await?;
    layers.until_served(&second["totals"]).await?;
    ensure!(layers.sum_of("heard", "batch", "batch").await? == months);
    ensure!(layers.sum_of("heard", "auto", "batch").await? == months);

    // In real time it is whole once it is restored.
    let arguments = ["--now", "--counter", "heard"];
    let restored = layers.namespace.restorator("run", &arguments, BOUND);
    let restored = restored.await?;
    ensure!(restored.code == Some(0), "{restored:?}");
    ensure!(layers.sum_of("heard", "realtime", "realtime").await? == months);
    let (_, body) = get(&layers.address, "/v1/counters/heard/keys/track-1").await?;
    let all: Value = serde_json::from_str(&body)?;
    let of_all_time = recounted(&layers.namespace, "all").await?;
    ensure!(
        all["layer"] == "realtime" && all["count"] == of_all_time,
        "{of_all_time}: {all}"
    );
    let compared = done(&layers.namespace, &["compare"]).await?;
    ensure!(compared["outcome"] == "equal", "{compared}");
    layers.end(processor).await
}
