//! A namespace for one test: topic, table, ZooKeeper root and configuration, and the product's programs in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng;

use crate::events::COUNTERS;
use crate::feed::{Feed, create_topic, forget_records};
use crate::lag::Lag;
use crate::process::{Finished, Process, Program, binary};
use crate::recount::{Cells, Verdict, count_log, recount};
use crate::servers::Servers;

/// Longest run of a command that only reads or sets up.
const COMMAND_BOUND: Duration = Duration::from_secs(60);

/// Longest time that a processor takes to start counting, or to stop.
const PROCESSOR_BOUND: Duration = Duration::from_secs(90);

/// Timeouts of tests without faults: even on a busy machine no increment is given up, whose in-doubt marker would make
/// counts uncertain.
pub const PATIENT: &str =
    "\n[cassandra]\nrequest_timeout_ms = 30000\nkeepalive_timeout_ms = 10000\n";

/// Marks the line in which a processor or an API reports that it runs; the address of its HTTP server follows.
const LISTENING: &str = "http://";

/// What a test namespace is created from.
#[derive(Clone, Debug)]
pub struct TestConfig {
    /// Names the test or the demo: lower-case letters, digits and `_`.
    pub name: String,
    /// The folder of its files; created if missing.
    pub folder: PathBuf,
    pub partitions: i32,
    /// `[event]`, `[[counter]]` and every other difference from the defaults of [`TestNamespace`], as TOML.
    pub config: String,
}

impl TestConfig {
    /// The generator's counters, four partitions, and a folder below the repository's `target`.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            folder: crate::servers::repository()?
                .join("target/namespaces")
                .join(name),
            partitions: 4,
            config: COUNTERS.to_owned(),
        })
    }
}

/// A namespace: a topic, a table, a ZooKeeper root, a configuration file.
#[derive(Clone, Debug)]
pub struct TestNamespace {
    pub servers: Servers,
    /// Also the name of the topic and of the keyspace.
    pub name: String,
    /// Contains the configuration and the programs' output.
    pub folder: PathBuf,
    pub config: PathBuf,
    /// What was counted of records that are deleted.
    lost: Arc<Mutex<Cells>>,
}

impl TestNamespace {
    /// Creates topic and configuration, then runs `stitch-processor init`.
    pub async fn build(servers: &Servers, test_config: &TestConfig) -> Result<Self> {
        let namespace = Self::bare(servers, test_config).await?;
        let replication = namespace.servers.cassandra.len().to_string();
        let init = namespace.processor_command("init", &["--replication", &replication])?;
        let finished = init.run(COMMAND_BOUND).await?;
        ensure!(
            finished.code == Some(0),
            "init exited with {:?}: {}{}",
            finished.code,
            finished.output,
            finished.errors
        );
        Ok(namespace)
    }

    /// Creates topic and configuration, without `init`.
    pub async fn bare(servers: &Servers, test_config: &TestConfig) -> Result<Self> {
        let distinct: u32 = rand::rng().random();
        std::fs::create_dir_all(&test_config.folder)
            .with_context(|| test_config.folder.display().to_string())?;
        let namespace = Self {
            servers: servers.clone(),
            config: test_config.folder.join("stitch.toml"),
            folder: test_config.folder.clone(),
            name: format!("{}_{distinct:08x}", test_config.name),
            lost: Arc::default(),
        };
        namespace.configure(&test_config.config)?;
        create_topic(&servers.kafka, namespace.topic(), test_config.partitions).await?;
        Ok(namespace)
    }

    /// Writes the configuration file: this namespace's defaults, overridden by `changes`.
    pub fn configure(&self, changes: &str) -> Result<()> {
        let mut config = self.defaults()?;
        merge(&mut config, crate::secure::sections()?);
        merge(
            &mut config,
            changes
                .parse()
                .context("the changes of the configuration")?,
        );
        std::fs::write(&self.config, toml::to_string(&config)?)
            .with_context(|| self.config.display().to_string())
    }

    fn defaults(&self) -> Result<toml::Table> {
        let Self { name, servers, .. } = self;
        // Short sessions, requests and keepalives: faults are noticed soon, and a quiescence barrier takes seconds.
        let text = format!(
            r#"
            namespace = "{name}"
            [zookeeper]
            connect = "{zookeeper}"
            session_timeout_ms = 4000
            [cassandra]
            nodes = {nodes:?}
            keyspace = "{name}"
            request_timeout_ms = 2000
            keepalive_interval_ms = 1000
            keepalive_timeout_ms = 1000
            [kafka]
            topic = "{name}"
            [kafka.client]
            "bootstrap.servers" = "{kafka}"
            "group.id" = "{name}"
            "session.timeout.ms" = "10000"
            "heartbeat.interval.ms" = "500"
            [ranges]
            bits = 4
            [processor]
            drain_timeout_ms = 5000
            stop_timeout_ms = 8000
            [restorator]
            journal = "{journal}"
            [totals]
            url = "file://{folder}/objects"
            spill = "{folder}/spill"
            "#,
            zookeeper = servers.zookeeper,
            nodes = servers.cassandra,
            kafka = servers.kafka,
            journal = self.journal().display(),
            folder = self.folder.display(),
        );
        Ok(text.parse()?)
    }

