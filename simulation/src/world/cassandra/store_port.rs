//! The port to Cassandra of one process: sessions, increments, reads.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::clock::Clock;
use stitch_common::lease::Permit;
use stitch_common::member::MemberId;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::{
    CellSelection, CounterBatch, Cql, KnownNode, Level, NodeId, Replicas, ScanPage, ScanPosition,
    Store, StoreError, TableIdentity,
};
use stitch_common::range::TokenInterval;

use super::increment::{await_answer, describe};
use super::nodes_port::SimNodes;
use super::{COUNTER_TIMEOUT, NODES};
use crate::process::Role;
use crate::trace::{Actor, Tracepoint};
use crate::world::Handle;

/// A member's driver session.
pub(crate) struct SimStore {
    handle: Handle,
    member: String,
    session: i64,
    /// The nodes that it may send to.
    admitted: RefCell<BTreeSet<usize>>,
}

pub(crate) fn table_identity() -> TableIdentity {
    TableIdentity {
        cluster: "cassandra".to_owned(),
        table: uuid::Uuid::from_u128(1),
    }
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.to_owned())
}

impl Cql for Handle {
    type Store = SimStore;
    type Nodes = SimNodes;

    async fn table(&self) -> Result<TableIdentity, StoreError> {
        self.reach_any().await?;
        Ok(table_identity())
    }

    async fn connect_store(&self, member: &MemberId) -> Result<SimStore, StoreError> {
        self.reach_any().await?;
        for node in 0..NODES {
            self.world.connection(&self.process, member.as_str(), node);
        }
        let session = self.world.last_session(&self.process).unwrap_or_default();
        Ok(SimStore {
            handle: self.clone(),
            member: member.as_str().to_owned(),
            session,
            admitted: RefCell::default(),
        })
    }

    async fn connect_nodes(&self) -> Result<SimNodes, StoreError> {
        self.reach_any().await?;
        Ok(SimNodes::new(self.clone()))
    }
}

impl Handle {
    /// One round trip to some node.
    pub(super) async fn reach_any(&self) -> Result<(), StoreError> {
        let world = &self.world;
        world.executor.until(world.now() + 2 * world.net()).await;
        if (0..NODES).any(|node| self.reaches(node)) {
            return Ok(());
        }
        self.clock().sleep(super::REQUEST_TIMEOUT).await;
        Err(unavailable("no node accepts connections"))
    }

    pub(super) fn reaches(&self, node: usize) -> bool {
        let cluster = &self.world.cluster;
        cluster.nodes[node].answers() && !cluster.is_cut(self.process.number, node)
    }

    /// Waits until a request has reached the nodes, and returns those that answer a read at this level.
    pub(super) async fn ask_nodes(&self, level: Level) -> Result<Vec<usize>, StoreError> {
        let world = &self.world;
        world.hop().await;
        if !(0..NODES).any(|node| self.reaches(node)) {
            self.clock().sleep(super::REQUEST_TIMEOUT).await;
            return Err(unavailable("no node answers"));
        }
        let nodes = &world.cluster.nodes;
        let mut answering: Vec<usize> = (0..NODES).filter(|node| nodes[*node].answers()).collect();
        let replicas = nodes.iter().filter(|node| node.is_in_ring()).count();
        if level == Level::All && answering.len() < replicas {
            let timeout = world.now() + COUNTER_TIMEOUT;
            world.executor.until(timeout).await;
            answering.retain(|node| nodes[*node].answers());
            return Err(unavailable("a replica does not answer"));
        }
        if level == Level::Quorum {
            // A driver prefers one coordinator, and that prefers two replicas.
            let preferred = self.process.number % NODES;
            answering.sort_by_key(|node| (*node + NODES - preferred) % NODES);
            answering.truncate(2);
            if answering.len() < 2 {
                return Err(unavailable("too few replicas answer"));
            }
        }
        Ok(answering)
    }
}

impl SimStore {
    /// A connection to some admitted node that has or gets one.
    fn target(&self) -> Option<Rc<super::Connection>> {
        let first = self.handle.world.rng.index(NODES);
        (0..NODES).find_map(|step| {
            let node = (first + step) % NODES;
            let world = &self.handle.world;
            if !self.admitted.borrow().contains(&node) {
                return None;
            }
            world.connection(&self.handle.process, &self.member, node)
        })
    }
}

impl Store for SimStore {
    async fn current_table(&self) -> Result<Option<TableIdentity>, StoreError> {
        let mut identity = table_identity();
        if self.handle.world.cluster.is_made_again.get() {
            identity.table = uuid::Uuid::from_u128(2);
        }
        Ok(Some(identity))
    }

