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

    /// Adds the nodes that members have recorded. Of a node that is in the set at the same address, only a record may say
    /// that it listened there itself: it does not answer any more if it is down.
    pub fn add(&mut self, recorded: &[KnownNode]) {
        for known in recorded {
            let entry = self.0.entry(known.node.id);
            let entry = entry.or_insert_with(|| known.clone());
            entry.own_address |= known.own_address && entry.node == known.node;
        }
    }

    /// Its nodes, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &KnownNode> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::ports::NodeAddress;

    #[test]
    fn a_record_says_that_a_node_which_is_down_listened_at_its_address() {
        let node = NodeAddress {
            id: NodeId(uuid::Uuid::from_u128(1)),
            address: ([127, 0, 0, 1], 9042).into(),
        };
        let record = |own_address| KnownNode {
            node: node.clone(),
            own_address,
        };
        let mut nodes = NodeSet(BTreeMap::from([(node.id, record(false))]));
        nodes.add(&[record(true)]);
        assert!(nodes.iter().all(|known| known.own_address));
        let moved = NodeAddress {
            address: ([127, 0, 0, 2], 9042).into(),
            ..node.clone()
        };
        let mut nodes = NodeSet(BTreeMap::from([(
            node.id,
            KnownNode {
                node: moved,
                own_address: false,
            },
        )]));
        nodes.add(&[record(true)]);
        assert!(nodes.iter().all(|known| !known.own_address));
    }
}
