//! The table: every cell as the replicas have it. A counter is the sum of shards, one a node, and only that node adds to
//! its own; the others are told what it holds, and keep the latest that they heard.

use std::collections::BTreeMap;

use stitch_common::cell::{Amount, Cell, CellSlot, Count, Counter};
use stitch_common::ports::CounterBatch;
use stitch_common::token::Token;
use stitch_totals::scan_key::ScanKey;

use super::NODES;

/// What one node added up, and how often it did.
#[derive(Clone, Copy, Debug, Default)]
struct Shard {
    version: u32,
    sum: Count,
}

/// One cell.
#[derive(Clone, Debug, Default)]
struct Replicated {
    /// `known[a][b]`: what node `a` knows of the shard of node `b`.
    known: [[Shard; NODES]; NODES],
    /// Deleted by hand: Cassandra's tombstone swallows what is added.
    deleted: bool,
}

/// The table, in the order of a scan.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    counters: BTreeMap<ScanKey, BTreeMap<CellSlot, Replicated>>,
}

/// A row of a scan.
pub(crate) type Row = (Token, Counter, CellSlot, Count);

impl Cells {
    /// Applies a batch at a node.
    pub(crate) fn apply(&mut self, node: usize, batch: &CounterBatch) {
        let place = ScanKey::of(batch.counter.clone());
        let slots = self.counters.entry(place).or_default();
        for (slot, amount) in &batch.amounts {
            let cell = slots.entry(*slot).or_default();
            if !cell.deleted {
                let shard = &mut cell.known[node][node];
                shard.version += 1;
                shard.sum = shard.sum.plus(*amount);
            }
        }
    }

    /// Tells node `to` what node `from` holds of a counter.
    pub(crate) fn replicate(&mut self, from: usize, to: usize, counter: &Counter) {
        let place = ScanKey::of(counter.clone());
        for cell in self.counters.entry(place).or_default().values_mut() {
            let told = cell.known[from][from];
            let known = &mut cell.known[to][from];
            if known.version < told.version {
                *known = told;
            }
        }
    }

    /// Tells every node everything: what hints and repairs come to.
    pub(crate) fn replicate_all(&mut self) {
        for cell in self.counters.values_mut().flat_map(BTreeMap::values_mut) {
            for from in 0..NODES {
                let told = cell.known[from][from];
                for known in &mut cell.known {
                    known[from] = told;
                }
            }
        }
    }

    /// What these nodes together know of a cell.
    fn merged(cell: &Replicated, nodes: &[usize]) -> Count {
        let mut sum = Count(0);
        for shard in 0..NODES {
            let known = nodes.iter().map(|node| cell.known[*node][shard]);
            let latest = known.max_by_key(|known| known.version);
            let latest = latest.unwrap_or_default().sum;
            sum = sum.plus(Amount(latest.0));
        }
        sum
    }

    pub(crate) fn read(&self, counter: &Counter, nodes: &[usize]) -> Vec<(CellSlot, Count)> {
        let cells = self.counters.get(&ScanKey::of(counter.clone()));
        let cells = cells.into_iter().flatten();
        cells
            .filter(|(_, cell)| !cell.deleted)
            .map(|(slot, cell)| (*slot, Self::merged(cell, nodes)))
            .collect()
    }

    pub(crate) fn scan(&self, within: impl Fn(Token) -> bool, nodes: &[usize]) -> Vec<Row> {
        let counters = self
            .counters
            .iter()
            .filter(|(place, _)| within(place.token()));
        let rows = counters.flat_map(|(place, cells)| {
            let live = cells.iter().filter(|(_, cell)| !cell.deleted);
            live.map(|(slot, cell)| {
                let count = Self::merged(cell, nodes);
                (place.token(), place.counter().clone(), *slot, count)
            })
        });
        rows.collect()
    }

    /// What a cell holds in truth.
    pub(crate) fn truth(&self, cell: &Cell) -> Count {
        let cells = self.counters.get(&ScanKey::of(cell.counter.clone()));
        let held = cells.and_then(|cells| cells.get(&cell.slot));
        let held = held.filter(|held| !held.deleted);
        let all: [usize; NODES] = std::array::from_fn(|node| node);
        held.map(|held| Self::merged(held, &all))
            .unwrap_or_default()
    }

    /// Somebody adds to a cell by hand, and every node is told.
    pub(crate) fn spoil(&mut self, cell: &Cell, amount: Amount) {
        let batch = CounterBatch {
            counter: cell.counter.clone(),
            amounts: vec![(cell.slot, amount)],
        };
        self.apply(0, &batch);
        (1..NODES).for_each(|to| self.replicate(0, to, &batch.counter));
    }

    /// Deletes a cell by hand.
    pub(crate) fn delete(&mut self, cell: &Cell) {
        let place = ScanKey::of(cell.counter.clone());
        let cells = self.counters.entry(place).or_default();
        let deleted = cells.entry(cell.slot).or_default();
        *deleted = Replicated {
            deleted: true,
            ..Replicated::default()
        };
    }

    /// A compaction drops the tombstones of deleted cells.
    pub(crate) fn drop_tombstones(&mut self) {
        for cell in self.counters.values_mut().flat_map(BTreeMap::values_mut) {
            cell.deleted = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::{Bucket, Granularity};

    fn slot() -> CellSlot {
        CellSlot {
            granularity: Granularity::All,
            bucket: Bucket(0),
        }
    }

    fn batch(amount: i64) -> CounterBatch {
        CounterBatch {
            counter: Counter::new("a", "x"),
            amounts: vec![(slot(), Amount(amount))],
        }
    }

    fn read(cells: &Cells, nodes: &[usize]) -> i64 {
        let read = cells.read(&Counter::new("a", "x"), nodes);
        read.first().map_or(0, |(_, count)| count.0)
    }

    #[test]
    fn a_quorum_may_miss_what_one_node_told_to_none_and_all_never_do() {
        let mut cells = Cells::default();
        cells.apply(0, &batch(5));
        cells.apply(1, &batch(7));
        assert_eq!(read(&cells, &[0, 1, 2]), 12);
        assert_eq!(read(&cells, &[1, 2]), 7);
        cells.replicate(0, 2, &batch(0).counter);
        assert_eq!(read(&cells, &[1, 2]), 12);
        assert_eq!(read(&cells, &[0]), 5);
        cells.replicate_all();
        assert_eq!(read(&cells, &[0]), 12);
    }

    #[test]
    fn a_deleted_cell_swallows_what_is_added_until_its_tombstone_is_dropped() {
        let mut cells = Cells::default();
        cells.apply(0, &batch(5));
        let cell = Cell {
            counter: batch(0).counter,
            slot: slot(),
        };
        cells.delete(&cell);
        cells.apply(0, &batch(7));
        assert_eq!(cells.truth(&cell), Count(0));
        cells.drop_tombstones();
        cells.apply(0, &batch(2));
        assert_eq!(cells.truth(&cell), Count(2));
    }
}
