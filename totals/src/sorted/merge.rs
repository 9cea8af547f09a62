//! Merges streams of cells in scan order into one, in which each cell is once: with the sum of its totals.
//!
//! A tree of losers (Knuth, The Art of Computer Programming, volume 3, 5.4.1): each inner node keeps the stream that lost
//! there, so that the next cell costs one comparison a level.

use stitch_common::cell::Amount;
use stitch_common::token::Token;

use super::counter_names::NameRank;
use super::{CellTotal, SortedCells};
use crate::scan_key::PackedSlot;

/// The cells of some streams, in scan order. A cell whose totals add up to 0 is left out: it counts as much as none.
#[derive(Debug)]
pub struct Merge<S> {
    streams: Vec<S>,
    /// Of each inner node, from 1 on, the stream that lost. Node `n` has the children `2n` and `2n + 1`, and stream `s` is
    /// the leaf `streams + s`.
    losers: Vec<Option<usize>>,
    winner: usize,
    is_started: bool,
    cell: CellBuffer,
    /// Whether there is a cell in the buffer.
    has_cell: bool,
}

/// The cell that was yielded last.
#[derive(Debug)]
struct CellBuffer {
    token: Token,
    name: NameRank,
    key: Vec<u8>,
    slot: PackedSlot,
    total: Amount,
}

impl CellBuffer {
    fn set(&mut self, cell: &CellTotal<'_>) {
        self.token = cell.token;
        self.name = cell.name;
        self.key.clear();
        self.key.extend_from_slice(cell.key);
        self.slot = cell.slot;
        self.total = cell.total;
    }

    fn cell(&self) -> CellTotal<'_> {
        CellTotal {
            token: self.token,
            name: self.name,
            key: &self.key,
            slot: self.slot,
            total: self.total,
        }
    }
}

impl<S: SortedCells> Merge<S> {
    /// Merges these streams, none of which has been loaded.
    pub fn new(streams: Vec<S>) -> Self {
        Self {
            losers: vec![None; streams.len()],
            streams,
            winner: 0,
            is_started: false,
            has_cell: false,
            cell: CellBuffer {
                token: Token(0),
                name: NameRank(0),
                key: Vec::new(),
                slot: PackedSlot::from_bits(0),
                total: Amount(0),
            },
        }
    }

    /// The next cell.
    ///
    /// # Errors
    /// A stream's. The merge is of no use then, nor when the call is cancelled.
    pub async fn next(&mut self) -> Result<Option<CellTotal<'_>>, S::Error> {
        if !self.is_started {
            self.start().await?;
        }
        self.has_cell = false;
        loop {
            let winner = self.streams.get(self.winner);
            let Some(first) = winner.and_then(SortedCells::current) else {
                return Ok(None);
            };
            self.cell.set(&first);
            self.advance().await?;
            while let Some(same) = self.streams[self.winner].current() {
                if same.position() != self.cell.cell().position() {
                    break;
                }
                self.cell.total = self.cell.total.plus(same.total);
                self.advance().await?;
            }
            if !self.cell.total.is_zero() {
                self.has_cell = true;
                return Ok(Some(self.cell.cell()));
            }
        }
    }

    /// The streams, in the order that they were passed in.
    pub fn streams(&self) -> &[S] {
        &self.streams
    }

    /// The cell that was yielded last; `None` before the first and after the last.
    pub fn current(&self) -> Option<CellTotal<'_>> {
        self.has_cell.then(|| self.cell.cell())
    }

    async fn start(&mut self) -> Result<(), S::Error> {
        for stream in &mut self.streams {
            stream.load().await?;
        }
        for stream in 0..self.streams.len() {
            self.enter(stream);
        }
        self.is_started = true;
        Ok(())
    }

    /// Lets a stream play its way up. Where no other has arrived yet it waits for its opponent.
    fn enter(&mut self, stream: usize) {
        let mut winner = stream;
        let mut node = usize::midpoint(self.streams.len(), stream);
        while node > 0 {
            let Some(opponent) = self.losers[node] else {
                self.losers[node] = Some(winner);
                return;
            };
            if self.is_before(opponent, winner) {
                self.losers[node] = Some(winner);
                winner = opponent;
            }
            node /= 2;
        }
        self.winner = winner;
    }

    /// Moves the winner on, and finds the next one.
    async fn advance(&mut self) -> Result<(), S::Error> {
        let stream = &mut self.streams[self.winner];
        if !stream.step()? {
            stream.load().await?;
        }
        self.enter(self.winner);
        Ok(())
    }

    /// Whether stream `a` has the earlier cell. A stream at its end has none; of equal ones the first is before.
    fn is_before(&self, a: usize, b: usize) -> bool {
        match (self.streams[a].current(), self.streams[b].current()) {
            (Some(of_a), Some(of_b)) => (of_a.position(), a) < (of_b.position(), b),
            (of_a, _) => of_a.is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
