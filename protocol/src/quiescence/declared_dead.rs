//! What the operator has declared permanently dead.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use stitch_common::member::MemberId;
use stitch_common::ports::{NodeAddress, NodeId};

/// Nodes and members that the operator has declared permanently dead; the barrier ignores them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredDead {
    /// Nodes by their host ids.
    pub node_ids: BTreeSet<NodeId>,
    /// Nodes by their addresses and ports.
    pub node_addresses: BTreeSet<SocketAddr>,
    /// Nodes by their hosts.
    pub node_hosts: BTreeSet<IpAddr>,
    /// Members.
    pub members: BTreeSet<MemberId>,
}

impl DeclaredDead {
    /// Whether this node is declared dead by its host id.
    #[must_use]
    pub fn has_id(&self, node: NodeId) -> bool {
        self.node_ids.contains(&node)
    }

    /// Whether this node's address is declared dead. Another node may have taken it over.
    #[must_use]
    pub fn has_address(&self, node: &NodeAddress) -> bool {
        self.node_addresses.contains(&node.address) || self.node_hosts.contains(&node.address.ip())
    }
}
