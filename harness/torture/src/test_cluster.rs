//! The servers that histories share: which is killed or frozen, which is restarted, and whether all are healthy.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use stitch_harness::servers::Servers;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::plan::Server;

/// A server reports its mode within this time, or has none.
const REPLY_BOUND: Duration = Duration::from_secs(1);
const END_BOUND: Duration = Duration::from_secs(10);
/// All servers are healthy within this time after the last fault.
const HEAL_BOUND: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The servers, and which of them have a fault.
pub(crate) struct TestCluster {
    pub(crate) servers: Servers,
    faulty: Mutex<HashSet<String>>,
}

/// A server that is reserved for one fault until this is dropped.
pub(crate) struct Victim<'a> {
    pub(crate) name: String,
    cluster: &'a TestCluster,
}

impl TestCluster {
    pub(crate) fn new(servers: Servers) -> Self {
        Self {
            servers,
            faulty: Mutex::default(),
        }
    }

    /// Reserves a server, unless it has a fault already; none if there is no leader to reserve.
    pub(crate) async fn take(&self, server: Server) -> Option<Victim<'_>> {
        let name = match server {
            Server::Cassandra(node) => format!("cassandra-{}", node + 1),
            Server::Zookeeper(node) => format!("zookeeper-{}", node + 1),
            Server::Leader => self.leader().await?,
            Server::Kafka => "kafka".to_owned(),
        };
        self.claim(name)
    }

    fn claim(&self, name: String) -> Option<Victim<'_>> {
        let is_free = self.names().insert(name.clone());
        // Created only then: dropping a second one would release the first one's server.
        is_free.then(|| Victim {
            name,
            cluster: self,
        })
    }

    /// The ZooKeeper server that is the leader.
    async fn leader(&self) -> Option<String> {
        for (index, address) in self.servers.zookeeper.split(',').enumerate() {
            let mode = timeout(REPLY_BOUND, mode_of(address)).await;
            if mode.is_ok_and(|mode| mode.is_ok_and(|mode| mode == "leader")) {
                return Some(format!("zookeeper-{}", index + 1));
            }
        }
        None
    }

    /// Starts servers that do not run, and waits until all serve.
    pub(crate) async fn heal(&self) -> Result<()> {
        let healed = timeout(HEAL_BOUND, self.servers.all_up()).await;
        healed
            .with_context(|| format!("within {} s", HEAL_BOUND.as_secs()))
            .and_then(|healed| healed)
            .context("the servers do not recover, so no more histories can be played")
    }

    fn names(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.faulty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Victim<'_> {
    /// Kills it by SIGKILL.
    pub(crate) async fn kill(&self) -> Result<()> {
        let pid = self.cluster.servers.pid(&self.name).await?;
        let pid = Pid::from_raw(pid).context("a process id is above 0")?;
        kill_process(pid, Signal::KILL)?;
        let polling = async {
            while test_kill_process(pid).is_ok() {
                sleep(POLL_INTERVAL).await;
            }
        };
        let exit = timeout(END_BOUND, polling).await;
        ensure!(exit.is_ok(), "{} survives SIGKILL", self.name);
        Ok(())
    }

    /// Starts it again, and waits until it serves.
    pub(crate) async fn start(&self) -> Result<()> {
        self.cluster.servers.start(&self.name).await
    }

    /// Freezes it for this time.
    pub(crate) async fn freeze(&self, lasting: Duration) -> Result<()> {
        let frozen = self.cluster.servers.freeze(&self.name).await?;
        sleep(lasting).await;
        frozen.thaw();
        Ok(())
    }
}

impl Drop for Victim<'_> {
    fn drop(&mut self) {
        self.cluster.names().remove(&self.name);
    }
}

/// The mode that a ZooKeeper server reports: `leader`, `follower`.
async fn mode_of(address: &str) -> Result<String> {
    let address: SocketAddr = address.parse()?;
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(b"srvr").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "));
    mode.map(str::to_owned).context("no mode")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_reserved_server_cannot_be_reserved_again_until_it_is_released() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let servers = r#"{"zookeeper": "", "kafka": "", "cassandra": []}"#;
        fs::write(folder.path().join("servers.json"), servers)?;
        let cluster = TestCluster::new(Servers::read(folder.path())?);
        let victim = cluster.take(Server::Kafka).await;
        assert!(victim.is_some());
        assert!(cluster.take(Server::Kafka).await.is_none());
        assert!(cluster.take(Server::Kafka).await.is_none());
        drop(victim);
        assert!(cluster.take(Server::Kafka).await.is_some());
        Ok(())
    }
}
