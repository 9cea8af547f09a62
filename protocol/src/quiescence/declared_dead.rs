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
    /// Whether this node is declared dead.
    #[must_use]
    pub fn has_node(&self, node: &NodeAddress) -> bool {
        self.node_ids.contains(&node.id)
            || self.node_addresses.contains(&node.address)
            || self.node_hosts.contains(&node.address.ip())
    }
}
