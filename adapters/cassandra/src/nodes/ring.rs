//! Puts together what each node tells of the ring. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use scylla::DeserializeRow;
use uuid::Uuid;

use stitch_common::ports::{NodeAddress, NodeId, NodeState, StoreError};

/// A row of `system.local` or `system.peers_v2`: host id, data centre, where it serves clients, tokens.
pub(super) type Told = (
    Option<Uuid>,
    Option<String>,
    Option<IpAddr>,
    Option<i32>,
    Option<BTreeSet<String>>,
);

/// A row of `system_views.gossip_info`.
#[derive(Clone, Debug, Default, DeserializeRow)]
pub(super) struct Gossip {
    /// The node's host id.
    pub(super) host_id: Option<String>,
    /// Its data centre.
    pub(super) dc: Option<String>,
    /// Where it serves clients.
    pub(super) native_address_and_port: Option<String>,
    /// When it started.
    pub(super) generation: Option<i32>,
    /// Its beats since then.
    pub(super) heartbeat: Option<i32>,
    /// `NORMAL,…`, `BOOT,…`, `LEAVING,…`, `shutdown,true`, …
    pub(super) status_with_port: Option<String>,
}

impl Gossip {
    /// Which node it is about.
    pub(super) fn host(&self) -> Option<NodeId> {
        self.host_id.as_deref()?.parse().ok().map(NodeId)
    }

    fn status(&self) -> &str {
        let status = self.status_with_port.as_deref().unwrap_or_default();
        status.split(',').next().unwrap_or_default()
    }

    /// Whether the node said that it stops, or has left.
    pub(super) fn has_said_goodbye(&self) -> bool {
        ["shutdown", "LEFT", "removed"].contains(&self.status())
    }

    /// Whether it is neither joining, leaving nor moving. One that has stopped is where it was.
    fn is_settled(&self) -> bool {
        ["NORMAL", "shutdown"].contains(&self.status())
    }

    fn state(&self) -> Option<NodeState> {
        let address = self.native_address_and_port.as_deref()?.parse().ok()?;
        let id = self.host()?;
        Some(NodeState {
            node: NodeAddress { id, address },
            datacenter: self.dc.clone().unwrap_or_default(),
            tokens: Vec::new(),
            up: false,
            normal: false,
        })
    }
}

/// What one node tells.
#[derive(Clone, Debug)]
pub(super) struct View {
    observer: NodeId,
    nodes: Vec<NodeState>,
    gossip: Vec<Gossip>,
}

impl View {
    /// From its rows about itself, its peers and what it has heard.
    pub(super) fn new(
        local: Vec<Told>,
        peers: Vec<Told>,
        gossip: Vec<Gossip>,
    ) -> Result<Self, StoreError> {
        let mut nodes: Vec<_> = local.into_iter().filter_map(state).collect();
        let observer = match nodes.as_slice() {
            [itself] => itself.node.id,
            _ => {
                return Err(StoreError::Refused(
                    "a node does not tell who it is (system.local)".to_owned(),
                ));
            }
        };
        nodes.extend(peers.into_iter().filter_map(state));
        // Those that join have no tokens yet, and may be known by gossip alone.
        for heard in gossip.iter().filter(|heard| !heard.has_said_goodbye()) {
            let unknown = heard
                .host()
                .is_some_and(|host| nodes.iter().all(|state| state.node.id != host));
            if unknown {
                nodes.extend(heard.state());
            }
        }
        Ok(Self {
            observer,
            nodes,
            gossip,
        })
    }

    /// Where the nodes that it tells of are.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> + '_ {
        self.nodes
            .iter()
            .map(|state| (state.node.id, state.node.address))
    }
}

fn state(told: Told) -> Option<NodeState> {
    let (host, datacenter, address, port, tokens) = told;
    let port = u16::try_from(port?).ok()?;
    Some(NodeState {
        node: NodeAddress {
            id: NodeId(host?),
            address: SocketAddr::new(address?, port),
        },
        datacenter: datacenter.unwrap_or_default(),
        tokens: tokens.unwrap_or_default().into_iter().collect(),
        up: false,
        normal: false,
    })
}

/// All nodes that any view tells of, in the order of their ids. A node is up if it answered itself, or if any other
/// has heard of it lately; normal if all who know it say so.
pub(super) fn merge(
    views: &[View],
    mut heard_lately: impl FnMut(NodeId, &Gossip) -> bool,
) -> Vec<NodeState> {
    let mut ring: BTreeMap<NodeId, NodeState> = BTreeMap::new();
    for view in views {
        for state in &view.nodes {
            let known = ring.entry(state.node.id).or_insert_with(|| state.clone());
            if known.tokens.is_empty() || state.node.id == view.observer {
                known.tokens.clone_from(&state.tokens);
            }
        }
    }
    for state in ring.values_mut() {
        let id = state.node.id;
        state.up = views.iter().any(|view| view.observer == id);
        let mut told = false;
        let mut settled = true;
        for view in views {
            for heard in view.gossip.iter().filter(|heard| heard.host() == Some(id)) {
                told = true;
                settled &= heard.is_settled();
                // Asked in any case, so that every heartbeat is taken up.
                let lately = heard_lately(view.observer, heard);
                state.up |= lately && view.observer != id;
            }
        }
        state.normal = told && settled;
    }
    ring.into_values().collect()
}

#[cfg(test)]
mod tests;
