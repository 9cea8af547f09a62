//! The port to the table of counts: reads only. Unlike the ports of `stitch-common`, its futures are `Send`: each
//! connection has a task of its own.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stitch_cassandra::{BucketSpan, ScyllaReader};
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::ports::{StoreError, TableIdentity};

/// The cells that have rows, with their counts.
pub(crate) type Read = Result<Vec<(CellSlot, Count)>, StoreError>;

/// The tables that counts are read from.
pub(crate) struct CountSources {
    /// That of counts in real time, if anything is counted in real time.
    pub(crate) realtime: Option<Arc<dyn CountSource>>,
    /// That of batch counts, if there are any.
    pub(crate) batch: Option<Arc<dyn CountSource>>,
    pub(crate) batch_table: Option<TableIdentity>,
}

/// Reads cells of one counter.
pub(crate) trait CountSource: Send + Sync {
    /// Reads the cells in these spans. Dropping the future cancels the read.
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read>;
}

impl CountSource for ScyllaReader {
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read> {
        async move { ScyllaReader::read(&self, &counter, &spans).await }.boxed()
    }
}
