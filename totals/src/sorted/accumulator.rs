//! Adds contributions up in memory, cell by cell, and yields them in scan order.
//!
//! Counters are spread over shards by the upper bits of their tokens, so that the shards, one after the other, are in scan
//! order: each is sorted by itself when its turn comes, and a table that grows holds up only a small part of the memory
//! twice.

use std::convert::Infallible;
use std::vec;

use hashbrown::HashTable;
use stitch_common::cell::Amount;
use stitch_common::token::Token;
use stitch_common::wait::yield_now;

use super::counter_names::NameRank;
use super::{CellTotal, SortedCells};
use crate::scan_key::PackedSlot;

const SHARD_BITS: u32 = 6;

/// Sums by cell.
#[derive(Debug)]
pub struct Accumulator {
    /// In the order of tokens.
    shards: Vec<Shard>,
    bytes: usize,
    cells: usize,
}

#[derive(Debug, Default)]
struct Shard {
    counters: Vec<CounterEntry>,
    /// The bytes of all keys.
    keys: Vec<u8>,
    counter_index: HashTable<u32>,
    cells: Vec<CellEntry>,
    /// Of the cells that are not of their counter's first event.
    cell_index: HashTable<u32>,
}

#[derive(Clone, Copy, Debug)]
struct CounterEntry {
    token: Token,
    key_at: u32,
    key_length: u16,
    name: NameRank,
    /// The cells of its first event lie one behind the other, and are in no index: most later events are in some of them
    /// again, and most counters have no others. An index of all would be the largest part of the memory, and a place of it
    /// is found in no cache.
    first_cells_at: u32,
    first_cells: u8,
}

#[derive(Clone, Copy, Debug)]
struct CellEntry {
    /// The position of its counter; once sorted, that in scan order.
    counter: u32,
    slot: PackedSlot,
    total: Amount,
}

impl Default for Accumulator {
    fn default() -> Self {
        let shards = (0..1 << SHARD_BITS).map(|_| Shard::default());
        Self {
            shards: shards.collect(),
            bytes: 0,
            cells: 0,
        }
    }
}

impl Accumulator {
    /// Adds `amount` to the cells `slots` of one counter, which are distinct.
    ///
    /// # Panics
    /// If the key has 64 KiB or more: the decoder rejects it.
    pub fn add(
        &mut self,
        token: Token,
        name: NameRank,
        key: &[u8],
        slots: &[PackedSlot],
        amount: Amount,
    ) {
        let unsigned = token.0.cast_unsigned() ^ (1 << 63);
        let shard = usize::try_from(unsigned >> (64 - SHARD_BITS)).expect("a few bits");
        let shard = &mut self.shards[shard];
        let (bytes, cells) = (shard.bytes(), shard.cells.len());
        match shard.counter(token, name, key) {
            None => shard.begin(token, name, key, slots, amount),
            Some(counter) => {
                for slot in slots {
                    shard.count(counter, *slot, amount);
                }
            }
        }
        self.bytes = self.bytes - bytes + shard.bytes();
        self.cells = self.cells - cells + shard.cells.len();
    }

    /// The bytes that its tables take, whether used or not.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of cells.
    pub const fn cells(&self) -> usize {
        self.cells
    }

    /// Its cells, in scan order.
    pub fn into_sorted(self) -> SortedMemory {
        SortedMemory {
            shards: self.shards.into_iter(),
            shard: SortedShard::default(),
        }
    }
}

fn position(length: usize) -> u32 {
    u32::try_from(length).expect("memory is bounded far below 2^32 entries a shard")
}

fn index(position: u32) -> usize {
    usize::try_from(position).expect("32 bits fit")
}

/// Mixes a number into a hash: the finaliser of SplitMix64.
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

const fn counter_hash(token: Token) -> u64 {
    mixed(token.0.cast_unsigned())
}

fn cell_hash(counter: u32, slot: PackedSlot) -> u64 {
    mixed((u64::from(counter) << 32) | u64::from(slot.bits()))
}

impl Shard {
    fn bytes(&self) -> usize {
        self.counters.capacity() * size_of::<CounterEntry>()
            + self.keys.capacity()
            + self.counter_index.allocation_size()
            + self.cells.capacity() * size_of::<CellEntry>()
            + self.cell_index.allocation_size()
    }

    fn key(&self, counter: CounterEntry) -> &[u8] {
        &self.keys[index(counter.key_at)..][..usize::from(counter.key_length)]
    }

