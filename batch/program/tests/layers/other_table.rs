//! The table of batch counts is not as it should be: somebody has changed it, or made it by hand.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::{drop_table, statement};
use stitch_harness::events::{Generator, Shape};

use crate::support::{BOUND, Layers, batch, done};

/// A load that is refused: the message and the help of its error.
async fn refused(layers: &Layers) -> Result<(String, String)> {
    let finished = batch(&layers.namespace, &["run"])?.run(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    let report: Value = serde_json::from_str(&finished.output)?;
    let text = |name: &str| report["error"][name].as_str().map(str::to_owned);
    let error = text("message").zip(text("help"));
    error.with_context(|| report.to_string())
}

/// Fails unless a load is refused by a message with the table and these words, and readers have what they had.
async fn refused_by(layers: &Layers, words: &[&str], published: &Value) -> Result<()> {
    let (message, help) = refused(layers).await?;
    for word in words
        .iter()
        .copied()
        .chain([&*layers.keyspace, "batch_counts"])
    {
        ensure!(message.contains(word), "\"{word}\" is not in {message}");
    }
    ensure!(!help.is_empty(), "{message}");
    let status = done(&layers.namespace, &["status"]).await?;
    ensure!(
        status["published"]["totals"] == *published && status["loading"].is_null(),
        "{status}"
    );
    Ok(())
}

/// Fails unless a request that leaves the layer open is answered with everything that is counted: by batch if it can be
/// read, else in real time.
async fn everything_is_served(layers: &Layers) -> Result<()> {
    let counted = layers.sum("realtime", "realtime").await?;
    let (code, answer) = layers.months("auto").await?;
    ensure!(
        code == 200 && answer["sum"] == counted,
        "{counted}: {answer}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_as_wanted_is_named_and_readers_keep_what_they_have() -> Result<()> {
    let store = tempfile::tempdir()?;
    let layers = Layers::start(store.path(), "other_table", "").await?;
    let processor = layers.namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    layers.feed(&mut events, 1000).await?;
    let first = done(&layers.namespace, &["run"]).await?;
    let published = &first["totals"];
    layers.until_served(published).await?;

    let table = format!("{}.batch_counts", layers.keyspace);
    let comment = format!("stitch namespace /stitch/{}", layers.namespace.name);
    let owned = format!("WITH comment = '{comment}'");
    for (change, back, words) in [
        ("WITH comment = ''", &*owned, &["comment", &*comment][..]),
        ("ADD note text", "DROP note", &["\"note\""]),
        (
            "RENAME key TO id",
            "RENAME id TO key",
            &["\"id\"", "\"key\""],
        ),
        ("DROP value", "ADD value bigint", &["\"value\""]),
    ] {
        statement(&layers.nodes, &format!("ALTER TABLE {table} {change}")).await?;
        refused_by(&layers, words, published).await?;
        ensure!(layers.generation().await? == *published);
        everything_is_served(&layers).await?;
        statement(&layers.nodes, &format!("ALTER TABLE {table} {back}")).await?;
    }
    // The column that was dropped has lost its values: they are not there, although nothing else has changed.
    layers.feed(&mut events, 100).await?;
    let second = done(&layers.namespace, &["run"]).await?;
    ensure!(
        second["loaded"].as_u64() >= second["rows"].as_u64(),
        "{second}"
    );
    layers.until_served(&second["totals"]).await?;
    let counted = layers.sum("realtime", "realtime").await?;
    ensure!(layers.sum("batch", "batch").await? == counted);

    // By hand, with another type of its values, and then as it should be but for the comment, which the message has.
    drop_table(&layers.nodes, &table).await?;
    let by_hand = |value: &str| {
        format!(
            "CREATE TABLE {table} (counter text, key text, granularity text, bucket timestamp, value {value}, \
             PRIMARY KEY ((counter, key), granularity, bucket))"
        )
    };
    statement(&layers.nodes, &by_hand("int")).await?;
    refused_by(&layers, &["\"value\"", "bigint", "int"], &second["totals"]).await?;
    layers.until_batch_is_unavailable().await?;
    everything_is_served(&layers).await?;
    drop_table(&layers.nodes, &table).await?;
    statement(&layers.nodes, &by_hand("bigint")).await?;
    refused_by(&layers, &["comment", &comment], &second["totals"]).await?;
    layers.until_batch_is_unavailable().await?;
    everything_is_served(&layers).await?;
    statement(&layers.nodes, &format!("ALTER TABLE {table} {owned}")).await?;
    // It holds nothing, and nothing of that is drift.
    let compared = batch(&layers.namespace, &["compare"])?.run(BOUND).await?;
    ensure!(
        compared.code == Some(2) && compared.output.contains("is in another table"),
        "{compared:?}"
    );
    let third = done(&layers.namespace, &["run"]).await?;
    ensure!(third["loaded"] == third["rows"], "{third}");
    layers.until_served(&third["totals"]).await?;
    ensure!(layers.sum("batch", "batch").await? == counted);
    layers.end(processor).await
}
