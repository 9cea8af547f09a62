//! A few sorted cells in memory, as they are at one moment.

use std::convert::Infallible;

use stitch_common::cell::{Amount, Key};
use stitch_common::token::Token;

use super::counter_names::NameRank;
use super::{CellTotal, SortedCells};
use crate::scan_key::PackedSlot;

/// A counter in a [`Snapshot`].
#[derive(Clone, Debug)]
pub struct SnapshotCounter {
    pub token: Token,
    pub name: NameRank,
    pub key: Key,
}

/// Sorted cells.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    counters: Vec<SnapshotCounter>,
    /// The position of the counter, the slot and the total.
    cells: Vec<(usize, PackedSlot, Amount)>,
    /// The current one, if it has been loaded.
    at: Option<usize>,
}

impl Snapshot {
    /// Adds the cells of the next counter in scan order.
    pub fn push(
        &mut self,
        counter: SnapshotCounter,
        cells: impl Iterator<Item = (PackedSlot, Amount)>,
    ) {
        let at = self.counters.len();
        self.counters.push(counter);
        self.cells
            .extend(cells.map(|(slot, total)| (at, slot, total)));
    }
}

impl SortedCells for Snapshot {
    type Error = Infallible;

    fn current(&self) -> Option<CellTotal<'_>> {
        let (counter, slot, total) = *self.cells.get(self.at?)?;
        let counter = &self.counters[counter];
        Some(CellTotal {
            token: counter.token,
            name: counter.name,
            key: counter.key.0.as_bytes(),
            slot,
            total,
        })
    }

    fn step(&mut self) -> Result<bool, Infallible> {
        self.at = self.at.map(|at| at + 1);
        Ok(self.current().is_some())
    }

    async fn load(&mut self) -> Result<bool, Infallible> {
        // All of it is one part.
        self.at = Some(if self.at.is_none() {
            0
        } else {
            self.cells.len()
        });
        Ok(self.current().is_some())
    }
}
