//! ZooKeeper by hand: what an operator with a plain client could see and do there.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, Error};

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A plain session.
pub struct Keeper {
    client: Client,
}

impl Keeper {
    /// Connects.
    ///
    /// # Errors
    /// If no server answers.
    pub async fn connect(zookeeper: &str) -> Result<Self> {
        let client = Client::connect(zookeeper).await.context("ZooKeeper")?;
        Ok(Self { client })
    }

    /// The names below a node; none if it does not exist.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn children(&self, path: &str) -> Result<Vec<String>> {
        match self.client.list_children(path).await {
            Err(Error::NoNode) => Ok(Vec::new()),
            other => other.with_context(|| path.to_owned()),
        }
    }

    /// A node's data.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn data(&self, path: &str) -> Result<Vec<u8>> {
        let (data, _) = self
            .client
            .get_data(path)
            .await
            .with_context(|| path.to_owned())?;
        Ok(data)
    }

    /// Overwrites a node's data.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn set(&self, path: &str, data: &[u8]) -> Result<()> {
        let set = self.client.set_data(path, data, None).await;
        set.map(drop).with_context(|| path.to_owned())
    }

    /// Deletes a node that has no children.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let deleted = self.client.delete(path, None).await;
        deleted.with_context(|| path.to_owned())
    }

    /// Waits until the names below a node are as wanted, and gives them.
    ///
    /// # Errors
    /// If they are not within the bound.
    pub async fn until_children(
        &self,
        path: &str,
        bound: Duration,
        wanted: impl Fn(&[String]) -> bool,
    ) -> Result<Vec<String>> {
        let looking = async {
            loop {
                let children = self.children(path).await?;
                if wanted(&children) {
                    return Ok(children);
                }
                sleep(LOOK_INTERVAL).await;
            }
        };
        timeout(bound, looking)
            .await
            .with_context(|| format!("{path} is not as awaited after {} s", bound.as_secs()))?
    }
}
