//! Merges the nodes' views of the ring. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use scylla::DeserializeRow;
use uuid::Uuid;

use stitch_common::ports::{NodeAddress, NodeId, NodeState, StoreError};

/// A row of `system.local` or `system.peers_v2`: host id, data centre, where it serves clients, tokens.
pub(super) type PeerRow = (
    Option<Uuid>,
    Option<String>,
    Option<IpAddr>,
    Option<i32>,
    Option<BTreeSet<String>>,
);

/// A row of `system_views.gossip_info`.
#[derive(Clone, Debug, Default, DeserializeRow)]
pub(super) struct Gossip {
    pub(super) host_id: Option<String>,
    pub(super) dc: Option<String>,
    /// Where it serves clients.
    pub(super) native_address_and_port: Option<String>,
    /// Start time of the node.
    pub(super) generation: Option<i32>,
    /// Heartbeats since the start.
    pub(super) heartbeat: Option<i32>,
    /// `NORMAL,…`, `BOOT,…`, `LEAVING,…`, `shutdown,true`, …
    pub(super) status_with_port: Option<String>,
}

impl Gossip {
    pub(super) fn host(&self) -> Option<NodeId> {
        self.host_id.as_deref()?.parse().ok().map(NodeId)
    }

    fn status(&self) -> &str {
        let status = self.status_with_port.as_deref().unwrap_or_default();
        status.split(',').next().unwrap_or_default()
    }

    /// Whether the node announced its shutdown, or has left the ring.
    pub(super) fn announced_down(&self) -> bool {
        ["shutdown", "LEFT", "removed"].contains(&self.status())
    }

    /// Whether it is neither joining, leaving nor moving. A stopped node keeps its position.
    fn is_stable(&self) -> bool {
        ["NORMAL", "shutdown"].contains(&self.status())
    }

    fn state(&self) -> Option<NodeState> {
        let address = self.native_address_and_port.as_deref()?.parse().ok()?;
        let id = self.host()?;
        Some(NodeState {
            node: NodeAddress { id, address },
            own_address: false,
            datacenter: self.dc.clone().unwrap_or_default(),
            tokens: Vec::new(),
            up: false,
            normal: false,
        })
    }
}

/// One node's view of the ring.
#[derive(Clone, Debug)]
pub(super) struct View {
    observer: NodeId,
    nodes: Vec<NodeState>,
    gossip: Vec<Gossip>,
}

impl View {
    /// From its rows about itself, the addresses that it listens on, its peers and gossip.
    pub(super) fn new(
        local: Vec<PeerRow>,
        own_addresses: &[IpAddr],
        peers: Vec<PeerRow>,
        gossip: Vec<Gossip>,
    ) -> Result<Self, StoreError> {
        let mut nodes: Vec<_> = local.into_iter().filter_map(state).collect();
        let observer = match nodes.as_mut_slice() {
            [itself] => {
                itself.own_address = own_addresses.contains(&itself.node.address.ip());
                itself.node.id
            }
            _ => {
                return Err(StoreError::Refused(
                    "a node does not name itself (system.local)".to_owned(),
                ));
            }
        };
        nodes.extend(peers.into_iter().filter_map(state));
        // Joining nodes have no tokens yet, and may be known by gossip alone.
        for peer in gossip.iter().filter(|peer| !peer.announced_down()) {
            let unknown = peer
                .host()
                .is_some_and(|host| nodes.iter().all(|state| state.node.id != host));
            if unknown {
                nodes.extend(peer.state());
            }
        }
        Ok(Self {
            observer,
            nodes,
            gossip,
        })
    }

    /// The addresses of the nodes in it.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> + '_ {
        self.nodes
            .iter()
            .map(|state| (state.node.id, state.node.address))
    }
}

fn state(row: PeerRow) -> Option<NodeState> {
    let (host, datacenter, address, port, tokens) = row;
    let port = u16::try_from(port?).ok()?;
    Some(NodeState {
        node: NodeAddress {
            id: NodeId(host?),
            address: SocketAddr::new(address?, port),
        },
        own_address: false,
        datacenter: datacenter.unwrap_or_default(),
        tokens: tokens.unwrap_or_default().into_iter().collect(),
        up: false,
        normal: false,
    })
}

/// All nodes in any view, in the order of their ids. A node is up if it answered itself or if any other has recently heard
/// from it; normal if every view that has it says so.
pub(super) fn merge(
    views: &[View],
    mut is_recent: impl FnMut(NodeId, &Gossip) -> bool,
) -> Vec<NodeState> {
    let mut ring: BTreeMap<NodeId, NodeState> = BTreeMap::new();
    for view in views {
        for state in &view.nodes {
            let entry = ring.entry(state.node.id).or_insert_with(|| state.clone());
            entry.own_address |= state.own_address;
            if entry.tokens.is_empty() || state.node.id == view.observer {
                entry.tokens.clone_from(&state.tokens);
            }
        }
    }
    for state in ring.values_mut() {
        let id = state.node.id;
        state.up = views.iter().any(|view| view.observer == id);
        let mut known = false;
        let mut stable = true;
        for view in views {
            for gossip in view
                .gossip
                .iter()
                .filter(|gossip| gossip.host() == Some(id))
            {
                known = true;
                stable &= gossip.is_stable();
                // Called in any case, so that every heartbeat is recorded.
                let recent = is_recent(view.observer, gossip);
                state.up |= recent && view.observer != id;
            }
        }
        state.normal = known && stable;
    }
    ring.into_values().collect()
}

#[cfg(test)]
mod tests;
