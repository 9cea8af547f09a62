//! Batch counts in a keyspace of their own, beside processors that count: real servers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::events::{COUNTERS, Generator, Shape};
use stitch_harness::process::{Program, binary};
use stitch_harness::recount::CellId;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};

const BOUND: Duration = Duration::from_secs(90);

fn program(namespace: &TestNamespace, arguments: &[&str]) -> Result<Program> {
    let config = namespace.config.display().to_string();
    let last = ["--output", "json", "--config", &config];
    Ok(Program {
        name: format!("stitch-batch-{}", arguments[0]),
        path: binary("stitch-batch")?,
        arguments: [arguments, &last]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        environment: Vec::new(),
        folder: namespace.folder.clone(),
    })
}

async fn run(namespace: &TestNamespace, arguments: &[&str]) -> Result<(i32, Value)> {
    let finished = program(namespace, arguments)?.run(BOUND).await?;
    let report = serde_json::from_str(&finished.output);
    let report = report.with_context(|| format!("{finished:?}"))?;
    Ok((finished.code.context("an exit code")?, report))
}

/// Runs a command that has to succeed.
async fn done(namespace: &TestNamespace, arguments: &[&str]) -> Result<Value> {
    let (code, report) = run(namespace, arguments).await?;
    ensure!(code == 0, "{arguments:?}: {report}");
    Ok(report)
}

async fn namespace_in(store: &std::path::Path, name: &str) -> Result<TestNamespace> {
    let servers = Servers::from_environment()?;
    let mut config = TestConfig::new(&format!("batch_{name}"))?;
    let nodes = servers.cassandra.clone();
    // As if it were another cluster: its own nodes, its own keyspace.
    let keyspace = format!("{name}_{}", std::process::id());
    config.config = format!(
        "{COUNTERS}\n[totals]\nurl = \"file://{store}\"\nspill = \"{store}/spill\"\n[batch]\nenabled = true\n\
         closed_after_ms = 0\n[batch.cassandra]\nnodes = {nodes:?}\nkeyspace = \"{keyspace}\"\n",
        store = store.display()
    );
    TestNamespace::build(&servers, &config).await
}

/// Before `init` nothing can be loaded; it may be repeated.
async fn initialise(namespace: &TestNamespace) -> Result<()> {
    let (code, report) = run(namespace, &["run"]).await?;
    let message = report["error"]["message"].as_str().unwrap_or_default();
    ensure!(
        code == 2 && message.contains("there is no keyspace"),
        "{report}"
    );
    let replication = namespace.servers.cassandra.len().to_string();
    let report = done(namespace, &["init", "--replication", &replication]).await?;
    ensure!(report["outcome"] == "created", "{report}");
    let report = done(namespace, &["init"]).await?;
    ensure!(report["outcome"] == "agrees", "{report}");
    let report = done(namespace, &["status"]).await?;
    ensure!(report["outcome"] == "empty", "{report}");
    Ok(())
}

/// After a count was changed by hand, it is named.
async fn drift_is_named(namespace: &TestNamespace) -> Result<()> {
    let drift = CellId {
        counter: "plays".to_owned(),
        key: "changed by hand".to_owned(),
        granularity: "hour".to_owned(),
        bucket_ms: 3_600_000,
    };
    let corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    corruptor.add(&drift, 5).await?;
    let (code, report) = run(namespace, &["compare"]).await?;
    ensure!(code == 1 && report["different"] == 1, "{report}");
    let named = &report["named"][0];
    ensure!(
        named["key"] == drift.key && named["batch"] == 0 && named["realtime"] == 5,
        "{report}"
    );
    Ok(())
}

