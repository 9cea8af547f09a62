//! The port to the table of counts: reads only. Unlike the ports of `stitch-common`, its futures are `Send`: each
//! connection has a task of its own.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stitch_cassandra::{BucketSpan, ScyllaReader};
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::ports::{StoreError, TableIdentity};

/// The cells that have rows, with their counts.
pub type Read = Result<Vec<(CellSlot, Count)>, StoreError>;

/// The table that has the name of the one that is read; `None` if there is none.
pub type CurrentTable = Result<Option<TableIdentity>, StoreError>;

/// Reads cells of one counter.
pub trait CountSource: Send + Sync {
    /// Reads the cells in these spans. Dropping the future cancels the read.
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read>;

    /// Which table reads go to now: one that was dropped and made again is another one, and is read without an error.
    /// Dropping the future cancels the question.
    fn table(self: Arc<Self>) -> BoxFuture<'static, CurrentTable>;
}

impl CountSource for ScyllaReader {
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read> {
        async move { ScyllaReader::read(&self, &counter, &spans).await }.boxed()
    }

    fn table(self: Arc<Self>) -> BoxFuture<'static, CurrentTable> {
        async move { self.current_table().await }.boxed()
    }
}
