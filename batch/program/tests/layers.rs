//! Both layers over HTTP, while the program that loads batch counts is killed at any moment: real servers and processes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::drop_table;
use stitch_harness::events::{COUNTERS, Generator, Shape};
use stitch_harness::process::{Process, Program, binary};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::web::get;
use stitch_harness::zookeeper::ZooKeeperClient;
use tokio::time::{sleep, timeout};

const BOUND: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// When the first load is killed; each later one half as long again after its start.
const FIRST_KILL: Duration = Duration::from_millis(100);

struct Layers {
    namespace: TestNamespace,
    /// Of the cluster that has the batch counts.
    nodes: Vec<String>,
    keyspace: String,
    api: Process,
    address: String,
}

fn batch(namespace: &TestNamespace, arguments: &[&str]) -> Result<Program> {
    let config = namespace.config.display().to_string();
    let last = ["--output", "json", "--config", &config];
    let arguments = [arguments, &last].concat();
    Ok(Program {
        name: format!("stitch-batch-{}", arguments[0]),
        path: binary("stitch-batch")?,
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        environment: Vec::new(),
        folder: namespace.folder.clone(),
    })
}

async fn done(namespace: &TestNamespace, arguments: &[&str]) -> Result<Value> {
    let finished = batch(namespace, arguments)?.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{arguments:?}: {finished:?}");
    Ok(serde_json::from_str(&finished.output)?)
}

/// Makes the table of batch counts, unless it is there.
async fn initialise(namespace: &TestNamespace, nodes: &[String]) -> Result<Value> {
    let replication = nodes.len().to_string();
    done(namespace, &["init", "--replication", &replication]).await
}

impl Layers {
    async fn start(store: &Path, name: &str, section: &str) -> Result<Self> {
        let servers = Servers::from_environment()?;
        let mut config = TestConfig::new(&format!("layers_{name}"))?;
        // With this variable it is another cluster; else it is as if: nodes and a keyspace of its own.
        let nodes = match std::env::var("STITCH_TEST_BATCH_CASSANDRA") {
            Ok(nodes) => nodes.split(',').map(str::to_owned).collect(),
            Err(_) => servers.cassandra.clone(),
        };
        let keyspace = format!("{name}_{}", std::process::id());
        config.config = format!(
            "{COUNTERS}\n[totals]\nurl = \"file://{store}\"\nspill = \"{store}/spill\"\n[batch]\nenabled = true\n\
             closed_after_ms = 0\n{section}\n[batch.cassandra]\nnodes = {nodes:?}\nkeyspace = \"{keyspace}\"\n",
            store = store.display()
        );
        let namespace = TestNamespace::build(&servers, &config).await?;
        initialise(&namespace, &nodes).await?;
        let mut api = namespace.api_command("run", &[])?.start()?;
        let address = TestNamespace::address(&mut api).await?;
        Ok(Self {
            namespace,
            nodes,
            keyspace,
            api,
            address,
        })
    }

    async fn feed(&self, events: &mut Generator, count: usize) -> Result<()> {
        let events: Vec<_> = events.take(count).collect();
        self.namespace.feed()?.send(events).await?;
        self.namespace.lag()?.until_none(BOUND).await
    }

    /// Stops everything, and recounts what was counted in real time.
    async fn end(self, processor: Process) -> Result<()> {
        let namespace = self.stop().await?;
        namespace.stop([processor]).await?;
        let verdict = namespace.recount().await?;
        ensure!(verdict.all_right(), "{verdict}");
        Ok(())
    }

    /// The months of a track, which have all ended, as this layer has them: status and answer.
    async fn months(&self, layer: &str) -> Result<(u16, Value)> {
        let path = format!(
            "/v1/counters/plays/keys/track-1/series?granularity=month&from=2023-02-01&to=2024-06-01&layer={layer}"
        );
        let (status, body) = get(&self.address, &path).await?;
        Ok((status, serde_json::from_str(&body)?))
    }

    /// The sum of these months, if all of its points are of the layer `from`.
    async fn sum(&self, layer: &str, from: &str) -> Result<i64> {
        let (status, answer) = self.months(layer).await?;
        ensure!(status == 200, "{answer}");
        let points = answer["points"].as_array().context("points")?;
        ensure!(
            points.iter().all(|point| point["layer"] == from),
            "{answer}"
        );
        answer["sum"].as_i64().context("a sum")
    }

    /// Waits until the answers of batch are of this generation.
    async fn until_served(&self, totals: &Value) -> Result<()> {
        let served = async {
            loop {
                let (_, answer) = self.months("batch").await?;
                if answer["freshness"]["batch"]["generation"] == *totals {
                    return anyhow::Ok(());
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        timeout(BOUND, served).await.context("not served")?
    }

    /// Waits until `/ready`, which is 200, has a line with `text`.
    async fn until_ready_says(&self, text: &str) -> Result<()> {
        let said = async {
            loop {
                let (status, body) = get(&self.address, "/ready").await?;
                ensure!(status == 200, "{body}");
                if body.contains(text) {
                    return anyhow::Ok(());
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        timeout(BOUND, said).await.context("not said")?
    }

    async fn stop(self) -> Result<TestNamespace> {
        let stopped = self.api.stop(BOUND).await?;
        ensure!(
            stopped.code == Some(0) && !stopped.errors.contains("panicked"),
            "{stopped:?}"
        );
        Ok(self.namespace)
    }
}

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
    layers.stop().await?;
    Ok(())
}
