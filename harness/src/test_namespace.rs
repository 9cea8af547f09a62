//! A namespace of its own on given servers, and the product's programs in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng;

use crate::events::COUNTERS;
use crate::feed::{Feed, create_topic};
use crate::lag::Lag;
use crate::process::{Finished, Process, Program, binary};
use crate::recount::{Verdict, recount};
use crate::servers::Servers;

/// How long a command that only looks or prepares may take.
const COMMAND_BOUND: Duration = Duration::from_secs(60);

/// How long a processor may take until it counts, and until it has stopped.
const PROCESSOR_BOUND: Duration = Duration::from_secs(30);

/// The line by which a processor or an API says that it runs; the address of its HTTP server follows.
const LISTENING: &str = "http://";

/// What makes a stage.
#[derive(Clone, Debug)]
pub struct TestConfig {
    /// Which test or demo this is: lower-case letters, digits and `_`.
    pub name: String,
    /// Where its files go; made if missing.
    pub folder: PathBuf,
    /// Partitions of the topic.
    pub partitions: i32,
    /// `[event]`, `[[counter]]` and whatever else shall differ, as TOML.
    pub config: String,
}

impl TestConfig {
    /// A setting with the generator's counters, and a folder below the repository's `target`.
    ///
    /// # Errors
    /// If this program does not run in the repository.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            folder: crate::servers::repository()?
                .join("target/stages")
                .join(name),
            partitions: 4,
            config: COUNTERS.to_owned(),
        })
    }
}

/// A namespace: a topic, a table, a ZooKeeper root, a configuration file.
#[derive(Clone, Debug)]
pub struct TestNamespace {
    /// On these servers.
    pub servers: Servers,
    /// The namespace; topic and keyspace are named like it.
    pub namespace: String,
    /// Where logs and the configuration are.
    pub folder: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
}

impl TestNamespace {
    /// Makes topic and configuration, and lets `stitch-processor init` do the rest.
    ///
    /// # Errors
    /// If a server or `init` refuses.
    pub async fn build(servers: &Servers, setting: &TestConfig) -> Result<Self> {
        let stage = Self::bare(servers, setting).await?;
        let replication = stage.servers.cassandra.len().to_string();
        let init = stage.processor_command("init", &["--replication", &replication])?;
        let finished = init.run(COMMAND_BOUND).await?;
        ensure!(
            finished.code == Some(0),
            "init ended with {:?}: {}{}",
            finished.code,
            finished.output,
            finished.errors
        );
        Ok(stage)
    }

    /// Makes topic and configuration only.
    ///
    /// # Errors
    /// If Kafka refuses.
    pub async fn bare(servers: &Servers, setting: &TestConfig) -> Result<Self> {
        let distinct: u32 = rand::rng().random();
        let namespace = format!("{}_{distinct:08x}", setting.name);
        std::fs::create_dir_all(&setting.folder)
            .with_context(|| setting.folder.display().to_string())?;
        let stage = Self {
            servers: servers.clone(),
            config: setting.folder.join("stitch.toml"),
            folder: setting.folder.clone(),
            namespace,
        };
        stage.configure(&setting.config)?;
        create_topic(&servers.kafka, stage.topic(), setting.partitions).await?;
        Ok(stage)
    }

    /// Writes the configuration file anew: the stage's own, with `changes` over it.
    ///
    /// # Errors
    /// If `changes` are not TOML or the file cannot be written.
    pub fn configure(&self, changes: &str) -> Result<()> {
        let mut config = self.own_config()?;
        merge(
            &mut config,
            changes
                .parse()
                .context("the changes of the configuration")?,
        );
        std::fs::write(&self.config, toml::to_string(&config)?)
            .with_context(|| self.config.display().to_string())
    }

    fn own_config(&self) -> Result<toml::Table> {
        let Self {
            namespace, servers, ..
        } = self;
        // Faults are noticed soon, so that a calm takes seconds: short sessions, short requests, short keepalives.
        let text = format!(
            r#"
            namespace = "{namespace}"
            [zookeeper]
            connect = "{zookeeper}"
            session_timeout_ms = 4000
            [cassandra]
            nodes = {nodes:?}
            keyspace = "{namespace}"
            request_timeout_ms = 2000
            keepalive_interval_ms = 1000
            keepalive_timeout_ms = 1000
            [kafka]
            topic = "{namespace}"
            [kafka.client]
            "bootstrap.servers" = "{kafka}"
            "group.id" = "{namespace}"
            "session.timeout.ms" = "10000"
            "heartbeat.interval.ms" = "500"
            [ranges]
            bits = 4
            [processor]
            drain_timeout_ms = 5000
            stop_timeout_ms = 8000
            [restorator]
            journal = "{journal}"
            "#,
            zookeeper = servers.zookeeper,
            nodes = servers.cassandra,
            kafka = servers.kafka,
            journal = self.journal().display(),
        );
        Ok(text.parse()?)
    }

