//! The nodes that a barrier asks.

use std::collections::BTreeMap;

use stitch_common::ports::{KnownNode, NodeId, NodeState};

/// Every node that a member may have sent to, and every one that has been in the ring since this was made; one that has
/// left it too, for its sockets may still hold requests. A restoration has one of these from R1 to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSet(BTreeMap<NodeId, KnownNode>);

impl NodeSet {
    /// Adds the nodes of a ring, which has their latest addresses.
    pub fn learn(&mut self, ring: &[NodeState]) {
        for state in ring {
            let node = &state.node;
            let before = self.0.get(&node.id);
            let own = before.is_some_and(|known| known.own_address && known.node == *node);
            let known = KnownNode {
                node: node.clone(),
                own_address: own || state.own_address,
            };
            self.0.insert(node.id, known);
        }
    }

    /// Adds the nodes that members have recorded.
    pub fn add(&mut self, recorded: &[KnownNode]) {
        for known in recorded {
            self.0.entry(known.node.id).or_insert_with(|| known.clone());
        }
    }

    /// Its nodes, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &KnownNode> {
        self.0.values()
    }
}
