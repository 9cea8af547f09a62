//! Known nodes: every node of Cassandra that some member may have sent to. A member records a node before it sends to it
//! for the first time, so that a quiescence barrier asks it, whatever the ring says by then: a node that was frozen with
//! increments in its sockets, left the ring and came back would apply them behind the barrier.
//!
//! A node stays until a barrier has held through which it was dead, or the operator has declared it dead.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::ports::{CreateMode, KnownNode, NodeAddress, NodeId, Session, Store};

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::namespace_session::NamespaceSession;
use crate::path;

/// How often a member looks for nodes that its driver has found meanwhile.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The record in a known node's node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownNodeRecord {
    /// Where it serves clients.
    pub address: SocketAddr,
    /// Whether it said that it listens on this address itself.
    pub own_address: bool,
}

impl Payload for KnownNodeRecord {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "make sure that no process of that Cassandra node runs any more, and delete the node by hand";
}

/// Records the nodes that `store` has connections to and that are not recorded yet, and lets it send to them. Cancelled,
/// some of them may be recorded; it sends to none of those then.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::Corrupt`].
pub async fn admit<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    store: &impl Store,
) -> Result<(), Error> {
    let recorded = recorded(session).await?;
    let connected = store.nodes().await;
    for node in &connected {
        if !recorded.contains(&node.node.id) {
            record(session, node).await?;
            tracing::debug!(node = %node.node.address, "recorded a node before anything is sent to it");
        }
    }
    let ids: Vec<_> = connected.iter().map(|node| node.node.id).collect();
    store.admit(&ids);
    Ok(())
}

/// Admits nodes as the driver finds them. Never ends: it runs while the member does, and is dropped with it.
pub async fn keep_admitting<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    store: &impl Store,
) -> Infallible {
    loop {
        session.clock().sleep(CHECK_INTERVAL).await;
        if let Err(error) = admit(session, store).await {
            // Nothing is sent to nodes that are not recorded, so nothing is lost but their share of the work.
            tracing::debug!(%error, "nodes not recorded; tried again later");
        }
    }
}

/// Every known node.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn list<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<KnownNode>, Error> {
    let reads = recorded(session).await?.into_iter().map(async |id| {
        let path = session.paths().known_node(id);
        let Some(node) = session.get(&path).await? else {
            return Ok(None);
        };
        let KnownNodeRecord {
            address,
            own_address,
        } = envelope::open(&path, &node.data)?;
        Ok(Some(KnownNode {
            node: NodeAddress { id, address },
            own_address,
        }))
    });
    let nodes: Result<Vec<_>, Error> = join_all(reads).await.into_iter().collect();
    Ok(nodes?.into_iter().flatten().collect())
}

/// Forgets nodes that were dead throughout a barrier that held.
///
/// # Errors
/// ZooKeeper failed: some of them remain.
pub async fn forget<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    nodes: &BTreeSet<NodeId>,
) -> Result<(), Error> {
    for id in nodes {
        session.delete(&session.paths().known_node(*id)).await?;
        tracing::info!(node = %id.0, "forgot a node that has left the ring: it was dead throughout a quiescence barrier");
    }
    Ok(())
}

async fn recorded<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<BTreeSet<NodeId>, Error> {
    let names = session.children(&session.paths().known_nodes()).await?;
    Ok(names
        .iter()
        .filter_map(|name| path::node_of(name))
        .collect())
}

async fn record<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    node: &KnownNode,
) -> Result<(), Error> {
    let path = session.paths().known_node(node.node.id);
    let data = envelope::seal(&KnownNodeRecord {
        address: node.node.address,
        own_address: node.own_address,
    });
    session
        .create_once(&path, &data, CreateMode::Persistent)
        .await
}
