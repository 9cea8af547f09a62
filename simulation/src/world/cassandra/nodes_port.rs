//! The port to single nodes: what the quiescence barrier probes.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::{
    Connection, NodeAddress, NodeSettings, NodeState, Nodes, Probe, StoreError,
};

use super::{COUNTER_TIMEOUT, NATIVE_TIMEOUT, NODES};
use crate::trace::Tracepoint;
use crate::world::Handle;

pub(crate) struct SimNodes {
    handle: Handle,
}

impl SimNodes {
    pub(super) const fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Asks one node and waits for its answer no longer than `bound`.
    async fn ask(&self, node: usize, bound: Duration) -> Probe {
        let world = &self.handle.world;
        let at = &world.cluster.nodes[node];
        world.hop().await;
        if self.handle.reaches(node) {
            return Probe::Answered;
        }
        if !at.is_up() && !world.cluster.is_cut(self.handle.process.number, node) {
            world.hop().await;
            return Probe::Refused;
        }
        self.handle.clock().sleep(bound).await;
        Probe::Silent
    }

    fn number(node: &NodeAddress) -> usize {
        let numbers = 0..NODES;
        let same = |number: &usize| super::Node::new(*number).address().id == node.id;
        numbers.clone().find(same).unwrap_or(numbers.start)
    }

    /// In this world every role may do everything, if the node answers.
    async fn may(&self, node: &NodeAddress, bound: Duration) -> Result<(), StoreError> {
        if self.ask(Self::number(node), bound).await != Probe::Answered {
            return Err(StoreError::Unavailable("the node is silent".to_owned()));
        }
        self.handle.world.hop().await;
        Ok(())
    }
}

impl Nodes for SimNodes {
    async fn ring(&self) -> Result<Vec<NodeState>, StoreError> {
        self.handle.reach_any().await?;
        let world = &self.handle.world;
        let state = |node: &std::rc::Rc<super::Node>| NodeState {
            node: node.address(),
            own_address: true,
            datacenter: "dc".to_owned(),
            tokens: vec![node.number.to_string()],
            up: node.seems_up(world.now()),
            normal: true,
        };
        let nodes = world.cluster.nodes.iter();
        Ok(nodes.filter(|node| node.is_in_ring()).map(state).collect())
    }

    async fn probe(&self, node: &NodeAddress, bound: Duration) -> Probe {
        let number = Self::number(node);
        let world = &self.handle.world;
        let mut probe = self.ask(number, bound).await;
        if probe == Probe::Answered && !world.cluster.nodes[number].applies() {
            self.handle.clock().sleep(bound).await;
            probe = Probe::Stalled;
        }
        world.hop().await;
        probe
    }

    async fn connections(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<Vec<Connection>, StoreError> {
        let node = Self::number(node);
        if self.ask(node, bound).await != Probe::Answered {
            return Err(StoreError::Unavailable(format!("node {node} is silent")));
        }
        let world = &self.handle.world;
        world.record_point(self.handle.actor(), Tracepoint::ConnectionsProbed);
        let listed = {
            let connections = world.cluster.connections.borrow();
            let at = connections
                .iter()
                .filter(|one| one.node == node && one.is_listed());
            let describe = |one: &std::rc::Rc<super::Connection>| Connection {
                client_id: Some(one.member.clone()),
                client: one.client(),
            };
            at.map(describe).collect()
        };
        self.handle.world.hop().await;
        Ok(listed)
    }

    async fn may_read(&self, node: &NodeAddress, bound: Duration) -> Result<(), StoreError> {
        self.may(node, bound).await
    }

    async fn may_increment(&self, node: &NodeAddress, bound: Duration) -> Result<(), StoreError> {
        self.may(node, bound).await
    }

    async fn settings(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<NodeSettings, StoreError> {
        if self.ask(Self::number(node), bound).await != Probe::Answered {
            return Err(StoreError::Unavailable("the node is silent".to_owned()));
        }
        self.handle.world.hop().await;
        Ok(NodeSettings {
            native_transport_timeout: Duration::from_micros(NATIVE_TIMEOUT),
            counter_write_request_timeout: Duration::from_micros(COUNTER_TIMEOUT),
            native_transport_idle_timeout: None,
            internode_timeout: true,
        })
    }
}
