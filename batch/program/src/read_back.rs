//! Reads batch counts back, at level `ALL`: their number and their digest.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use stitch_common::clock::Clock;
use stitch_common::digest::Digest;
use stitch_common::ports::CellScan;
use stitch_common::range::{RangeBits, TokenInterval};
use stitch_totals::digest::CellSum;
use stitch_totals::sorted::SortedCells;
use stitch_totals::sorted::counter_names::CounterNames;

use crate::batch_error::BatchError;
use crate::patience::Patience;
use crate::table_cells::TableCells;

/// Ranges that are scanned at once.
const AT_ONCE: usize = 8;

/// What a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Cells that do not hold 0.
    pub rows: u64,
    /// Their digest, as that of totals.
    pub digest: Digest,
    /// Rows of no counter or no bucket of the namespace.
    pub foreign: u64,
}

/// Reads all of a table. A digest does not depend on the order, so several ranges are read at once.
///
/// # Errors
/// A replica does not answer.
pub async fn read_back<T: CellScan, C: Clock>(
    table: &T,
    names: &CounterNames,
    bits: RangeBits,
    patience: &Patience<'_, C>,
) -> Result<Content, BatchError> {
    let ranges = stream::iter(bits.ranges());
    let contents = ranges.map(|range| read(table, names, bits.interval(range), patience));
    let add = async |a: Content, b: Content| {
        Ok(Content {
            rows: a.rows + b.rows,
            digest: a.digest.plus(b.digest),
            foreign: a.foreign + b.foreign,
        })
    };
    let contents = contents.buffer_unordered(AT_ONCE);
    contents.try_fold(Content::default(), add).await
}

async fn read<T: CellScan, C: Clock>(
    table: &T,
    names: &CounterNames,
    tokens: TokenInterval,
    patience: &Patience<'_, C>,
) -> Result<Content, BatchError> {
    let mut cells = TableCells::new(table, names, tokens, patience);
    let (mut rows, mut sum) = (0, CellSum::default());
    let mut reported = 0;
    while let Some(cell) = next(&mut cells).await? {
        let name = names.name(cell.name).0.as_bytes();
        sum.add(name, cell.key, cell.slot.unpack(), cell.total.0);
        rows += 1;
        if rows - reported == 1000 {
            patience.progress().advance(1000);
            reported = rows;
        }
    }
    patience.progress().advance(rows - reported);
    Ok(Content {
        rows,
        digest: sum.digest(),
        foreign: cells.foreign(),
    })
}

/// The next cell of a stream.
async fn next<S: SortedCells>(
    cells: &mut S,
) -> Result<Option<stitch_totals::sorted::CellTotal<'_>>, S::Error> {
    if cells.current().is_none() || !cells.step()? {
        cells.load().await?;
    }
    Ok(cells.current())
}
