//! Totals as streams: cells in the order of the table's scan, each once, in memory that does not grow with their number.
//!
//! [`sorter`] takes what events contribute, in any order. [`accumulator`] adds it up in memory; when its bound is reached
//! it is written as a sorted [`run`] to the [`spill_folder`]. [`merge`] yields the cells of many streams as one.
//! [`tokens`] says which part of a stream is wanted.

pub mod counter_names;
pub mod spill_folder;
pub mod tokens;
pub mod accumulator;
pub mod snapshot;
pub mod run;
pub mod merge;
pub mod sorter;
#[cfg(test)]
pub(crate) mod testing;

use stitch_common::cell::Amount;
use stitch_common::token::Token;

use crate::scan_key::PackedSlot;
use counter_names::NameRank;

/// A cell, and what has been added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellTotal<'a> {
    /// The token of its counter.
    pub token: Token,
    /// Its counter's name.
    pub name: NameRank,
    /// Its counter's key, in UTF-8.
    pub key: &'a [u8],
    /// The cell within the counter.
    pub slot: PackedSlot,
    /// The sum.
    pub total: Amount,
}

/// The position of a cell in a scan of the table: of two keys of one token the shorter is first
/// ([`in_scan_order`](crate::scan_key::in_scan_order)), and a [`NameRank`] is ordered likewise.
pub type ScanPosition<'a> = (Token, NameRank, usize, &'a [u8], PackedSlot);

impl<'a> CellTotal<'a> {
    /// Where the table's scan has it.
    pub const fn position(&self) -> ScanPosition<'a> {
        (self.token, self.name, self.key.len(), self.key, self.slot)
    }

    /// Whether both are cells of one counter.
    pub fn has_counter_of(&self, other: &CellTotal<'_>) -> bool {
        self.token == other.token && self.name == other.name && self.key == other.key
    }
}

/// A stream of cells in scan order, each at most once. It has a part of them in memory: [`SortedCells::step`] moves
/// within that part, [`SortedCells::load`] fetches the next one.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait SortedCells {
    /// Why no more cells can be had.
    type Error;

    /// The cell that it is at; `None` before the first [`SortedCells::load`], and at the end.
    fn current(&self) -> Option<CellTotal<'_>>;

    /// Moves to the next cell, if that is in memory. Otherwise it returns `false`, and [`SortedCells::load`] moves on.
    ///
    /// # Errors
    /// What is in memory is no cell.
    fn step(&mut self) -> Result<bool, Self::Error>;

    /// Fetches the next part, and moves to its first cell; returns whether there is one.
    ///
    /// # Errors
    /// The stream is incomplete, and of no use. So it is when the call is cancelled.
    async fn load(&mut self) -> Result<bool, Self::Error>;
}