    /// The topic of events.
    pub fn topic(&self) -> &str {
        &self.name
    }

    /// The keyspace of the table of counts.
    pub fn keyspace(&self) -> &str {
        &self.name
    }

    /// The folder of the restorator's journals.
    pub fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// A producer for the topic.
    pub fn feed(&self) -> Result<Feed> {
        Feed::new(&self.servers.kafka, self.topic())
    }

    /// The processors' consumer lag.
    pub fn lag(&self) -> Result<Lag> {
        Lag::new(&self.servers.kafka, self.topic(), &self.name)
    }

    /// A command of the processor, not yet started.
    pub fn processor_command(&self, command: &str, arguments: &[&str]) -> Result<Program> {
        self.program("stitch-processor", command, arguments)
    }

    /// A command of the restorator, not yet started.
    pub fn restorator_command(&self, command: &str, arguments: &[&str]) -> Result<Program> {
        self.program("stitch-restorator", command, arguments)
    }

    /// A command of the archiver, not yet started.
    pub fn archive_command(&self, command: &str, arguments: &[&str]) -> Result<Program> {
        self.program("stitch-archive", command, arguments)
    }

    /// A command of `stitch-totals`, not yet started.
    pub fn totals_command(&self, command: &str, arguments: &[&str]) -> Result<Program> {
        self.program("stitch-totals", command, arguments)
    }

    /// A command of `stitch-batch`, not yet started.
    pub fn batch_command(&self, command: &str, arguments: &[&str]) -> Result<Program> {
        self.program("stitch-batch", command, arguments)
    }

    /// A command of the API, not yet started. It listens on a port that the system chooses.
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

    /// Starts a processor and waits until it reports that it runs.
    pub async fn processor(&self, name: &str) -> Result<Process> {
        self.processor_reaching(name, &self.servers.cassandra).await
    }

    /// As [`Self::processor`], reaching Cassandra at other addresses: those of proxies.
    pub async fn processor_reaching(&self, name: &str, cassandra: &[String]) -> Result<Process> {
        let mut program = self.processor_command("run", &[])?;
        name.clone_into(&mut program.name);
        let nodes = format!("{cassandra:?}");
        program.environment = vec![("STITCH_CASSANDRA__NODES".to_owned(), nodes)];
        let mut process = program.start()?;
        process.until_says(LISTENING, PROCESSOR_BOUND).await?;
        Ok(process)
    }

    /// The address of a processor's or an API's HTTP server.
    pub async fn address(process: &mut Process) -> Result<String> {
        let line = process.until_says(LISTENING, PROCESSOR_BOUND).await?;
        let (_, rest) = line.split_once(LISTENING).context("an address")?;
        let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
        Ok(rest[..end.unwrap_or(rest.len())].to_owned())
    }

    /// Runs a command of the restorator until it exits.
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

    /// Stops processors; fails unless each exits with 0 and without an alarm.
    pub async fn stop(&self, processors: impl IntoIterator<Item = Process>) -> Result<()> {
        let stops = processors
            .into_iter()
            .map(|processor| processor.stop(PROCESSOR_BOUND));
        for finished in futures_util::future::try_join_all(stops).await? {
            ensure!(
                finished.code == Some(0),
                "a processor exited with {:?}: {}",
                finished.code,
                finished.errors
            );
            for alarm in ["invariant broken", "panicked at"] {
                ensure!(
                    !finished.errors.contains(alarm),
                    "a processor logged \"{alarm}\": {}",
                    finished.errors
                );
            }
        }
        Ok(())
    }

    /// Deletes every record that the log has now, as Kafka's retention does. Recounts still count them. Nothing may be
    /// produced meanwhile that is to stay. Returns how many positions were deleted.
    pub async fn forget_log(&self) -> Result<i64> {
        let (counted, ends) = count_log(&self.servers, &self.config, self.topic()).await?;
        let kafka = &self.servers.kafka;
        for (partition, end) in &ends {
            forget_records(kafka, self.topic(), *partition, *end).await?;
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        for (cell, count) in counted {
            *lost.entry(cell).or_default() += count;
        }
        Ok(ends.into_iter().map(|(_, end)| end).sum())
    }

    /// Recounts every record that was ever in the log, and compares that with the table.
    pub async fn recount(&self) -> Result<Verdict> {
        let lost = self
            .lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Self {
            servers, config, ..
        } = self;
        recount(servers, config, self.topic(), self.keyspace(), &lost).await
    }
}

/// Overrides `table` by `changes`: tables are merged, any other value is replaced.
fn merge(table: &mut toml::Table, changes: toml::Table) {
    for (name, change) in changes {
        match (table.get_mut(&name), change) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(change)) => merge(inner, change),
            (_, change) => drop(table.insert(name, change)),
        }
    }
}

/// The `[event]`, `[[counter]]` and `[ranges]` of a configuration file.
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
