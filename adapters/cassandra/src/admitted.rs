//! The nodes that a session may send increments to. The driver connects to nodes by itself as the ring changes; nothing
//! is sent to one before it is recorded where the quiescence barrier finds it.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use scylla::cluster::{ClusterState, NodeRef};
use scylla::policies::load_balancing::{FallbackPlan, LoadBalancingPolicy, RoutingInfo};
use scylla::routing::Shard;
use stitch_common::ports::NodeId;
use uuid::Uuid;

/// Host ids, shared with the driver.
#[derive(Clone, Debug, Default)]
pub(super) struct AdmittedNodes(Arc<RwLock<HashSet<Uuid>>>);

impl AdmittedNodes {
    /// Admits these nodes and no other.
    pub(super) fn set(&self, nodes: &[NodeId]) {
        let nodes = nodes.iter().map(|node| node.0).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    pub(super) fn contains(&self, host: Uuid) -> bool {
        let nodes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        nodes.contains(&host)
    }
}

/// Chooses among the admitted nodes as another policy would.
#[derive(Debug)]
pub(super) struct AdmittedOnly {
    pub(super) inner: Arc<dyn LoadBalancingPolicy>,
    pub(super) admitted: AdmittedNodes,
}

impl LoadBalancingPolicy for AdmittedOnly {
    fn pick<'a>(
        &'a self,
        request: &'a RoutingInfo<'_>,
        cluster: &'a ClusterState,
    ) -> Option<(NodeRef<'a>, Option<Shard>)> {
        // Without a first choice the driver goes on with the others.
        let picked = self.inner.pick(request, cluster);
        picked.filter(|(node, _)| self.admitted.contains(node.host_id))
    }

    fn fallback<'a>(
        &'a self,
        request: &'a RoutingInfo<'_>,
        cluster: &'a ClusterState,
    ) -> FallbackPlan<'a> {
        let others = self.inner.fallback(request, cluster);
        Box::new(others.filter(|(node, _)| self.admitted.contains(node.host_id)))
    }

    fn name(&self) -> String {
        format!("{}, admitted nodes only", self.inner.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_admitted_by_name_and_only_those_of_the_latest_call() {
        let admitted = AdmittedNodes::default();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(!admitted.contains(a), "at first it may send to none");
        let shared = admitted.clone();
        shared.set(&[NodeId(a)]);
        assert!(admitted.contains(a) && !admitted.contains(b));
        shared.set(&[NodeId(b)]);
        assert!(!admitted.contains(a) && admitted.contains(b));
    }
}
