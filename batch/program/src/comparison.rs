//! Holds the closed buckets of batch counts and of real-time counts against each other. Takes no lock.
//!
//! A cell of a closed bucket changes only by late events, corrections, and faults: what differs at two looks is worth an
//! audit, which alone says what is right.

use serde::Serialize;
use stitch_batch::layer::is_closed;
use stitch_batch::record::Generation;
use stitch_common::cell::{Amount, Cell, CounterName};
use stitch_common::clock::Clock;
use stitch_common::ports::CellScan;
use stitch_totals::sorted::counter_names::CounterNames;

use crate::batch_error::BatchError;
use crate::difference::{Difference, Differences};
use crate::generation::ALL;
use crate::patience::Patience;
use crate::table_cells::TableCells;

/// Cells that are named in a report.
const NAMED_MAX: usize = 20;

/// What a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Cells of closed buckets that are not equal.
    pub different: u64,
    /// Cells that were looked at, of closed and open buckets.
    pub cells: u64,
    /// The first of those that are not equal.
    pub named: Vec<DifferentCell>,
}

/// A cell of a closed bucket that is not equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DifferentCell {
    pub counter: String,
    pub key: String,
    pub granularity: &'static str,
    pub bucket: String,
    pub batch: i64,
    pub realtime: i64,
}

/// Compares what both tables hold of the buckets that ended up to `closed_until_ms`.
///
/// # Errors
/// A table cannot be read.
pub async fn compare<B: CellScan, R: CellScan, C: Clock>(
    (batch, realtime): (&B, &R),
    generation: &Generation,
    closed_until_ms: i64,
    names: &CounterNames,
    patience: &Patience<'_, C>,
) -> Result<Comparison, BatchError> {
    let progress = patience.progress();
    progress.begin("comparing", "cells", None);
    let batch = TableCells::new(batch, names, ALL, patience);
    let realtime = TableCells::new(realtime, names, ALL, patience);
    let mut differences = Differences::new(batch, realtime, names);
    let mut comparison = Comparison::default();
    while let Some(difference) = differences.next().await? {
        progress.advance(differences.seen() - comparison.cells);
        comparison.cells = differences.seen();
        let Difference { cell, wanted, held } = difference;
        if !generation.has(&cell.counter.name) || !is_closed(cell.slot, closed_until_ms) {
            continue;
        }
        comparison.different += 1;
        if comparison.named.len() < NAMED_MAX {
            comparison.named.push(named(&cell, wanted, held));
        }
    }
    comparison.cells = differences.seen();
    progress.end();
    Ok(comparison)
}

fn named(cell: &Cell, batch: Amount, realtime: Amount) -> DifferentCell {
    let CounterName(counter) = &cell.counter.name;
    DifferentCell {
        counter: counter.to_string(),
        key: cell.counter.key.0.to_string(),
        granularity: cell.slot.granularity.name(),
        bucket: cell.slot.bucket.to_string(),
        batch: batch.0,
        realtime: realtime.0,
    }
}
