//! Joins two streams of cells: what is wanted, and what is held. Yields the cells that differ.

use std::cmp::Ordering;

use stitch_common::cell::{Amount, Cell, Counter, Key};
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::{CellTotal, SortedCells};

use crate::batch_error::BatchError;
use crate::rule;

/// A cell whose totals differ. A stream without the cell has 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub cell: Cell,
    pub wanted: Amount,
    pub held: Amount,
}

/// The cells that differ between two streams, in scan order.
pub struct Differences<'a, W, H> {
    wanted: W,
    held: H,
    names: &'a CounterNames,
    is_started: bool,
    /// Cells seen on either side.
    seen: u64,
}

/// Which stream has the next cell.
enum Side {
    Wanted,
    Held,
    Both,
}

impl<'a, W, H> Differences<'a, W, H>
where
    W: SortedCells<Error: Into<BatchError>>,
    H: SortedCells<Error: Into<BatchError>>,
{
    /// Joins these streams, neither of which has been loaded.
    pub const fn new(wanted: W, held: H, names: &'a CounterNames) -> Self {
        Self {
            wanted,
            held,
            names,
            is_started: false,
            seen: 0,
        }
    }

    /// How many cells were seen so far.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// What is held.
    pub const fn held(&self) -> &H {
        &self.held
    }

    /// The next cell that differs.
    ///
    /// # Errors
    /// A stream's. It is of no use then, nor when the call is cancelled.
    pub async fn next(&mut self) -> Result<Option<Difference>, BatchError> {
        if !self.is_started {
            self.wanted.load().await.map_err(Into::into)?;
            self.held.load().await.map_err(Into::into)?;
            self.is_started = true;
        }
        loop {
            let (wanted, held) = (self.wanted.current(), self.held.current());
            let side = match (&wanted, &held) {
                (None, None) => return Ok(None),
                (Some(_), None) => Side::Wanted,
                (None, Some(_)) => Side::Held,
                (Some(wanted), Some(held)) => match wanted.position().cmp(&held.position()) {
                    Ordering::Less => Side::Wanted,
                    Ordering::Greater => Side::Held,
                    Ordering::Equal => Side::Both,
                },
            };
            let total = |cell: Option<CellTotal<'_>>| cell.map_or(Amount(0), |cell| cell.total);
            let (cell, wanted, held) = match side {
                Side::Wanted => (wanted, total(wanted), Amount(0)),
                Side::Held => (held, Amount(0), total(held)),
                Side::Both => (wanted, total(wanted), total(held)),
            };
            let is_different =
                wanted != held && (held == Amount(0) || rule::every_difference_is_loaded());
            let difference = cell.filter(|_| is_different).map(|cell| Difference {
                cell: self.cell(&cell),
                wanted,
                held,
            });
            self.seen += 1;
            match side {
                Side::Wanted => advance(&mut self.wanted).await?,
                Side::Held => advance(&mut self.held).await?,
                Side::Both => {
                    advance(&mut self.wanted).await?;
                    advance(&mut self.held).await?;
                }
            }
            if difference.is_some() {
                return Ok(difference);
            }
        }
    }

    fn cell(&self, cell: &CellTotal<'_>) -> Cell {
        let key = String::from_utf8_lossy(cell.key);
        Cell {
            counter: Counter {
                name: self.names.name(cell.name).clone(),
                key: Key(key.into()),
            },
            slot: cell.slot.unpack(),
        }
    }
}

async fn advance<S: SortedCells<Error: Into<BatchError>>>(
    stream: &mut S,
) -> Result<(), BatchError> {
    if !stream.step().map_err(Into::into)? {
        stream.load().await.map_err(Into::into)?;
    }
    Ok(())
}
