//! Cassandra's data: the table of counts, as each replica has it. A counter is the sum of shards, one per node; only that
//! node adds to its own, and the others keep the latest version that was replicated to them.

use std::collections::BTreeMap;

use stitch_common::cell::{Amount, Cell, CellSlot, Count, Counter};
use stitch_common::ports::CounterBatch;
use stitch_common::token::Token;

/// What one node has added up, and its version.
#[derive(Clone, Copy, Debug, Default)]
struct Shard {
    version: u32,
    sum: Count,
}

#[derive(Clone, Debug)]
struct ReplicatedCell<const NODES: usize> {
    /// `known[a][b]`: node `a`'s copy of the shard of node `b`.
    known: [[Shard; NODES]; NODES],
    /// Deleted by hand: Cassandra's tombstone swallows what is added.
    deleted: bool,
}

impl<const NODES: usize> Default for ReplicatedCell<NODES> {
    fn default() -> Self {
        Self {
            known: [[Shard::default(); NODES]; NODES],
            deleted: false,
        }
    }
}

type Slots<const NODES: usize> = BTreeMap<CellSlot, ReplicatedCell<NODES>>;

/// The table on `NODES` nodes, each a replica of everything, in scan order: by token.
#[derive(Debug, Default)]
pub struct Table<const NODES: usize> {
    counters: BTreeMap<(Token, Counter), Slots<NODES>>,
}

/// A row of a scan.
pub type Row = (Token, Counter, CellSlot, Count);

impl<const NODES: usize> Table<NODES> {
    fn slots(&self, counter: &Counter) -> Option<&Slots<NODES>> {
        self.counters.get(&(counter.token(), counter.clone()))
    }

    fn slots_mut(&mut self, counter: &Counter) -> &mut Slots<NODES> {
        let key = (counter.token(), counter.clone());
        self.counters.entry(key).or_default()
    }

    /// Applies a batch at a node.
    pub fn apply(&mut self, node: usize, batch: &CounterBatch) {
        let slots = self.slots_mut(&batch.counter);
        for (slot, amount) in &batch.amounts {
            let cell = slots.entry(*slot).or_default();
            if !cell.deleted {
                let shard = &mut cell.known[node][node];
                shard.version += 1;
                shard.sum = shard.sum.plus(*amount);
            }
        }
    }

    /// Replicates a counter from node `from` to node `to`.
    pub fn replicate(&mut self, from: usize, to: usize, counter: &Counter) {
        for cell in self.slots_mut(counter).values_mut() {
            let own = cell.known[from][from];
            let copy = &mut cell.known[to][from];
            if copy.version < own.version {
                *copy = own;
            }
        }
    }

    /// Replicates everything to every node, as hints and repairs do in the end.
    pub fn replicate_all(&mut self) {
        for cell in self.counters.values_mut().flat_map(BTreeMap::values_mut) {
            for from in 0..NODES {
                let own = cell.known[from][from];
                for copies in &mut cell.known {
                    copies[from] = own;
                }
            }
        }
    }

    /// The value of a cell when these nodes answer a read.
    fn merged(cell: &ReplicatedCell<NODES>, nodes: &[usize]) -> Count {
        let mut sum = Count(0);
        for shard in 0..NODES {
            let known = nodes.iter().map(|node| cell.known[*node][shard]);
            let latest = known.max_by_key(|known| known.version);
            let latest = latest.unwrap_or_default().sum;
            sum = sum.plus(Amount(latest.0));
        }
        sum
    }

    pub fn read(&self, counter: &Counter, nodes: &[usize]) -> Vec<(CellSlot, Count)> {
        let cells = self.slots(counter).into_iter().flatten();
        cells
            .filter(|(_, cell)| !cell.deleted)
            .map(|(slot, cell)| (*slot, Self::merged(cell, nodes)))
            .collect()
    }

    pub fn scan(&self, within: impl Fn(Token) -> bool, nodes: &[usize]) -> Vec<Row> {
        let counters = self
            .counters
            .iter()
            .filter(|((token, _), _)| within(*token));
        let rows = counters.flat_map(|((token, counter), cells)| {
            let live = cells.iter().filter(|(_, cell)| !cell.deleted);
            live.map(|(slot, cell)| {
                let count = Self::merged(cell, nodes);
                (*token, counter.clone(), *slot, count)
            })
        });
        rows.collect()
    }

    /// The true value of a cell: what a read at `ALL` returns.
    pub fn count(&self, cell: &Cell) -> Count {
        let slots = self.slots(&cell.counter);
        let stored = slots.and_then(|slots| slots.get(&cell.slot));
        let stored = stored.filter(|stored| !stored.deleted);
        let all: [usize; NODES] = std::array::from_fn(|node| node);
        stored
            .map(|stored| Self::merged(stored, &all))
            .unwrap_or_default()
    }

    /// Adds to a cell at every node, as an operator does by hand.
    pub fn add(&mut self, cell: &Cell, amount: Amount) {
        let batch = CounterBatch {
            counter: cell.counter.clone(),
            amounts: vec![(cell.slot, amount)],
        };
        self.apply(0, &batch);
        (1..NODES).for_each(|to| self.replicate(0, to, &batch.counter));
    }

    /// Sets a cell at every node.
    pub fn set(&mut self, cell: &Cell, count: Count) {
        let difference = count.0.wrapping_sub(self.count(cell).0);
        self.add(cell, Amount(difference));
    }

    /// Empties the table.
    pub fn clear(&mut self) {
        self.counters.clear();
    }

    /// Deletes a cell by hand.
    pub fn delete(&mut self, cell: &Cell) {
        let tombstone = ReplicatedCell {
            deleted: true,
            ..ReplicatedCell::default()
        };
        self.slots_mut(&cell.counter).insert(cell.slot, tombstone);
    }

    /// Drops the tombstones of deleted cells, as a compaction does.
    pub fn drop_tombstones(&mut self) {
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

    fn read(cells: &Table<3>, nodes: &[usize]) -> i64 {
        let read = cells.read(&Counter::new("a", "x"), nodes);
        read.first().map_or(0, |(_, count)| count.0)
    }

    #[test]
    fn a_quorum_may_miss_what_one_node_has_not_replicated_and_all_nodes_never_do() {
        let mut cells = Table::<3>::default();
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
    fn a_tombstone_swallows_increments_until_it_is_dropped() {
        let mut cells = Table::<3>::default();
        cells.apply(0, &batch(5));
        let cell = Cell {
            counter: batch(0).counter,
            slot: slot(),
        };
        cells.delete(&cell);
        cells.apply(0, &batch(7));
        assert_eq!(cells.count(&cell), Count(0));
        cells.drop_tombstones();
        cells.apply(0, &batch(2));
        assert_eq!(cells.count(&cell), Count(2));
    }
}
