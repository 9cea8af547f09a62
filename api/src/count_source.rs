//! The port to the counts: what is read of the table, and nothing else. Unlike the ports of `stitch-common`, its
//! futures cross threads: each connection has a task of its own.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stitch_cassandra::{BucketSpan, ScyllaReader};
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::ports::StoreError;

/// What was read; rows that do not exist are left out.
pub(crate) type Read = Result<Vec<(CellSlot, Count)>, StoreError>;

/// Reads cells of one counter.
pub(crate) trait CountSource: Send + Sync {
    /// The cells in these spans. Dropping the future gives the read up.
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read>;
}

impl CountSource for ScyllaReader {
    fn read(self: Arc<Self>, counter: Counter, spans: Vec<BucketSpan>) -> BoxFuture<'static, Read> {
        async move { ScyllaReader::read(&self, &counter, &spans).await }.boxed()
    }
}
