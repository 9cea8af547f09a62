//! Reads cells of one counter, which is one Cassandra partition.

use std::collections::HashSet;
use std::ops::ControlFlow;

use scylla::client::session::Session;
use scylla::deserialize::value::DeserializeValue;
use scylla::response::PagingState;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{Counter as CounterValue, CqlTimestamp};

use crate::classify;
use crate::page_size::PageSize;
use crate::statements::Statements;
use stitch_common::cell::{Bucket, CellSlot, Count, Counter, Granularity};
use stitch_common::ports::{CellSelection, Level, StoreError};

/// The value of a cell, as its table has it.
pub(super) trait CellValue: for<'f, 'm> DeserializeValue<'f, 'm> {
    fn count(self) -> Count;
}

impl CellValue for CounterValue {
    fn count(self) -> Count {
        Count(self.0)
    }
}

/// Of a batch count.
impl CellValue for i64 {
    fn count(self) -> Count {
        Count(self)
    }
}

/// Cells that one request names.
const NAMED_CELLS_MAX: usize = 100;
/// From this many cells on, reading the whole counter and filtering is cheaper than naming them.
const WHOLE_FROM_CELLS: usize = 1000;

/// Reads cells of `counter`, in the table's order when all are read.
pub(super) async fn counter(
    session: &Session,
    statements: &Statements,
    counter: &Counter,
    cells: CellSelection<'_>,
    level: Level,
) -> Result<Vec<(CellSlot, Count)>, StoreError> {
    let page_size = &statements.page_size;
    let mut result = Vec::new();
    match cells {
        CellSelection::Whole => {
            let key = (&*counter.name.0, &*counter.key.0);
            pages::<CounterValue>(session, statements.whole(level), page_size, key, |cell| {
                result.push(cell)
            })
            .await?;
        }
        CellSelection::Cells(slots) if slots.len() >= WHOLE_FROM_CELLS => {
            let wanted: HashSet<_> = slots.iter().copied().collect();
            let key = (&*counter.name.0, &*counter.key.0);
            let keep = |cell: (CellSlot, Count)| {
                if wanted.contains(&cell.0) {
                    result.push(cell);
                }
            };
            pages::<CounterValue>(session, statements.whole(level), page_size, key, keep).await?;
        }
        CellSelection::Cells(slots) => {
            for named in slots.chunks(NAMED_CELLS_MAX) {
                let named: Vec<_> = named
                    .iter()
                    .map(|slot| (slot.granularity.name(), CqlTimestamp(slot.bucket.0)))
                    .collect();
                let values = (&*counter.name.0, &*counter.key.0, named);
                let statement = statements.cells(level);
                pages::<CounterValue>(session, statement, page_size, values, |cell| {
                    result.push(cell)
                })
                .await?;
            }
        }
    }
    Ok(result)
}

pub(super) async fn pages<V: CellValue>(
    session: &Session,
    statement: &PreparedStatement,
    page_size: &PageSize,
    values: impl SerializeRow,
    mut take: impl FnMut((CellSlot, Count)),
) -> Result<(), StoreError> {
    let mut state = PagingState::start();
    loop {
        let page = page_size.read(session, statement, &values, state).await;
        let (result, next) = page.map_err(|error| classify::read(&error))?;
        let result = result.into_rows_result().map_err(unlike)?;
        let rows = result
            .rows::<(&str, CqlTimestamp, Option<V>)>()
            .map_err(unlike)?;
        for row in rows {
            let (granularity, bucket, value) = row.map_err(unlike)?;
            if let (Some(value), Some(slot)) = (value, slot(granularity, bucket)) {
                take((slot, value.count()));
            }
        }
        match next.into_paging_control_flow() {
            ControlFlow::Break(()) => return Ok(()),
            ControlFlow::Continue(next) => state = next,
        }
    }
}

/// The cell of a row; `None` if Stitch did not write it: no event increments such a cell.
pub(super) fn slot(granularity: &str, bucket: CqlTimestamp) -> Option<CellSlot> {
    let granularity = Granularity::from_name(granularity)?;
    Some(CellSlot {
        granularity,
        bucket: Bucket(bucket.0),
    })
}

pub(super) fn unlike(error: impl std::fmt::Display) -> StoreError {
    StoreError::Refused(format!(
        "an answer does not match the table's schema: {error}"
    ))
}
