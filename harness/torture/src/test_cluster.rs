//! The room in which the servers stand: who is killed or frozen there, who comes back, and whether all are well.

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

/// A server tells its mode within this time, or has none.
const REPLY_BOUND: Duration = Duration::from_secs(1);
/// A killed process is gone within this time.
const END_BOUND: Duration = Duration::from_secs(10);
/// All servers are well within this time after the last fault.
const HEAL_BOUND: Duration = Duration::from_secs(180);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The servers, and who of them is in trouble.
pub(crate) struct TestCluster {
    pub(crate) servers: Servers,
    in_trouble: Mutex<HashSet<String>>,
}

/// A server that nobody else does anything to until this is dropped.
pub(crate) struct Victim<'a> {
    pub(crate) name: String,
    room: &'a TestCluster,
}

impl TestCluster {
    pub(crate) fn new(servers: Servers) -> Self {
        Self {
            servers,
            in_trouble: Mutex::default(),
        }
    }

    /// Takes a server, unless somebody has it; none if nobody leads where the leader is wanted.
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
        // Made only then: one that is dropped would free a server that somebody else has.
        is_free.then(|| Victim { name, room: self })
    }

    /// The ZooKeeper server that leads.
    async fn leader(&self) -> Option<String> {
        for (index, address) in self.servers.zookeeper.split(',').enumerate() {
            let mode = timeout(REPLY_BOUND, mode_of(address)).await;
            if mode.is_ok_and(|mode| mode.is_ok_and(|mode| mode == "leader")) {
                return Some(format!("zookeeper-{}", index + 1));
            }
        }
        None
    }

    /// Waits until every server serves; starts those that do not run.
    pub(crate) async fn heal(&self) -> Result<()> {
        let healed = timeout(HEAL_BOUND, self.servers.all_up()).await;
        healed
            .with_context(|| format!("within {} s", HEAL_BOUND.as_secs()))
            .and_then(|healed| healed)
            .context("the servers do not come back, so nothing more can be tried on them")
    }

    fn names(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.in_trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Victim<'_> {
    /// Ends it as `kill -9` does.
    pub(crate) async fn kill(&self) -> Result<()> {
        let pid = self.room.servers.pid(&self.name).await?;
        let pid = Pid::from_raw(pid).context("a process id is above 0")?;
        kill_process(pid, Signal::KILL)?;
        let gone = async {
            while test_kill_process(pid).is_ok() {
                sleep(LOOK_INTERVAL).await;
            }
        };
        let ended = timeout(END_BOUND, gone).await;
        ensure!(ended.is_ok(), "{} does not end by SIGKILL", self.name);
        Ok(())
    }

    /// Starts it again; ends when it serves.
    pub(crate) async fn start(&self) -> Result<()> {
        self.room.servers.start(&self.name).await
    }

    /// Stops it where it stands, and lets it go on after this time.
    pub(crate) async fn freeze(&self, lasting: Duration) -> Result<()> {
        let frozen = self.room.servers.freeze(&self.name).await?;
        sleep(lasting).await;
        frozen.thaw();
        Ok(())
    }
}

impl Drop for Victim<'_> {
    fn drop(&mut self) {
        self.room.names().remove(&self.name);
    }
}

/// What a ZooKeeper server says of itself: `leader`, `follower`.
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
    async fn a_server_that_somebody_has_stays_his_however_often_others_ask_for_it() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let servers = r#"{"zookeeper": "", "kafka": "", "cassandra": []}"#;
        fs::write(folder.path().join("servers.json"), servers)?;
        let room = TestCluster::new(Servers::read(folder.path())?);
        let victim = room.take(Server::Kafka).await;
        assert!(victim.is_some());
        assert!(room.take(Server::Kafka).await.is_none());
        assert!(room.take(Server::Kafka).await.is_none());
        drop(victim);
        assert!(room.take(Server::Kafka).await.is_some());
        Ok(())
    }
}
