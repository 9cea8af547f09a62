//! The servers that `deploy/local` started: their addresses, and how they are frozen, thawed, killed and started.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::process::Command;

/// A set of servers.
#[derive(Clone, Debug)]
pub struct Servers {
    /// `host:port,host:port…`
    pub zookeeper: String,
    /// `host:port`
    pub kafka: String,
    /// `host:port` of every node.
    pub cassandra: Vec<String>,
    directory: Option<PathBuf>,
}

/// The part of `servers.json` that is used; `deploy/local up` writes it.
#[derive(Deserialize)]
struct ServersFile {
    zookeeper: String,
    kafka: String,
    cassandra: Vec<String>,
}

impl Servers {
    /// The set of servers in this folder. Fails if none were started there.
    pub fn read(directory: &Path) -> Result<Self> {
        let file = directory.join("servers.json");
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "no servers run in {0}: deploy/local up --dir {0}",
                directory.display()
            )
        })?;
        let parsed: ServersFile =
            serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        Ok(Self {
            zookeeper: parsed.zookeeper,
            kafka: parsed.kafka,
            cassandra: parsed.cassandra,
            directory: Some(directory.to_owned()),
        })
    }

    /// The set that the environment names: `STITCH_TEST_ZOOKEEPER`, `STITCH_TEST_KAFKA`, `STITCH_TEST_CASSANDRA`.
    pub fn from_environment() -> Result<Self> {
        let variable = |name: &str| {
            env::var(name).with_context(|| format!("{name} is not set: deploy/test sets it"))
        };
        Ok(Self {
            zookeeper: variable("STITCH_TEST_ZOOKEEPER")?,
            kafka: variable("STITCH_TEST_KAFKA")?,
            cassandra: variable("STITCH_TEST_CASSANDRA")?
                .split(',')
                .map(str::to_owned)
                .collect(),
            directory: None,
        })
    }

    /// The same servers, with Cassandra at other addresses.
    pub fn with_cassandra(&self, nodes: Vec<String>) -> Self {
        Self {
            cassandra: nodes,
            ..self.clone()
        }
    }

    /// The process id of a node; fails if the node does not run.
    pub async fn pid(&self, node: &str) -> Result<i32> {
        Ok(self.local(&["pid", node]).await?.trim().parse()?)
    }

    /// Starts the nodes that do not run, and waits until every node has served a client.
    pub async fn all_up(&self) -> Result<()> {
        self.local(&["up"]).await.map(drop)
    }

    /// Freezes a node, like an overloaded machine or a long pause, until the guard is thawed or dropped.
    pub async fn freeze(&self, node: &str) -> Result<FrozenNode> {
        let pid = self.pid(node).await?;
        self.local(&["freeze", node]).await?;
        let pid = Pid::from_raw(pid).context("a process id is above 0")?;
        Ok(FrozenNode { pid })
    }

    /// The file system that is the commit log of this node and nothing else, if it has one.
    pub fn commit_log(&self, node: &str) -> Option<PathBuf> {
        let folder = self.directory.as_ref()?.join(node).join("commit-log");
        folder.is_dir().then_some(folder)
    }

    /// Freezes the file system of a node's commit log, like a disk that stalls, until the guard is thawed or dropped.
    pub async fn freeze_commit_log(&self, node: &str) -> Result<FrozenFileSystem> {
        let folder = self
            .commit_log(node)
            .with_context(|| format!("the commit log of {node} has no file system of its own"))?;
        let status = Command::new("fsfreeze")
            .arg("--freeze")
            .arg(&folder)
            .status()
            .await?;
        ensure!(status.success(), "fsfreeze --freeze {}", folder.display());
        Ok(FrozenFileSystem { folder })
    }

    /// Kills a node by SIGKILL.
    pub async fn kill(&self, node: &str) -> Result<()> {
        self.local(&["kill", node]).await.map(drop)
    }

    /// Starts a node that was killed, and waits until it serves.
    pub async fn start(&self, node: &str) -> Result<()> {
        self.local(&["start", node]).await.map(drop)
    }

    async fn local(&self, arguments: &[&str]) -> Result<String> {
        let directory = self
            .directory
            .as_ref()
            .context("these servers are shared: start a set of your own by deploy/local up")?;
        let script = repository()?.join("deploy/local");
        let output = Command::new(script)
            .args(arguments)
            .arg("--dir")
            .arg(directory)
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "deploy/local {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A frozen node, which resumes when this is dropped.
#[must_use]
pub struct FrozenNode {
    pid: Pid,
}

impl FrozenNode {
    /// Resumes the node.
    pub fn thaw(self) {
        drop(self);
    }
}

impl Drop for FrozenNode {
    fn drop(&mut self) {
        // Fails only if the node was killed meanwhile.
        kill_process(self.pid, Signal::CONT).ok();
    }
}

/// A frozen file system, which goes on when this is dropped.
#[must_use]
pub struct FrozenFileSystem {
    folder: PathBuf,
}

impl FrozenFileSystem {
    /// Goes on.
    pub fn thaw(self) {
        drop(self);
    }
}

impl Drop for FrozenFileSystem {
    fn drop(&mut self) {
        // Fails only if it goes on already.
        std::process::Command::new("fsfreeze")
            .arg("--unfreeze")
            .arg(&self.folder)
            .status()
            .ok();
    }
}

/// The repository's root: the nearest folder above this program, or above the working folder, with `deploy/local`.
pub fn repository() -> Result<PathBuf> {
    let starts = [env::current_exe()?, env::current_dir()?];
    for folder in starts.iter().flat_map(|start| start.ancestors()) {
        if folder.join("deploy/local").is_file() {
            return Ok(folder.to_owned());
        }
    }
    bail!("deploy/local is in no folder above this one: run this from within the repository")
}