    /// The event topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.namespace
    }

    /// The keyspace of the table of counts.
    #[must_use]
    pub fn keyspace(&self) -> &str {
        &self.namespace
    }

    /// Where the restorator keeps its journals.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// Feeds the topic.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn feed(&self) -> Result<Feed> {
        Feed::new(&self.servers.kafka, self.topic())
    }

    /// Watches how far the processors are.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn lag(&self) -> Result<Lag> {
        Lag::new(&self.servers.kafka, self.topic(), &self.namespace)
    }

    /// A command of the processor, not started yet.
    ///
    /// # Errors
    /// If it was not built.
    pub fn processor_command(&self, command: &str, arguments: &[&str]) -> Result<Program> {
        self.program("stitch-processor", command, arguments)
    }

    /// A command of the restorator, not started yet.
    ///
    /// # Errors
    /// If it was not built.
    pub fn restorator_command(&self, command: &str, arguments: &[&str]) -> Result<Program> {
        self.program("stitch-restorator", command, arguments)
    }

    /// A command of the API, not started yet. It listens on a port of the system's choice.
    ///
    /// # Errors
    /// If it was not built.
    pub fn api_command(&self, command: &str, arguments: &[&str]) -> Result<Program> {
        let mut program = self.program("stitch-api", command, arguments)?;
        let listen = ("STITCH_API__LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        program.environment.push(listen);
        Ok(program)
    }

    fn program(&self, name: &str, command: &str, arguments: &[&str]) -> Result<Program> {
        let config = self.config.display().to_string();
        let distinct: u32 = rand::rng().random();
        Ok(Program {
            name: format!("{name}-{command}-{distinct:08x}"),
            path: binary(name)?,
            arguments: [command, "--config", &config]
                .iter()
                .chain(arguments)
                .map(|&argument| argument.to_owned())
                .collect(),
            environment: Vec::new(),
            folder: self.folder.clone(),
        })
    }

    /// Starts a processor and waits until it says that it runs.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn processor(&self, name: &str) -> Result<Process> {
        self.processor_reaching(name, &self.servers.cassandra).await
    }

    /// As [`Self::processor`], with other addresses of Cassandra: those of proxies.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn processor_reaching(&self, name: &str, cassandra: &[String]) -> Result<Process> {
        let mut program = self.processor_command("run", &[])?;
        name.clone_into(&mut program.name);
        let nodes = format!("{cassandra:?}");
        program.environment = vec![("STITCH_CASSANDRA__NODES".to_owned(), nodes)];
        let mut process = program.start()?;
        process.until_says(LISTENING, PROCESSOR_BOUND).await?;
        Ok(process)
    }

    /// Where a processor or an API that was started here answers HTTP.
    ///
    /// # Errors
    /// If it does not say so.
    pub async fn address(process: &mut Process) -> Result<String> {
        let line = process.until_says(LISTENING, PROCESSOR_BOUND).await?;
        let (_, rest) = line.split_once(LISTENING).context("its address")?;
        let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
        Ok(rest[..end.unwrap_or(rest.len())].to_owned())
    }

    /// Runs a command of the restorator to its end.
    ///
    /// # Errors
    /// If it does not end within the bound.
    pub async fn restorator(
        &self,
        command: &str,
        arguments: &[&str],
        bound: Duration,
    ) -> Result<Finished> {
        self.restorator_command(command, arguments)?
            .run(bound)
            .await
    }

    /// Stops processors, and expects that each ends well.
    ///
    /// # Errors
    /// If one does not.
    pub async fn stop(&self, processors: impl IntoIterator<Item = Process>) -> Result<()> {
        let stops = processors
            .into_iter()
            .map(|processor| processor.stop(PROCESSOR_BOUND));
        for finished in futures_util::future::try_join_all(stops).await? {
            ensure!(
                finished.code == Some(0),
                "a processor ended with {:?}: {}",
                finished.code,
                finished.errors
            );
            for alarm in ["invariant broken", "panicked at"] {
                ensure!(
                    !finished.errors.contains(alarm),
                    "a processor said \"{alarm}\": {}",
                    finished.errors
                );
            }
        }
        Ok(())
    }

    /// Counts everything anew and compares.
    ///
    /// # Errors
    /// If log or table cannot be read.
    pub async fn recount(&self) -> Result<Verdict> {
        recount(&self.servers, &self.config, self.topic(), self.keyspace()).await
    }
}

/// Puts `changes` over `table`, table by table; anything else replaces what was there.
fn merge(table: &mut toml::Table, changes: toml::Table) {
    for (name, change) in changes {
        match (table.get_mut(&name), change) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(change)) => merge(inner, change),
            (_, change) => drop(table.insert(name, change)),
        }
    }
}

/// The `[event]`, `[[counter]]` and `[ranges]` of a configuration file: what a stage takes over from it.
///
/// # Errors
/// If the file cannot be read, or has no counter.
pub fn counters_of(config: &Path) -> Result<String> {
    let text = std::fs::read_to_string(config).with_context(|| config.display().to_string())?;
    let mut table: toml::Table = text.parse().with_context(|| config.display().to_string())?;
    ensure!(
        table.contains_key("counter"),
        "{} has no [[counter]]",
        config.display()
    );
    table.retain(|name, _| ["event", "counter", "ranges"].contains(&name));
    Ok(toml::to_string(&table)?)
}
