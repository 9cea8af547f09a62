//! The port to the table of counts: reads only. Unlike the ports of `stitch-common`, its futures are `Send`: each
//! connection has a task of its own.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stitch_cassandra::{BucketSpan, ScyllaReader};
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::ports::StoreError;

/// The cells that have rows, with their counts.
pub type Read = Result<Vec<(CellSlot, Count)>, StoreError>;

/// Reads cells of one counter.
pub trait CountSource: Send + Sync {
    /// Reads the cells in these spans. Dropping the future cancels the read.
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read>;
}

impl CountSource for ScyllaReader {
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read> {
        async move { ScyllaReader::read(&self, &counter, &spans).await }.boxed()
    }
}