    /// The position of the counter, if there is one.
    fn counter(&self, token: Token, name: NameRank, key: &[u8]) -> Option<u32> {
        let is_same = |at: &u32| {
            let counter = self.counters[index(*at)];
            counter.token == token && counter.name == name && self.key(counter) == key
        };
        let known = self.counter_index.find(counter_hash(token), is_same);
        known.copied()
    }

    /// Adds a counter with the cells of its first event.
    fn begin(
        &mut self,
        token: Token,
        name: NameRank,
        key: &[u8],
        slots: &[PackedSlot],
        amount: Amount,
    ) {
        let counter = position(self.counters.len());
        self.counters.push(CounterEntry {
            token,
            key_at: position(self.keys.len()),
            key_length: u16::try_from(key.len()).expect("a key has at most 1024 bytes"),
            name,
            first_cells_at: position(self.cells.len()),
            first_cells: u8::try_from(slots.len()).expect("there are fewer granularities"),
        });
        self.keys.extend_from_slice(key);
        self.cells.extend(slots.iter().map(|slot| CellEntry {
            counter,
            slot: *slot,
            total: amount,
        }));
        let counters = &self.counters;
        self.counter_index
            .insert_unique(counter_hash(token), counter, |at| {
                counter_hash(counters[index(*at)].token)
            });
    }

    fn count(&mut self, counter: u32, slot: PackedSlot, amount: Amount) {
        let of = self.counters[index(counter)];
        let cells = &mut self.cells;
        let first = &mut cells[index(of.first_cells_at)..][..usize::from(of.first_cells)];
        if let Some(cell) = first.iter_mut().find(|cell| cell.slot == slot) {
            cell.total = cell.total.plus(amount);
            return;
        }
        let hash = cell_hash(counter, slot);
        let is_same = |at: &u32| {
            let cell = cells[index(*at)];
            cell.counter == counter && cell.slot == slot
        };
        if let Some(known) = self.cell_index.find(hash, is_same) {
            let total = &mut cells[index(*known)].total;
            *total = total.plus(amount);
            return;
        }
        let added = position(cells.len());
        cells.push(CellEntry {
            counter,
            slot,
            total: amount,
        });
        self.cell_index.insert_unique(hash, added, |at| {
            let cell = cells[index(*at)];
            cell_hash(cell.counter, cell.slot)
        });
    }

    fn into_sorted(mut self) -> SortedShard {
        self.counter_index = HashTable::new();
        self.cell_index = HashTable::new();
        let mut order: Vec<u32> = (0..position(self.counters.len())).collect();
        order.sort_unstable_by(|a, b| {
            let position_of = |at: u32| {
                let counter = self.counters[index(at)];
                (
                    counter.token,
                    counter.name,
                    counter.key_length,
                    self.key(counter),
                )
            };
            position_of(*a).cmp(&position_of(*b))
        });
        let mut ranks = vec![0; order.len()];
        for (rank, counter) in (0..).zip(&order) {
            ranks[index(*counter)] = rank;
        }
        for cell in &mut self.cells {
            cell.counter = ranks[index(cell.counter)];
        }
        self.cells
            .sort_unstable_by_key(|cell| (cell.counter, cell.slot));
        SortedShard {
            shard: self,
            order,
            at: 0,
        }
    }
}

/// The cells of an [`Accumulator`], in scan order.
#[derive(Debug)]
pub struct SortedMemory {
    shards: vec::IntoIter<Shard>,
    shard: SortedShard,
}

#[derive(Debug, Default)]
struct SortedShard {
    shard: Shard,
    /// The positions of the counters, in scan order.
    order: Vec<u32>,
    /// The current cell.
    at: usize,
}

impl SortedShard {
    fn current(&self) -> Option<CellTotal<'_>> {
        let cell = self.shard.cells.get(self.at)?;
        let counter = self.shard.counters[index(self.order[index(cell.counter)])];
        Some(CellTotal {
            token: counter.token,
            name: counter.name,
            key: self.shard.key(counter),
            slot: cell.slot,
            total: cell.total,
        })
    }
}

impl SortedCells for SortedMemory {
    type Error = Infallible;

    fn current(&self) -> Option<CellTotal<'_>> {
        self.shard.current()
    }

    fn step(&mut self) -> Result<bool, Infallible> {
        self.shard.at += 1;
        Ok(self.shard.at < self.shard.shard.cells.len())
    }

    async fn load(&mut self) -> Result<bool, Infallible> {
        loop {
            let Some(shard) = self.shards.next() else {
                self.shard = SortedShard::default();
                return Ok(false);
            };
            self.shard = shard.into_sorted();
            // Sorting a shard takes milliseconds.
            yield_now().await;
            if !self.shard.shard.cells.is_empty() {
                return Ok(true);
            }
        }
    }
}
