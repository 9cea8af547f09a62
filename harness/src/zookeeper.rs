//! ZooKeeper through a plain client, as an operator could use one.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};
use zookeeper_client::{Acls, Client, CreateMode, Error};

const POLL_INTERVAL: Duration = Duration::from_millis(50);

pub struct ZooKeeperClient {
    client: Client,
}

impl ZooKeeperClient {
    pub async fn connect(zookeeper: &str) -> Result<Self> {
        Self::connect_as(zookeeper, crate::secure::FLEET).await
    }

    /// As another user, who is one where the servers are secured.
    pub async fn connect_as(zookeeper: &str, user: &str) -> Result<Self> {
        let client = crate::secure::zookeeper(zookeeper, user).await?;
        Ok(Self { client })
    }

    /// The names below a node; none if it does not exist.
    pub async fn children(&self, path: &str) -> Result<Vec<String>> {
        match self.client.list_children(path).await {
            Err(Error::NoNode) => Ok(Vec::new()),
            other => other.with_context(|| path.to_owned()),
        }
    }

    /// How often a child of a node was created or deleted.
    pub async fn changes_of_children(&self, path: &str) -> Result<i32> {
        let stat = self.client.check_stat(path).await?;
        Ok(stat.with_context(|| path.to_owned())?.cversion)
    }

    /// A node's data.
    pub async fn data(&self, path: &str) -> Result<Vec<u8>> {
        let (data, _) = self
            .client
            .get_data(path)
            .await
            .with_context(|| path.to_owned())?;
        Ok(data)
    }

    /// Overwrites a node's data.
    pub async fn set(&self, path: &str, data: &[u8]) -> Result<()> {
        self.client
            .set_data(path, data, None)
            .await
            .with_context(|| path.to_owned())?;
        Ok(())
    }

    /// Deletes a node that has no children.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.client
            .delete(path, None)
            .await
            .with_context(|| path.to_owned())
    }

    /// Creates a node that everyone may change.
    pub async fn create(&self, path: &str) -> Result<()> {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        let created = self.client.create(path, b"", &options).await;
        created.map(drop).with_context(|| path.to_owned())
    }

    /// Lets everyone change a node.
    pub async fn open(&self, path: &str) -> Result<()> {
        let opened = self.client.set_acl(path, &Acls::anyone_all(), None).await;
        opened.map(drop).with_context(|| path.to_owned())
    }

    /// Waits until the names below a node are as wanted, and returns them.
    pub async fn until_children(
        &self,
        path: &str,
        bound: Duration,
        wanted: impl Fn(&[String]) -> bool,
    ) -> Result<Vec<String>> {
        let polling = async {
            loop {
                let children = self.children(path).await?;
                if wanted(&children) {
                    return Ok(children);
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        timeout(bound, polling)
            .await
            .with_context(|| format!("{path} is not as expected after {} s", bound.as_secs()))?
    }
}
