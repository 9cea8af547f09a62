//! Reads counts from Cassandra, coalescing identical reads and bounding how many run at once.

use std::sync::Arc;

use futures_util::FutureExt;
use stitch_cassandra::BucketSpan;
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::ports::StoreError;
use tokio::sync::Semaphore;

use crate::count_source::CountSource;
use crate::metrics::Reads;
use crate::spans;
use stitch_app::single_flight::SingleFlight;

/// Counts of cells, sorted by cell; a missing cell holds 0.
type Counts = Arc<Vec<(CellSlot, Count)>>;

pub(crate) struct CountReader {
    source: Arc<dyn CountSource>,
    in_flight: SingleFlight<(Counter, Vec<BucketSpan>), Result<Counts, StoreError>>,
    permits: Arc<Semaphore>,
    metrics: Arc<Reads>,
}

impl CountReader {
    pub(crate) fn new(source: Arc<dyn CountSource>, reads_in_flight_max: usize) -> Self {
        Self {
            source,
            in_flight: SingleFlight::default(),
            permits: Arc::new(Semaphore::new(reads_in_flight_max)),
            metrics: Arc::new(Reads::new()),
        }
    }

    /// Reads the sum of each window; a window is the cells that it adds up from.
    ///
    /// # Cancellation
    /// Cancels the read, unless others wait for the same one.
    pub(crate) async fn sums(
        &self,
        counter: &Counter,
        windows: &[Vec<CellSlot>],
    ) -> Result<Vec<Count>, StoreError> {
        let spans = spans::spans(windows.iter().flatten().copied().collect());
        let counts = self.read(counter, spans).await?;
        let sum = |cells: &Vec<CellSlot>| {
            let held = cells.iter().filter_map(|cell| held(&counts, cell));
            // Sums wrap, as Cassandra's counters do.
            held.fold(Count(0), |sum, count| Count(sum.0.wrapping_add(count.0)))
        };
        Ok(windows.iter().map(sum).collect())
    }

    async fn read(&self, counter: &Counter, spans: Vec<BucketSpan>) -> Result<Counts, StoreError> {
        let start = || {
            let (source, permits) = (Arc::clone(&self.source), Arc::clone(&self.permits));
            let metrics = Arc::clone(&self.metrics);
            let (counter, spans) = (counter.clone(), spans.clone());
            async move {
                let permit = permits.acquire().await;
                let read = source.read(counter, spans).await;
                drop(permit);
                metrics.record(read.as_ref().err());
                let mut counts = read?;
                counts.sort_unstable_by_key(|(cell, _)| *cell);
                Ok(Arc::new(counts))
            }
            .boxed()
        };
        let on_join = || self.metrics.record_coalesced();
        self.in_flight
            .join((counter.clone(), spans.clone()), start, on_join)
            .await
    }
}

fn held(counts: &[(CellSlot, Count)], cell: &CellSlot) -> Option<Count> {
    let at = counts.binary_search_by_key(cell, |(held, _)| *held).ok()?;
    counts.get(at).map(|(_, count)| *count)
}