/// Of all totals but the newest only those are kept that are published.
async fn pruned_but_what_is_published(namespace: &TestNamespace, id: &str) -> Result<()> {
    let arguments = ["--keep", "1", "--output", "json"];
    let prune = namespace.totals_command("prune", &arguments)?;
    let finished = prune.run(BOUND).await?;
    let report: Value =
        serde_json::from_str(&finished.output).with_context(|| format!("{finished:?}"))?;
    ensure!(
        report["needed_by_batch"] == serde_json::json!([id]),
        "{report}"
    );
    let kept = report["kept"].as_array().context("kept")?;
    let newest = kept.last().context("the newest")?;
    ensure!(
        kept.len() == 1 + usize::from(newest != id) && kept[0] == id,
        "{report}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_loaded_read_back_published_and_compared() -> Result<()> {
    let store = tempfile::tempdir()?;
    let namespace = namespace_in(store.path(), "published").await?;
    initialise(&namespace).await?;

    let processor = namespace.processor("processor").await?;
    let mut events = Generator::new(Shape::default())?;
    let feed = namespace.feed()?;
    feed.send(events.by_ref().take(3000).collect::<Vec<_>>())
        .await?;
    let first = done(&namespace, &["run"]).await?;
    ensure!(first["outcome"] == "published", "{first}");
    ensure!(
        first["base"] == "table" && first["loaded"] == first["rows"],
        "{first}"
    );
    let again = done(&namespace, &["run"]).await?;
    ensure!(
        again["outcome"] == "unchanged" && again["loaded"] == 0,
        "{again}"
    );
    ensure!(again["as_of"].as_str() > first["as_of"].as_str(), "{again}");

    feed.send(events.by_ref().take(30).collect::<Vec<_>>())
        .await?;
    let second = done(&namespace, &["run"]).await?;
    ensure!(
        second["base"]["totals"] == first["totals"] && second["loaded"].as_u64() > Some(0),
        "{second}"
    );
    ensure!(
        second["loaded"].as_u64() < first["loaded"].as_u64(),
        "{second}"
    );
    let status = done(&namespace, &["status"]).await?;
    ensure!(
        status["published"]["totals"] == second["totals"],
        "{status}"
    );
    // Back to the former ones, and forward: each time the table is scanned, and what differs is written.
    for totals in [&first, &second] {
        let id = totals["totals"].as_str().context("an id")?;
        let loaded = done(&namespace, &["load", id]).await?;
        ensure!(
            loaded["base"] == "table" && loaded["rows"] == totals["rows"],
            "{loaded}"
        );
        ensure!(loaded["loaded"] == second["loaded"], "{loaded} {second}");
        pruned_but_what_is_published(&namespace, id).await?;
    }

    namespace.stop([processor]).await?;
    let verdict = namespace.recount().await?;
    ensure!(verdict.all_right(), "{verdict}");
    let report = done(&namespace, &["compare"]).await?;
    ensure!(
        report["outcome"] == "equal" && report["cells"].as_u64() > Some(0),
        "{report}"
    );
    drift_is_named(&namespace).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_loads_at_once_one_waits() -> Result<()> {
    let store = tempfile::tempdir()?;
    let namespace = namespace_in(store.path(), "two_at_once").await?;
    let replication = namespace.servers.cassandra.len().to_string();
    done(&namespace, &["init", "--replication", &replication]).await?;
    let events = Generator::new(Shape::default())?.take(3000);
    namespace.feed()?.send(events.collect::<Vec<_>>()).await?;
    let (one, two) = (
        program(&namespace, &["run"])?,
        program(&namespace, &["run"])?,
    );
    let (one, two) = tokio::try_join!(one.run(BOUND), two.run(BOUND))?;
    let outcome = |finished: &stitch_harness::process::Finished| -> Result<String> {
        let report: Value = serde_json::from_str(&finished.output)?;
        Ok(report["outcome"].to_string())
    };
    let mut outcomes = [outcome(&one)?, outcome(&two)?];
    outcomes.sort();
    ensure!(
        outcomes == ["\"published\"", "\"unchanged\""],
        "{one:?} {two:?}"
    );
    Ok(())
}
