//! The port to the table of batch counts: idempotent inserts, and the ordered scan.

use serde::{Deserialize, Serialize};

use crate::cell::{CellSlot, Count, Counter};
use crate::ports::{ScanPage, ScanPosition, StoreError};
use crate::range::TokenInterval;

/// When cells count as written, in microseconds since 1970: of two values of a cell Cassandra keeps the one that was
/// written later. All inserts of one load have the same, so that each may be repeated at any time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WriteTime(pub i64);

/// Cells of one counter: one Cassandra partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellBatch {
    /// The counter.
    pub counter: Counter,
    /// Not empty, no cell twice.
    pub values: Vec<(CellSlot, Count)>,
}

/// A session that scans a table of counts at level `ALL`.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait CellScan {
    /// One page of the scan of these tokens, in the order of [`Store::scan`](crate::ports::Store::scan).
    ///
    /// # Errors
    /// A replica did not answer, or a node refused. May be repeated.
    async fn scan(
        &self,
        tokens: TokenInterval,
        after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError>;
}

/// A session that writes and scans batch counts.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait BatchTable: CellScan {
    /// Writes these cells. May be repeated: with the same time it has the same effect.
    ///
    /// # Errors
    /// Some of the cells may have been written.
    async fn insert(&self, batch: &CellBatch, written: WriteTime) -> Result<(), StoreError>;
}
