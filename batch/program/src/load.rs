//! Writes the cells that differ: batches of one counter, many in flight, each with the time of its load.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use stitch_common::cell::{Amount, Count};
use stitch_common::clock::Clock;
use stitch_common::ports::{BatchTable, CellBatch, WriteTime};
use stitch_common::wait::yield_now;
use stitch_totals::sorted::SortedCells;

use crate::batch_error::BatchError;
use crate::difference::{Difference, Differences};
use crate::patience::Patience;

/// Batches in flight at once.
const IN_FLIGHT_MAX: usize = 128;
/// Bytes of a batch, about; Cassandra warns from 5 KiB.
const BYTES_MAX: usize = 4096;
/// Bytes of a row beside its names.
const ROW_BYTES: usize = 60;

/// What a load has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Cells written.
    pub cells: u64,
    /// Those of them that were held and add up to 0 now: amounts may be negative.
    pub zeroed: u64,
    /// How long finding and writing them took.
    pub took: Duration,
}

impl std::ops::AddAssign for Loaded {
    fn add_assign(&mut self, other: Self) {
        self.cells += other.cells;
        self.zeroed += other.zeroed;
        self.took += other.took;
    }
}

/// Writes every cell that differs.
///
/// # Errors
/// Some of them may have been written. It may be repeated.
pub async fn load<W, H, T: BatchTable, C: Clock>(
    differences: &mut Differences<'_, W, H>,
    table: &T,
    written: WriteTime,
    patience: &Patience<'_, C>,
    is_over: impl Fn() -> bool,
) -> Result<Loaded, BatchError>
where
    W: SortedCells<Error: Into<BatchError>>,
    H: SortedCells<Error: Into<BatchError>>,
{
    let send = async |batch: CellBatch| -> Result<u64, BatchError> {
        let cells = batch.values.len() as u64;
        let insert = async || table.insert(&batch, written).await;
        patience.repeat(insert).await?;
        Ok(cells)
    };
    let mut loaded = Loaded::default();
    let mut in_flight = FuturesUnordered::new();
    let mut open: Option<OpenBatch> = None;
    loop {
        let difference = differences.next().await?;
        if let Some(Difference { wanted, .. }) = &difference {
            loaded.zeroed += u64::from(*wanted == Amount(0));
        }
        let is_end = difference.is_none();
        if let Some(full) = add(&mut open, difference) {
            in_flight.push(send(full));
        }
        while in_flight.len() >= IN_FLIGHT_MAX || (is_end && !in_flight.is_empty()) {
            // Another process may have the lock by now.
            if is_over() {
                return Err(stitch_protocol::Error::SessionOver.into());
            }
            if let Some(sent) = in_flight.next().await {
                let cells = sent?;
                loaded.cells += cells;
                patience.progress().advance(cells);
            }
        }
        if is_end {
            return Ok(loaded);
        }
        yield_now().await;
    }
}

struct OpenBatch {
    batch: CellBatch,
    bytes: usize,
}

/// Adds a cell to the open batch; returns that one if the cell is not of it, or there is none.
fn add(open: &mut Option<OpenBatch>, difference: Option<Difference>) -> Option<CellBatch> {
    let Some(Difference { cell, wanted, .. }) = difference else {
        return open.take().map(|open| open.batch);
    };
    let value = (cell.slot, Count(wanted.0));
    let bytes = ROW_BYTES + cell.counter.name.0.len() + cell.counter.key.0.len();
    if let Some(open) = open
        && open.batch.counter == cell.counter
        && open.bytes + bytes <= BYTES_MAX
    {
        open.batch.values.push(value);
        open.bytes += bytes;
        return None;
    }
    let next = OpenBatch {
        batch: CellBatch {
            counter: cell.counter,
            values: vec![value],
        },
        bytes,
    };
    open.replace(next).map(|full| full.batch)
}
