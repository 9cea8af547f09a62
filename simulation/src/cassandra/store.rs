//! The port to Cassandra, as a process has it: sessions, increments, reads.

use std::rc::Rc;

use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::clock::Clock;
use stitch_common::lease::Permit;
use stitch_common::member::MemberId;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::{
    CellSelection, CounterBatch, Cql, Level, ScanPage, ScanPosition, Store, StoreError,
    TableIdentity,
};
use stitch_common::range::TokenInterval;

use super::frame::{answered, told};
use super::nodes::SimNodes;
use super::{COUNTER_TIMEOUT, NODES};
use crate::notes::{Phase, Who};
use crate::process::Role;
use crate::world::Handle;

/// A member's driver session.
pub(crate) struct SimStore {
    handle: Handle,
    member: String,
    session: i64,
}

pub(crate) fn table() -> TableIdentity {
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
        Ok(table())
    }

    async fn connect_store(&self, member: &MemberId) -> Result<SimStore, StoreError> {
        self.reach_any().await?;
        for node in 0..NODES {
            self.world.connection(&self.process, member.as_str(), node);
        }
        let session = i64::from_str_radix(member.as_str(), 16).unwrap_or_default();
        Ok(SimStore {
            handle: self.clone(),
            member: member.as_str().to_owned(),
            session,
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
        Err(unavailable("no node lets us in"))
    }

    pub(super) fn reaches(&self, node: usize) -> bool {
        let cluster = &self.world.cluster;
        cluster.nodes[node].answers() && !cluster.is_cut(self.process.number, node)
    }
}

impl SimStore {
    /// The nodes that answer a read at this level, after the time that it takes.
    async fn ask(&self, level: Level) -> Result<Vec<usize>, StoreError> {
        let world = &self.handle.world;
        world.executor.until(world.now() + world.net()).await;
        if !(0..NODES).any(|node| self.handle.reaches(node)) {
            self.handle.clock().sleep(super::REQUEST_TIMEOUT).await;
            return Err(unavailable("no node answers"));
        }
        let nodes = &world.cluster.nodes;
        let mut answering: Vec<usize> = (0..NODES).filter(|node| nodes[*node].answers()).collect();
        if level == Level::All && answering.len() < NODES {
            let timeout = world.now() + COUNTER_TIMEOUT;
            world.executor.until(timeout).await;
            answering.retain(|node| nodes[*node].answers());
            return Err(unavailable("a replica does not answer"));
        }
        if level == Level::Quorum {
            // A driver likes one coordinator, and that two replicas.
            let liked = self.handle.process.number % NODES;
            answering.sort_by_key(|node| (*node + NODES - liked) % NODES);
            answering.truncate(2);
            if answering.len() < 2 {
                return Err(unavailable("too few replicas answer"));
            }
        }
        Ok(answering)
    }

    async fn back(&self) {
        let world = &self.handle.world;
        world.executor.until(world.now() + world.net()).await;
    }

    /// Some node to which the driver has a connection, or gets one.
    fn target(&self) -> Option<Rc<super::Connection>> {
        let first = self.handle.world.rng.index(NODES);
        (0..NODES).find_map(|step| {
            let node = (first + step) % NODES;
            let world = &self.handle.world;
            world.connection(&self.handle.process, &self.member, node)
        })
    }
}

impl Store for SimStore {
    async fn increment(&self, permit: Permit, batch: &CounterBatch) -> Outcome {
        let (world, process) = (&self.handle.world, &self.handle.process);
        let clock = self.handle.clock();
        if !permit.allows(clock.now()) {
            return Outcome::NotApplied(Cause("the lease has ended".to_owned()));
        }
        let Some(connection) = self.target() else {
            return Outcome::NotApplied(Cause("no connection".to_owned()));
        };
        let phase = match process.role {
            Role::Processor => Phase::Sent,
            Role::Restorator => Phase::Corrected,
        };
        world.notes.aim(connection.node);
        world.note(Who::of(process), phase, || {
            format!("sends {} to node {}", told(batch), connection.node)
        });
        let closed = Rc::clone(&connection);
        let (frame, answer) = world.dispatch(process, self.session, connection, batch);
        world.increment_sent(frame, self.session, process, batch);
        let outcome = answered(&clock, &closed, &answer).await;
        if let Outcome::Unknown(cause) = &outcome {
            let phase = match process.role {
                Role::Processor => Phase::Unknown,
                Role::Restorator => Phase::Doubtful,
            };
            world.note(Who::of(process), phase, || {
                format!("does not know what became of {}: {cause}", told(batch))
            });
        }
        world.increment_answered(frame, self.session, &outcome, batch);
        outcome
    }

    async fn read(
        &self,
        counter: &Counter,
        cells: CellSelection<'_>,
        level: Level,
    ) -> Result<Vec<(CellSlot, Count)>, StoreError> {
        let world = &self.handle.world;
        world.read_asked(self.session, &self.handle.process, counter);
        let nodes = self.ask(level).await?;
        let mut rows = world.cluster.cells.borrow().read(counter, &nodes);
        rows.retain(|(slot, _)| match cells {
            CellSelection::Whole => true,
            CellSelection::Cells(slots) => slots.contains(slot),
        });
        world.note(Who::of(&self.handle.process), Phase::Read, || {
            format!(
                "reads {counter}: {:?}",
                rows.iter().map(|row| row.1.0).collect::<Vec<_>>()
            )
        });
        self.back().await;
        Ok(rows)
    }

    async fn scan(
        &self,
        tokens: TokenInterval,
        level: Level,
        _after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        let nodes = self.ask(level).await?;
        let within = |token| tokens.contains(token);
        let cells = self
            .handle
            .world
            .cluster
            .cells
            .borrow()
            .scan(within, &nodes);
        self.back().await;
        Ok(ScanPage { cells, next: None })
    }

    async fn close(self) {
        drop(self);
    }
}

impl Drop for SimStore {
    /// The driver's connections are closed with it. Those of a killed process are closed by its kernel.
    fn drop(&mut self) {
        if !self.handle.process.is_dead() {
            let world = &self.handle.world;
            world.hang_up_all(|connection| connection.member == self.member);
        }
    }
}
