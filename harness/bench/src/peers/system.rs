//! What is compared: how each is prepared, started, stopped and restored. All count the events of a topic of their own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use scylla::client::session::Session;
use stitch_harness::process::{Process, Program};
use stitch_harness::recount;
use stitch_harness::test_namespace::TestNamespace;

use crate::Bench;

/// Longest time of a clean stop, and of a restoration.
const BOUND: Duration = Duration::from_secs(300);

/// The Java that runs the peers, and the folder in which `deploy/lib/peers.sh` has built them.
#[derive(Clone, Debug)]
pub(crate) struct PeerPrograms {
    pub(crate) java: PathBuf,
    pub(crate) folder: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Stitch,
    KafkaStreams,
    Flink,
}

impl System {
    pub(crate) const EVERY: [Self; 3] = [Self::Stitch, Self::KafkaStreams, Self::Flink];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stitch => "Stitch",
            Self::KafkaStreams => "Kafka Streams",
            Self::Flink => "Flink",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Stitch => "stitch",
            Self::KafkaStreams => "streams",
            Self::Flink => "flink",
        }
    }

    /// The program's class, and the options of its virtual machine.
    const fn of_java(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Stitch => None,
            Self::KafkaStreams => Some(("peers.StreamsPeer", &["-Xmx512m"])),
            Self::Flink => Some((
                "peers.FlinkPeer",
                &[
                    "-Xmx768m",
                    "--add-opens=java.base/java.util=ALL-UNNAMED",
                    "--add-opens=java.base/java.lang=ALL-UNNAMED",
                ],
            )),
        }
    }
}

/// A system with a topic and a table of its own, which may run.
pub(super) struct Prepared {
    pub(super) system: System,
    pub(super) namespace: TestNamespace,
    pub(super) session: Session,
    /// Where it counts: Stitch in a table of counters, its peers in one of plain values.
    pub(super) keyspace: String,
    programs: PeerPrograms,
}

impl Prepared {
    pub(super) async fn new(
        bench: &Bench,
        programs: &PeerPrograms,
        system: System,
    ) -> Result<Self> {
        let namespace = bench.namespace(system.label(), "").await?;
        let session = recount::session(&bench.servers.cassandra).await?;
        let mut keyspace = namespace.keyspace().to_owned();
        if system != System::Stitch {
            keyspace = format!("{keyspace}_plain");
            let replication = "{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}";
            for statement in [
                format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}"),
                format!(
                    "CREATE TABLE {keyspace}.counts (counter text, key text, granularity text, bucket timestamp, value bigint, \
                     PRIMARY KEY ((counter, key), granularity, bucket))"
                ),
            ] {
                session.query_unpaged(statement, ()).await?;
            }
        }
        Ok(Self {
            system,
            namespace,
            session,
            keyspace,
            programs: programs.clone(),
        })
    }

    /// Starts a process of it. One that is killed goes on where it was once its name is started again.
    pub(super) async fn start(&self, name: &str) -> Result<Process> {
        let Some((class, options)) = self.system.of_java() else {
            return self.namespace.processor(name).await;
        };
        let TestNamespace {
            servers, folder, ..
        } = &self.namespace;
        let program = self.programs.folder.join(self.system.label());
        let classes = format!("{0}/classes:{0}/lib/*", program.display());
        let common = [
            "-XX:+UseParallelGC",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            &classes,
            class,
        ];
        // Of this topic alone: what was counted of another one is none of its totals.
        let state = folder.join("state").join(&self.namespace.name).join(name);
        let state = state.display().to_string();
        let node = servers.cassandra.first().context("a node of Cassandra")?;
        let arguments = [
            &servers.kafka,
            self.namespace.topic(),
            &self.namespace.name,
            &state,
            node,
            &self.keyspace,
        ];
        Program {
            name: name.to_owned(),
            path: self.programs.java.clone(),
            arguments: options
                .iter()
                .chain(&common)
                .chain(&arguments)
                .map(|&text| text.to_owned())
                .collect(),
            environment: Vec::new(),
            folder: folder.clone(),
        }
        .start()
    }

    /// Stops it, cleanly.
    pub(super) async fn stop(&self, process: Process) -> Result<()> {
        let finished = process.stop(BOUND).await?;
        // A virtual machine that was asked to end by a signal says so.
        ensure!(
            matches!(finished.code, Some(0 | 143)),
            "{} exited with {:?}: {}",
            self.system.name(),
            finished.code,
            finished.errors
        );
        Ok(())
    }

    /// Corrects what a kill has left, where that is needed.
    pub(super) async fn restore(&self) -> Result<()> {
        let finished = self.namespace.restorator("run", &["--now"], BOUND).await?;
        ensure!(finished.code == Some(0), "{finished:?}");
        Ok(())
    }

    /// Drops the table: the next one finds the machine as this one did.
    pub(super) async fn drop(self) -> Result<()> {
        let statement = format!("DROP KEYSPACE {}", self.keyspace);
        self.session.query_unpaged(statement, ()).await?;
        Ok(())
    }
}
