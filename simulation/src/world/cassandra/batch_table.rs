//! The table of batch counts: plain values, of which each node keeps the one that was written last; and the port to it of
//! one process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use stitch_common::cell::{self, CellSlot, Count, Counter};
use stitch_common::clock::Clock;
use stitch_common::ports::{
    BatchTable, CellBatch, CellScan, Level, ScanPage, ScanPosition, StoreError, WriteTime,
};
use stitch_common::range::TokenInterval;
use stitch_common::token::Token;
use stitch_testkit::time::Micros;
use stitch_testkit::wait::{Either, OneShot, either};

use super::{Cluster, NODES, REQUEST_TIMEOUT};
use crate::trace::Tracepoint;
use crate::world::{Handle, World};

/// The longest time by which an insert is late, and by which a replica lags.
const LATE: Micros = 1_500_000;

/// What a node holds of a cell. Of two values of one time the greater one is kept.
type Written = (WriteTime, i64);
type Rows = BTreeMap<(Token, Counter), BTreeMap<CellSlot, Written>>;

/// The table as each node has it.
#[derive(Debug, Default)]
pub(crate) struct BatchRows([RefCell<Rows>; NODES]);

impl BatchRows {
    fn put(&self, node: usize, counter: &Counter, slot: CellSlot, written: Written) {
        let mut rows = self.0[node].borrow_mut();
        let cells = rows.entry((counter.token(), counter.clone())).or_default();
        let held = cells.entry(slot).or_insert(written);
        *held = (*held).max(written);
    }

    /// What a read of these nodes returns.
    fn merged(&self, nodes: &[usize]) -> Rows {
        let mut merged = Rows::new();
        for node in nodes {
            for (counter, cells) in self.0[*node].borrow().iter() {
                let known = merged.entry(counter.clone()).or_default();
                for (slot, written) in cells {
                    let latest = known.entry(*slot).or_insert(*written);
                    *latest = (*latest).max(*written);
                }
            }
        }
        merged
    }

    /// Gives these nodes what any of them has: a read at `ALL` repairs what it reads before it answers.
    fn repair(&self, nodes: &[usize]) -> Rows {
        let merged = self.merged(nodes);
        for node in nodes {
            *self.0[*node].borrow_mut() = merged.clone();
        }
        merged
    }

    /// What a read of a cell at these nodes returns.
    pub(crate) fn value(&self, cell: &cell::Cell, nodes: &[usize]) -> i64 {
        let key = (cell.counter.token(), cell.counter.clone());
        let read = nodes.iter().filter_map(|node| {
            let rows = self.0[*node].borrow();
            rows.get(&key)?.get(&cell.slot).copied()
        });
        read.max().map_or(0, |(_, value)| value)
    }

    /// Every cell that some node has.
    pub(crate) fn cells(&self) -> Vec<cell::Cell> {
        let every: [usize; NODES] = std::array::from_fn(|node| node);
        let rows = self.merged(&every).into_iter();
        let cells = rows.flat_map(|((_, counter), cells)| {
            let of_counter = move |slot| cell::Cell {
                counter: counter.clone(),
                slot,
            };
            cells.into_keys().map(of_counter).collect::<Vec<_>>()
        });
        cells.collect()
    }

    /// Adds to a cell at every node, with the time of what it holds: the next load is later.
    pub(crate) fn add_by_hand(&self, cell: &cell::Cell, amount: i64) {
        let every: [usize; NODES] = std::array::from_fn(|node| node);
        let key = (cell.counter.token(), cell.counter.clone());
        let held = self.merged(&every);
        let (time, value) = held[&key][&cell.slot];
        for node in every {
            self.put(node, &cell.counter, cell.slot, (time, value + amount));
        }
    }
}

/// A session with the table of batch counts.
pub(crate) struct SimBatchTable(pub(crate) Handle);

/// A session that scans the table of counts.
pub(crate) struct SimScan(pub(crate) Handle);

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.to_owned())
}

