//! Both layers: a namespace that is counted in real time on one cluster and in batch on another, served by one API.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::events::{COUNTERS, Generator};
use stitch_harness::process::{Process, Program, binary};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::web::get;
use tokio::time::{sleep, timeout};

pub(crate) const BOUND: Duration = Duration::from_secs(90);
/// For so long a server may take a table for the one that it was (docs/operations/batch.md).
const WINDOW: Duration = Duration::from_secs(10);
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The nodes of the cluster that has the batch counts.
pub(crate) fn second_cluster() -> Result<Vec<String>> {
    let variable = "STITCH_TEST_BATCH_CASSANDRA";
    let nodes = std::env::var(variable)
        .with_context(|| format!("{variable} is not set: deploy/test sets it"))?;
    let nodes: Vec<String> = nodes.split(',').map(str::to_owned).collect();
    let first = Servers::from_environment()?.cassandra;
    ensure!(
        nodes != first,
        "{variable} is the cluster of counts in real time"
    );
    Ok(nodes)
}
pub(crate) struct Layers {
    pub(crate) namespace: TestNamespace,
    /// Of the cluster that has the batch counts, as programs reach them.
    pub(crate) nodes: Vec<String>,
    pub(crate) keyspace: String,
    /// What the configuration has beside the defaults of a namespace.
    pub(crate) sections: String,
    pub(crate) api: Process,
    pub(crate) address: String,
}

pub(crate) fn batch(namespace: &TestNamespace, arguments: &[&str]) -> Result<Program> {
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

/// Runs a command that has to succeed.
pub(crate) async fn done(namespace: &TestNamespace, arguments: &[&str]) -> Result<Value> {
    let finished = batch(namespace, arguments)?.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{arguments:?}: {finished:?}");
    Ok(serde_json::from_str(&finished.output)?)
}

/// Makes the table of batch counts, unless it is there.
pub(crate) async fn initialise(namespace: &TestNamespace, nodes: &[String]) -> Result<Value> {
    let replication = nodes.len().to_string();
    done(namespace, &["init", "--replication", &replication]).await
}

impl Layers {
    pub(crate) async fn start(store: &Path, name: &str, section: &str) -> Result<Self> {
        Self::start_reaching(store, name, section, second_cluster()?).await
    }

    /// As [`Self::start`], reaching the cluster of batch counts at other addresses.
    pub(crate) async fn start_reaching(
        store: &Path,
        name: &str,
        section: &str,
        nodes: Vec<String>,
    ) -> Result<Self> {
        let servers = Servers::from_environment()?;
        let mut config = TestConfig::new(&format!("layers_{name}"))?;
        let keyspace = format!("{name}_{}", std::process::id());
        let sections = format!(
            "{COUNTERS}\n[totals]\nurl = \"file://{store}\"\nspill = \"{store}/spill\"\n[batch]\nenabled = true\n\
             closed_after_ms = 0\n{section}\n[batch.cassandra]\nnodes = {nodes:?}\nkeyspace = \"{keyspace}\"\n",
            store = store.display()
        );
        config.config.clone_from(&sections);
        let namespace = TestNamespace::build(&servers, &config).await?;
        initialise(&namespace, &nodes).await?;
        let mut api = namespace.api_command("run", &[])?.start()?;
        let address = TestNamespace::address(&mut api).await?;
        Ok(Self {
            namespace,
            nodes,
            keyspace,
            sections,
            api,
            address,
        })
    }

    /// Stops the API, and starts it with the configuration as it is now.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.restart_with(&[]).await
    }

    /// As [`Self::restart`], with these environment variables.
    pub(crate) async fn restart_with(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        let mut program = self.namespace.api_command("run", &[])?;
        let variables = variables.iter();
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        program.environment.extend(variables);
        let mut api = program.start()?;
        self.address = TestNamespace::address(&mut api).await?;
        let former = std::mem::replace(&mut self.api, api);
        let stopped = former.stop(BOUND).await?;
        ensure!(stopped.code == Some(0), "{stopped:?}");
        Ok(())
    }

    pub(crate) async fn feed(&self, events: &mut Generator, count: usize) -> Result<()> {
        let events: Vec<_> = events.take(count).collect();
        self.namespace.feed()?.send(events).await?;
        self.namespace.lag()?.until_none(BOUND).await
    }

    /// Stops everything, and recounts what was counted in real time.
    pub(crate) async fn end(self, processor: Process) -> Result<()> {
        let namespace = self.stop().await?;
        namespace.stop([processor]).await?;
        let verdict = namespace.recount().await?;
        ensure!(verdict.all_right(), "{verdict}");
        Ok(())
    }

    /// The months of a track, which have all ended, as this layer has them: status and answer.
    pub(crate) async fn months(&self, layer: &str) -> Result<(u16, Value)> {
        self.months_of("plays", layer).await
    }

    /// As [`Self::months`], of another counter.
    pub(crate) async fn months_of(&self, counter: &str, layer: &str) -> Result<(u16, Value)> {
        let path = format!(
            "/v1/counters/{counter}/keys/track-1/series?granularity=month&from=2023-02-01&to=2024-06-01&layer={layer}"
        );
        let (status, body) = get(&self.address, &path).await?;
        Ok((status, serde_json::from_str(&body)?))
    }

    /// The sum of these months, if all of its points are of the layer `from`.
    pub(crate) async fn sum(&self, layer: &str, from: &str) -> Result<i64> {
        self.sum_of("plays", layer, from).await
    }

    /// As [`Self::sum`], of another counter.
    pub(crate) async fn sum_of(&self, counter: &str, layer: &str, from: &str) -> Result<i64> {
        let (status, answer) = self.months_of(counter, layer).await?;
        ensure!(status == 200, "{answer}");
        let points = answer["points"].as_array().context("points")?;
        ensure!(
            points.iter().all(|point| point["layer"] == from),
            "{answer}"
        );
        answer["sum"].as_i64().context("a sum")
    }

    /// The generation that is published, as readers see it.
    pub(crate) async fn generation(&self) -> Result<Value> {
        let (_, body) = get(&self.address, "/v1/freshness").await?;
        let answer: Value = serde_json::from_str(&body)?;
        Ok(answer["freshness"]["batch"]["generation"].clone())
    }

    /// Waits until the answers of batch are of this generation.
    pub(crate) async fn until_served(&self, totals: &Value) -> Result<()> {
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

    /// Waits until batch counts are not served, for less time than it may take to see that their table is another one.
    pub(crate) async fn until_batch_is_unavailable(&self) -> Result<()> {
        let unavailable = async {
            loop {
                let (status, answer) = self.months("batch").await?;
                if status == 503 && answer["type"] == "/problems/batch-unavailable" {
                    return anyhow::Ok(());
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        timeout(WINDOW, unavailable).await.context("still served")?
    }

    /// Waits until `/ready`, which is 200, has a line with `text`.
    pub(crate) async fn until_ready_says(&self, text: &str) -> Result<()> {
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

    pub(crate) async fn stop(self) -> Result<TestNamespace> {
        let stopped = self.api.stop(BOUND).await?;
        ensure!(
            stopped.code == Some(0) && !stopped.errors.contains("panicked"),
            "{stopped:?}"
        );
        Ok(self.namespace)
    }
}