    async fn increment(&self, permit: Permit, batches: &[CounterBatch]) -> Outcome {
        let (world, process) = (&self.handle.world, &self.handle.process);
        let clock = self.handle.clock();
        if !permit.allows(clock.now()) {
            return Outcome::NotApplied(Cause("the lease has ended".to_owned()));
        }
        let Some(connection) = self.target() else {
            return Outcome::NotApplied(Cause("no connection".to_owned()));
        };
        let point = match process.role {
            Role::Restorator => Tracepoint::CorrectionSent,
            Role::Processor | Role::Archiver | Role::Builder | Role::Batch => {
                Tracepoint::IncrementSent
            }
        };
        world.trace.set_target(connection.node);
        for batch in batches {
            world.record(Actor::of(process), point, || {
                format!("sends {} to node {}", describe(batch), connection.node)
            });
        }
        let closed = Rc::clone(&connection);
        let (ids, answer) = world.dispatch(process, self.session, connection, batches);
        for (id, batch) in ids.iter().zip(batches) {
            world.increment_sent(*id, self.session, process, batch);
        }
        let outcome = await_answer(&clock, &closed, &answer).await;
        let point = match process.role {
            Role::Processor | Role::Archiver | Role::Builder | Role::Batch => Tracepoint::Unknown,
            Role::Restorator => Tracepoint::CorrectionUnknown,
        };
        for (id, batch) in ids.into_iter().zip(batches) {
            if let Outcome::Unknown(cause) = &outcome {
                world.record(Actor::of(process), point, || {
                    format!("does not know the outcome of {}: {cause}", describe(batch))
                });
            }
            world.increment_answered(id, self.session, &outcome, batch);
        }
        outcome
    }

    /// Every node is a replica of everything.
    fn replicas(&self, _counter: &Counter) -> Option<Replicas> {
        let nodes = self.handle.world.cluster.nodes.iter();
        let in_ring: Vec<_> = nodes.filter(|node| node.is_in_ring()).collect();
        let is_usable =
            |number| self.handle.reaches(number) && self.admitted.borrow().contains(&number);
        let all_usable = in_ring.iter().all(|node| is_usable(node.number));
        all_usable.then(|| in_ring.iter().map(|node| node.address().id).collect())
    }

    async fn read(
        &self,
        counter: &Counter,
        cells: CellSelection<'_>,
        level: Level,
    ) -> Result<Vec<(CellSlot, Count)>, StoreError> {
        let world = &self.handle.world;
        world.read_begins(self.session, &self.handle.process, counter);
        let nodes = self.handle.ask_nodes(level).await?;
        let mut rows = world.cluster.table.borrow().read(counter, &nodes);
        rows.retain(|(slot, _)| match cells {
            CellSelection::Whole => true,
            CellSelection::Cells(slots) => slots.contains(slot),
        });
        world.record(self.handle.actor(), Tracepoint::CellsRead, || {
            format!(
                "reads {counter}: {:?}",
                rows.iter().map(|row| row.1.0).collect::<Vec<_>>()
            )
        });
        self.handle.world.hop().await;
        Ok(rows)
    }

    async fn scan(
        &self,
        tokens: TokenInterval,
        level: Level,
        _after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        let within = |token| tokens.contains(token);
        self.handle.world.scan_begins(self.session, within);
        let nodes = self.handle.ask_nodes(level).await?;
        let cells = self
            .handle
            .world
            .cluster
            .table
            .borrow()
            .scan(within, &nodes);
        self.handle.world.hop().await;
        Ok(ScanPage {
            cells,
            foreign: std::collections::BTreeMap::new(),
            next: None,
        })
    }

    async fn nodes(&self) -> Vec<KnownNode> {
        let world = &self.handle.world;
        let nodes = world.cluster.nodes.iter();
        let known = |node: &Rc<super::Node>| KnownNode {
            node: node.address(),
            own_address: true,
        };
        let known = nodes.filter(|node| node.is_in_ring()).map(known).collect();
        world.hop().await;
        known
    }

    fn admit(&self, nodes: &[NodeId]) {
        let all = self.handle.world.cluster.nodes.iter();
        let admitted = all.filter(|node| nodes.contains(&node.address().id));
        *self.admitted.borrow_mut() = admitted.map(|node| node.number).collect();
    }

    /// Sometimes takes long, as the real driver does.
    async fn close(self) {
        let world = Rc::clone(&self.handle.world);
        if world.rng.percent(30) {
            let slow = world.rng.below(200_000);
            world.executor.until(world.now() + slow).await;
        }
        drop(self);
    }
}

impl Drop for SimStore {
    /// Closes the driver's connections. Those of a killed process are closed by its kernel.
    fn drop(&mut self) {
        if !self.handle.process.is_dead() {
            let world = &self.handle.world;
            world.close_connections(|connection| connection.member == self.member);
        }
    }
}