impl BatchTable for SimBatchTable {
    async fn insert(&self, batch: &CellBatch, written: WriteTime) -> Result<(), StoreError> {
        let handle = &self.0;
        let world = &handle.world;
        let rates = world.cluster.fault_rates.get();
        world.record_point(handle.actor(), Tracepoint::BatchCellsSent);
        world.hop().await;
        if !(0..NODES).any(|node| handle.reaches(node)) {
            handle.clock().sleep(REQUEST_TIMEOUT).await;
            return Err(unavailable("no node answers"));
        }
        let nodes = world.cluster.nodes.iter();
        let up = nodes.filter(|node| node.seems_up(world.now())).count();
        if up < 2 || world.rng.percent(rates.unavailable) {
            return Err(unavailable("too few replicas"));
        }
        if world.rng.percent(rates.refused) {
            return Err(StoreError::Refused("invalid".to_owned()));
        }
        let answer = world.insert(batch, written);
        match either(answer.recv(), handle.clock().sleep(REQUEST_TIMEOUT)).await {
            Either::Left(()) => Ok(()),
            Either::Right(()) => Err(unavailable("no answer")),
        }
    }
}

impl CellScan for SimBatchTable {
    async fn scan(
        &self,
        tokens: TokenInterval,
        _after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        let nodes = self.0.ask_nodes(Level::All).await?;
        let rows = self.0.world.cluster.batch.repair(&nodes);
        self.0
            .world
            .record_point(self.0.actor(), Tracepoint::BatchScanned);
        self.0.world.hop().await;
        let rows = rows
            .into_iter()
            .filter(|((token, _), _)| tokens.contains(*token));
        let cells = rows.flat_map(|((token, counter), cells)| {
            let row = move |(slot, (_, value))| (token, counter.clone(), slot, Count(value));
            cells.into_iter().map(row).collect::<Vec<_>>()
        });
        Ok(page(cells.collect()))
    }
}

impl CellScan for SimScan {
    async fn scan(
        &self,
        tokens: TokenInterval,
        _after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        let nodes = self.0.ask_nodes(Level::All).await?;
        let within = |token| tokens.contains(token);
        let cells = {
            let table = self.0.world.cluster.table.borrow();
            table.scan(within, &nodes)
        };
        self.0.world.hop().await;
        Ok(page(cells))
    }
}

fn page(cells: Vec<(Token, Counter, CellSlot, Count)>) -> ScanPage {
    ScanPage {
        cells,
        foreign: BTreeMap::new(),
        next: None,
    }
}

impl World {
    /// Sends an insert to every replica: it arrives whatever becomes of its sender. Answered when two have it, unless the
    /// answer is lost.
    fn insert(self: &Rc<Self>, batch: &CellBatch, written: WriteTime) -> Rc<OneShot<()>> {
        let rates = self.cluster.fault_rates.get();
        let (answer, have) = (Rc::new(OneShot::default()), Rc::new(Cell::new(0)));
        let is_answered = !self.rng.percent(rates.timeouts);
        let late = if self.rng.percent(rates.late.max(rates.overdue)) {
            self.rng.below(LATE)
        } else {
            0
        };
        for number in 0..NODES {
            let lag = if self.rng.percent(rates.unreplicated) {
                self.rng.below(LATE)
            } else {
                0
            };
            let at = self.now() + self.net() + late + lag;
            let (world, batch) = (Rc::clone(self), batch.clone());
            let (answer, have) = (Rc::clone(&answer), Rc::clone(&have));
            self.spawn(async move {
                world.executor.until(at).await;
                let node = &world.cluster.nodes[number];
                // One that is killed meanwhile gets it by a hint.
                while !node.wait_until_applying(node.incarnation()).await {}
                for (slot, count) in &batch.values {
                    let rows = &world.cluster.batch;
                    rows.put(number, &batch.counter, *slot, (written, count.0));
                }
                world.check_batch();
                have.set(have.get() + 1);
                if have.get() == 2 && is_answered {
                    world.hop().await;
                    answer.send(());
                }
            });
        }
        answer
    }
}

impl Cluster {
    /// Gives every node all batch counts.
    pub(crate) fn replicate_batch(&self) {
        let every: [usize; NODES] = std::array::from_fn(|node| node);
        drop(self.batch.repair(&every));
    }
}
