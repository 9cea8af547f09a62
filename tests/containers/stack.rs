//! Stitch and its servers in containers, as `deploy/compose.yaml` has them, and the faults of a container.

use std::env;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::events::COUNTERS;
use stitch_harness::servers::Servers;
use stitch_harness::web;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// Also the topic and the keyspace.
pub(crate) const NAMESPACE: &str = "containers";

const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// The containers of one compose project.
pub(crate) struct Stack {
    /// A script that runs compose with files and project.
    compose: PathBuf,
    project: String,
    pub(crate) config: PathBuf,
    pub(crate) servers: Servers,
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: deploy/test containers sets it"))
}

/// The configuration: the generator's counters, and timeouts that make faults be noticed soon. The addresses are those
/// of `deploy/compose.yaml`, which overrides them.
fn config() -> String {
    format!(
        r#"
namespace = "{NAMESPACE}"
[zookeeper]
connect = "zookeeper:2181"
session_timeout_ms = 4000
[cassandra]
nodes = ["cassandra:9042"]
keyspace = "{NAMESPACE}"
request_timeout_ms = 2000
keepalive_interval_ms = 1000
keepalive_timeout_ms = 1000
[kafka]
topic = "{NAMESPACE}"
[kafka.client]
"bootstrap.servers" = "kafka:19092"
"group.id" = "{NAMESPACE}"
"session.timeout.ms" = "10000"
"heartbeat.interval.ms" = "500"
[processor]
stop_timeout_ms = 8000
{COUNTERS}"#
    )
}

async fn run(mut command: Command) -> Result<Output> {
    command
        .output()
        .await
        .with_context(|| format!("{command:?}"))
}

/// Fails with standard error unless it ended with 0; returns standard output.
fn success(output: &Output, what: &str) -> Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs docker; fails unless it ends with 0.
pub(crate) async fn docker(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("docker");
    command.args(arguments);
    success(&run(command).await?, &arguments.join(" "))
}

impl Stack {
    /// Starts everything, and waits until the servers are healthy and the programs run.
    pub(crate) async fn up() -> Result<Self> {
        let config_file = PathBuf::from(variable("STITCH_CONFIG_FILE")?);
        std::fs::write(&config_file, config())?;
        let mut stack = Self {
            compose: PathBuf::from(variable("STITCH_TEST_COMPOSE")?),
            project: variable("STITCH_TEST_PROJECT")?,
            config: config_file,
            servers: Servers::from_environment()?,
        };
        stack.compose(&["up", "--no-build", "-d", "--wait"]).await?;
        let port = variable("STITCH_CASSANDRA_PORT")?;
        let address = stack.address("cassandra").await?;
        stack.servers = stack
            .servers
            .with_cassandra(vec![format!("{address}:{port}")]);
        Ok(stack)
    }

    /// Runs compose; fails unless it ends with 0.
    pub(crate) async fn compose(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.compose);
        command.args(arguments);
        success(&run(command).await?, &arguments.join(" "))
    }

    /// Runs a command of the restorator in a container; any exit code.
    pub(crate) async fn restorator(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.compose);
        command.args(["run", "--rm", "-T", "restorator", "stitch-restorator"]);
        command.args(arguments);
        run(command).await
    }

    fn container(&self, name: &str) -> String {
        let number = if name.contains('-') { "" } else { "-1" };
        format!("{}-{name}{number}", self.project)
    }

    /// A command about one container: `kill`, `start`, `pause`, `unpause`.
    pub(crate) async fn on(&self, command: &str, name: &str) -> Result<()> {
        let container = self.container(name);
        docker(&[command, &container]).await.map(drop)
    }

    /// A property of a container, by its template.
    pub(crate) async fn inspect(&self, name: &str, template: &str) -> Result<String> {
        let container = self.container(name);
        docker(&["inspect", "--format", template, &container]).await
    }

    /// Where the API is published.
    pub(crate) async fn api(&self) -> Result<String> {
        docker(&["port", &self.container("api"), "8080"]).await
    }

    /// Its address in the network of the project.
    async fn address(&self, name: &str) -> Result<String> {
        let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        self.inspect(name, template).await
    }

    /// Drops every packet of a container, in both directions and without a word, as when its host is cut off; or no
    /// longer.
    pub(crate) async fn cut_off(&self, name: &str, is_cut: bool) -> Result<()> {
        let pid = self.inspect(name, "{{.State.Pid}}").await?;
        for chain in ["INPUT", "OUTPUT"] {
            let operation = if is_cut { "--append" } else { "--delete" };
            let mut command = Command::new("nsenter");
            command.args(["--target", &pid, "--net", "iptables", "--wait", operation]);
            command.args([chain, "--jump", "DROP"]);
            success(&run(command).await?, "iptables")?;
        }
        Ok(())
    }

    /// A metric of a processor, if it answers.
    pub(crate) async fn metric(&self, name: &str, metric: &str) -> Result<Option<f64>> {
        let address = format!("{}:9100", self.address(name).await?);
        let page = web::get(&address, "/metrics").await;
        Ok(page.ok().and_then(|(_, page)| web::metric(&page, metric)))
    }

    /// Waits until a metric of a processor is at least this.
    pub(crate) async fn until_at_least(
        &self,
        name: &str,
        metric: &str,
        least: f64,
        bound: Duration,
    ) -> Result<()> {
        let reached = async {
            while self
                .metric(name, metric)
                .await?
                .is_none_or(|now| now < least)
            {
                sleep(POLL_INTERVAL).await;
            }
            Ok(())
        };
        timeout(bound, reached)
            .await
            .with_context(|| format!("{metric} of {name} is below {least}"))?
    }
}
