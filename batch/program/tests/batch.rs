//! Batch counts in a keyspace of their own, beside processors that count: real servers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::events::{COUNTERS, Generator, Shape};
use stitch_harness::process::{Finished, Program};
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::recount::CellId;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::zookeeper::ZooKeeperClient;
use tokio::time::{sleep, timeout};

const BOUND: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

fn program(namespace: &TestNamespace, arguments: &[&str]) -> Result<Program> {
    let (command, others) = arguments.split_first().context("a command")?;
    namespace.batch_command(command, &[others, &["--output", "json"]].concat())
}

async fn run(namespace: &TestNamespace, arguments: &[&str]) -> Result<(i32, Value)> {
    report(&program(namespace, arguments)?.run(BOUND).await?)
}

/// The exit code of a command, and the object that it printed.
fn report(finished: &Finished) -> Result<(i32, Value)> {
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

/// Counts that were broken differ until a restoration has corrected them. Nothing counts meanwhile.
async fn drift_is_alarmed_until_it_is_restored(namespace: &TestNamespace) -> Result<()> {
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    corruptor.corrupt(5).await?;
    let wrong = namespace.recount().await?.wrong;
    // All time has not ended, and is not compared.
    let of_ended = wrong.iter().filter(|cell| cell.id.granularity != "all");
    let of_ended = of_ended.count();
    ensure!(of_ended > 5, "{wrong:?}");
    let (code, report) = run(namespace, &["compare"]).await?;
    ensure!(
        code == 1 && report["different"] == of_ended && report["outcome"] == "differs",
        "{of_ended}: {report}"
    );
    let restored = namespace.restorator("run", &["--now"], BOUND).await?;
    ensure!(restored.code == Some(0), "{restored:?}");
    let report = done(namespace, &["compare"]).await?;
    ensure!(
        report["outcome"] == "equal" && report["different"] == 0,
        "{report}"
    );
    let verdict = namespace.recount().await?;
    ensure!(verdict.all_right(), "{verdict}");
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
    drift_is_named(&namespace).await?;
    drift_is_alarmed_until_it_is_restored(&namespace).await
}

/// Waits until a process has the lock of the loads, or waits for it.
async fn until_a_load_is_queued(namespace: &TestNamespace) -> Result<()> {
    let zookeeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let queue = format!("/stitch/{}/batch", namespace.name);
    let queued = async {
        while zookeeper.children(&queue).await?.is_empty() {
            sleep(POLL_INTERVAL).await;
        }
        anyhow::Ok(())
    };
    timeout(BOUND, queued).await.context("no load is queued")?
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_loads_at_once_one_waits_and_says_for_whom() -> Result<()> {
    let store = tempfile::tempdir()?;
    let namespace = namespace_in(store.path(), "two_at_once").await?;
    let replication = namespace.servers.cassandra.len().to_string();
    done(&namespace, &["init", "--replication", &replication]).await?;
    let processor = namespace.processor("processor").await?;
    let events = Generator::new(Shape::default())?.take(3000);
    namespace.feed()?.send(events.collect::<Vec<_>>()).await?;
    namespace.lag()?.until_none(BOUND).await?;

    // A node that does not answer holds up the first one, which has the lock by then.
    let proxy = Proxy::cassandra(&namespace.servers.cassandra[0]).await?;
    proxy.set(Mode::Blackhole);
    let mut first = program(&namespace, &["run"])?;
    let nodes = format!("[\"{}\"]", proxy.address());
    first.environment = [
        ("STITCH_BATCH__CASSANDRA__NODES", nodes.as_str()),
        ("STITCH_BATCH__CASSANDRA__KEEPALIVE_TIMEOUT_MS", "60000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let first = first.start()?;
    until_a_load_is_queued(&namespace).await?;
    let mut second = program(&namespace, &["run"])?.start()?;
    let said = second
        .until_says("another process loads batch counts", BOUND)
        .await?;
    let holder = format!("(process {} on ", first.pid());
    ensure!(said.contains(&holder), "not {holder}: {said}");
    proxy.set(Mode::Pass);
    let (first, second) = tokio::try_join!(first.finish(BOUND), second.finish(BOUND))?;
    ensure!(!first.errors.contains("another process"), "{first:?}");
    for (finished, outcome) in [(first, "published"), (second, "unchanged")] {
        let (code, report) = report(&finished)?;
        ensure!(code == 0 && report["outcome"] == outcome, "{finished:?}");
    }

    namespace.stop([processor]).await?;
    let verdict = namespace.recount().await?;
    ensure!(verdict.all_right(), "{verdict}");
    let compared = done(&namespace, &["compare"]).await?;
    ensure!(
        compared["outcome"] == "equal" && compared["cells"].as_u64() > Some(0),
        "{compared}"
    );
    Ok(())
}
