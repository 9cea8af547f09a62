//! A Cassandra of one node, whose increments have the outcomes that a test chooses.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::clock::Clock;
use stitch_common::lease::Permit;
use stitch_common::member::MemberId;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::{
    CellSelection, Connection, CounterBatch, Cql, KnownNode, Level, NodeAddress, NodeId,
    NodeSettings, NodeState, Nodes, Probe, Replicas, ScanPage, ScanPosition, Store, StoreError,
    TableIdentity,
};
use stitch_common::range::TokenInterval;

use super::world::{Fake, all};

/// The fate of an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is applied, and the reply is lost.
    UnknownApplied,
    /// It is not applied, and the reply is lost.
    UnknownLost,
    /// It is not applied, and the reply says so.
    NotApplied,
    /// It is not applied, and never will be.
    Refused,
}

/// Whether, and how soon, the nodes answer.
#[derive(Debug, Default)]
pub(crate) struct Availability {
    /// How often no node answers about the table.
    pub(crate) table_away: Cell<u32>,
    /// Scans fail before this second.
    pub(crate) away_until: Cell<u64>,
    /// How long a member's session takes to be opened.
    pub(crate) connecting_takes: Cell<Duration>,
}

/// What the table holds.
impl Fake {
    pub(crate) fn hold(&self, key: &str, count: i64) {
        self.table.borrow_mut().set(&all(key), Count(count));
    }

    pub(crate) fn held(&self, key: &str) -> i64 {
        self.table.borrow().count(&all(key)).0
    }

    /// Deletes a cell by hand.
    pub(crate) fn delete(&self, key: &str) {
        self.hold(key, 0);
        self.deleted.borrow_mut().insert(key.to_owned());
    }
}

impl Cql for Fake {
    type Store = Self;
    type Nodes = Self;

    async fn table(&self) -> Result<TableIdentity, StoreError> {
        let away = self.nodes.table_away.get();
        self.nodes.table_away.set(away.saturating_sub(1));
        if away > 0 {
            return Err(StoreError::Unavailable("no node answers".to_owned()));
        }
        Ok(Self::table_identity())
    }

    async fn connect_store(&self, _member: &MemberId) -> Result<Self, StoreError> {
        self.clock.sleep(self.nodes.connecting_takes.get()).await;
        Ok(self.clone())
    }

    async fn connect_nodes(&self) -> Result<Self, StoreError> {
        Ok(self.clone())
    }
}

impl Store for Fake {
    async fn current_table(&self) -> Result<Option<TableIdentity>, StoreError> {
        Ok(Some(Self::table_identity()))
    }

    async fn increment(&self, permit: Permit, batches: &[CounterBatch]) -> Outcome {
        let [batch] = batches else {
            unreachable!("a correction is sent by itself");
        };
        self.record(&format!("increment {}", batch.counter));
        self.clock.sleep(self.increment_takes.get()).await;
        if !permit.allows(self.clock.now()) {
            return Outcome::NotApplied(Cause("no permit".to_owned()));
        }
        if !self.admitted.get() {
            return Outcome::NotApplied(Cause("no node is admitted".to_owned()));
        }
        let fate = self.fates.borrow_mut().pop_front();
        let applied = !matches!(
            fate,
            Some(Fate::UnknownLost | Fate::NotApplied | Fate::Refused)
        );
        let is_deleted = self.deleted.borrow().contains(&*batch.counter.key.0);
        if applied && !is_deleted {
            self.table.borrow_mut().apply(0, batch);
        }
        match fate {
            None => Outcome::Applied,
            Some(Fate::Refused) => Outcome::Refused(Cause("no permission".to_owned())),
            Some(Fate::NotApplied) => Outcome::NotApplied(Cause("busy".to_owned())),
            Some(Fate::UnknownApplied | Fate::UnknownLost) => {
                Outcome::Unknown(Cause("no reply".to_owned()))
            }
        }
    }

    fn replicas(&self, _counter: &Counter) -> Option<Replicas> {
        None
    }

    async fn read(
        &self,
        counter: &Counter,
        cells: CellSelection<'_>,
        _level: Level,
    ) -> Result<Vec<(CellSlot, Count)>, StoreError> {
        self.record(&format!("read {counter}"));
        let mut rows = self.table.borrow().read(counter, &[0]);
        rows.retain(|(slot, _)| match cells {
            CellSelection::Whole => true,
            CellSelection::Cells(slots) => slots.contains(slot),
        });
        Ok(rows)
    }

    async fn scan(
        &self,
        tokens: TokenInterval,
        _level: Level,
        _after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        let is_of_a_token = tokens.first == tokens.last;
        self.record(if is_of_a_token {
            "scan of a token"
        } else {
            "scan"
        });
        if self.clock.seconds() < self.nodes.away_until.get() {
            return Err(StoreError::Unavailable(
                "not all replicas are up".to_owned(),
            ));
        }
        self.clock.sleep(self.scan_takes.get()).await;
        let within = |token| tokens.contains(token);
        let cells = self.table.borrow().scan(within, &[0]);
        let foreign = std::mem::take(&mut *self.foreign.borrow_mut());
        Ok(ScanPage {
            cells,
            foreign,
            next: None,
        })
    }

    async fn nodes(&self) -> Vec<KnownNode> {
        vec![KnownNode {
            node: node(),
            own_address: true,
        }]
    }

    fn admit(&self, nodes: &[NodeId]) {
        self.admitted.set(nodes.contains(&node().id));
    }

    async fn close(self) {}
}

impl Nodes for Fake {
    async fn ring(&self) -> Result<Vec<NodeState>, StoreError> {
        let state = |token: &u64| NodeState {
            node: node(),
            own_address: true,
            datacenter: "dc".to_owned(),
            tokens: vec![token.to_string()],
            up: true,
            normal: true,
        };
        Ok(self.ring.borrow().iter().map(state).collect())
    }

    async fn probe(&self, _node: &NodeAddress, bound: Duration) -> Probe {
        self.record("probe");
        if let Err(error) = self.permitted("MODIFY on probes") {
            return Probe::Rejected(error.to_string());
        }
        if self.silent.get() {
            self.clock.sleep(bound).await;
            return Probe::Silent;
        }
        Probe::Answered
    }

    async fn connections(
        &self,
        _node: &NodeAddress,
        _bound: Duration,
    ) -> Result<Vec<Connection>, StoreError> {
        Ok(Vec::new())
    }

    async fn may_read(&self, _node: &NodeAddress, _bound: Duration) -> Result<(), StoreError> {
        self.permitted("SELECT")
    }

    async fn may_increment(&self, _node: &NodeAddress, _bound: Duration) -> Result<(), StoreError> {
        self.permitted("MODIFY")
    }

    async fn settings(
        &self,
        _node: &NodeAddress,
        _bound: Duration,
    ) -> Result<NodeSettings, StoreError> {
        Ok(NodeSettings {
            native_transport_timeout: Duration::from_secs(2),
            counter_write_request_timeout: Duration::from_secs(1),
            native_transport_idle_timeout: None,
            internode_timeout: true,
        })
    }
}

impl Fake {
    /// An error if the test takes this right away.
    fn permitted(&self, right: &str) -> Result<(), StoreError> {
        if self.forbidden.get() == Some(right) {
            let why = format!("User stitch has no {right} permission");
            return Err(StoreError::Refused(why));
        }
        Ok(())
    }
}

fn node() -> NodeAddress {
    NodeAddress {
        id: NodeId(uuid::Uuid::from_u128(1)),
        address: SocketAddr::from(([127, 0, 0, 1], 9042)),
    }
}
