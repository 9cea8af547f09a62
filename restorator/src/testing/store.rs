//! A Cassandra of one node, whose increments have the outcomes that a test wants.

use std::net::SocketAddr;
use std::time::Duration;

use stitch_common::cell::{Bucket, Cell, CellSlot, Count, Counter, Granularity};
use stitch_common::clock::Clock;
use stitch_common::lease::Permit;
use stitch_common::member::MemberId;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::{
    CellSelection, Connection, CounterBatch, Cql, Level, NodeAddress, NodeId, NodeSettings,
    NodeState, Nodes, Probe, ScanPage, ScanPosition, Store, StoreError, TableIdentity,
};
use stitch_common::range::TokenInterval;

use super::world::Fake;
use stitch_totals::scan_key::in_scan_order;

/// What becomes of an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The reply is lost, and it was applied.
    UnknownApplied,
    /// The reply is lost, and it was not.
    UnknownLost,
    /// It is refused, and may be sent again.
    NotApplied,
    /// The store says that it was applied, and a tombstone swallows it.
    Swallowed,
}

impl Cql for Fake {
    type Store = Self;
    type Nodes = Self;

    async fn table(&self) -> Result<TableIdentity, StoreError> {
        Ok(Self::table_identity())
    }

    async fn connect_store(&self, _member: &MemberId) -> Result<Self, StoreError> {
        Ok(self.clone())
    }

    async fn connect_nodes(&self) -> Result<Self, StoreError> {
        Ok(self.clone())
    }
}

impl Store for Fake {
    async fn increment(&self, permit: Permit, batch: &CounterBatch) -> Outcome {
        self.note(&format!("increment {}", batch.counter));
        self.clock.sleep(self.increment_takes.get()).await;
        if !permit.allows(self.clock.now()) {
            return Outcome::NotApplied(Cause("no permit".to_owned()));
        }
        let fate = self.fates.borrow_mut().pop_front();
        let applied = !matches!(
            fate,
            Some(Fate::UnknownLost | Fate::NotApplied | Fate::Swallowed)
        );
        if applied {
            for (slot, amount) in &batch.amounts {
                let cell = Cell {
                    counter: batch.counter.clone(),
                    slot: *slot,
                };
                let mut table = self.table.borrow_mut();
                let value = table.entry(cell).or_default();
                *value = value.plus(*amount);
            }
        }
        match fate {
            None | Some(Fate::Swallowed) => Outcome::Applied,
            Some(Fate::NotApplied) => Outcome::NotApplied(Cause("busy".to_owned())),
            Some(Fate::UnknownApplied | Fate::UnknownLost) => {
                Outcome::Unknown(Cause("no reply".to_owned()))
            }
        }
    }

    async fn read(
        &self,
        counter: &Counter,
        cells: CellSelection<'_>,
        _level: Level,
    ) -> Result<Vec<(CellSlot, Count)>, StoreError> {
        self.note(&format!("read {counter}"));
        let table = self.table.borrow();
        let first = Cell {
            counter: counter.clone(),
            slot: CellSlot {
                granularity: Granularity::All,
                bucket: Bucket(i64::MIN),
            },
        };
        let own = table.range(first..);
        let own = own.take_while(|(cell, _)| cell.counter == *counter);
        let wanted = own.filter(|(cell, _)| match cells {
            CellSelection::Whole => true,
            CellSelection::Cells(slots) => slots.contains(&cell.slot),
        });
        Ok(wanted.map(|(cell, count)| (cell.slot, *count)).collect())
    }

    async fn scan(
        &self,
        tokens: TokenInterval,
        _level: Level,
        _after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        self.note("scan");
        let table = self.table.borrow();
        let rows = table.iter().map(|(cell, count)| {
            (
                cell.counter.token(),
                cell.counter.clone(),
                cell.slot,
                *count,
            )
        });
        let mut cells: Vec<_> = rows.filter(|row| tokens.contains(row.0)).collect();
        cells.sort_by(|a, b| in_scan_order(a.0, &a.1, b.0, &b.1).then(a.2.cmp(&b.2)));
        Ok(ScanPage { cells, next: None })
    }

    async fn close(self) {}
}

impl Nodes for Fake {
    async fn ring(&self) -> Result<Vec<NodeState>, StoreError> {
        let state = |token: &u64| NodeState {
            node: node(),
            datacenter: "dc".to_owned(),
            tokens: vec![token.to_string()],
            up: true,
            normal: true,
        };
        Ok(self.ring.borrow().iter().map(state).collect())
    }

    async fn probe(&self, _node: &NodeAddress, bound: Duration) -> Probe {
        self.note("probe");
        if self.silent.get() {
            self.clock.sleep(bound).await;
            return Probe::NoProgress;
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

fn node() -> NodeAddress {
    NodeAddress {
        id: NodeId(uuid::Uuid::from_u128(1)),
        address: SocketAddr::from(([127, 0, 0, 1], 9042)),
    }
}
