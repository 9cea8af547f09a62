//! Counts by the cell: read once for all who ask at the same moment, so many reads at once and no more.

use std::sync::Arc;

use futures_util::FutureExt;
use stitch_cassandra::BucketSpan;
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::ports::StoreError;
use tokio::sync::Semaphore;

use crate::count_source::CountSource;
use crate::metrics::Reads;
use crate::single_flight::SingleFlight;
use crate::tiling;

/// What cells hold, in their order; what is missing holds 0.
type Counts = Arc<Vec<(CellSlot, Count)>>;

/// Where counts are found.
pub(crate) struct CountReader {
    cells: Arc<dyn CountSource>,
    flights: SingleFlight<(Counter, Vec<BucketSpan>), Result<Counts, StoreError>>,
    reads: Arc<Semaphore>,
    measured: Arc<Reads>,
}

impl CountReader {
    pub(crate) fn new(cells: Arc<dyn CountSource>, reads_in_flight_max: usize) -> Self {
        Self {
            cells,
            flights: SingleFlight::default(),
            reads: Arc::new(Semaphore::new(reads_in_flight_max)),
            measured: Arc::new(Reads::new()),
        }
    }

    /// What each of these stretches adds up to, each given by its cells.
    ///
    /// Dropping it gives the read up, unless others wait for the same.
    pub(crate) async fn sums(
        &self,
        counter: &Counter,
        stretches: &[Vec<CellSlot>],
    ) -> Result<Vec<Count>, StoreError> {
        let spans = tiling::spans(stretches.iter().flatten().copied().collect());
        let counts = self.read(counter, spans).await?;
        let sum = |cells: &Vec<CellSlot>| {
            let held = cells.iter().filter_map(|cell| held(&counts, cell));
            // As Cassandra's, sums wrap.
            held.fold(Count(0), |sum, count| Count(sum.0.wrapping_add(count.0)))
        };
        Ok(stretches.iter().map(sum).collect())
    }

    async fn read(&self, counter: &Counter, spans: Vec<BucketSpan>) -> Result<Counts, StoreError> {
        let start = || {
            let (cells, reads) = (Arc::clone(&self.cells), Arc::clone(&self.reads));
            let measured = Arc::clone(&self.measured);
            let (counter, spans) = (counter.clone(), spans.clone());
            async move {
                let permit = reads.acquire().await;
                let read = cells.read(counter, spans).await;
                drop(permit);
                measured.ended(read.as_ref().err());
                let mut counts = read?;
                counts.sort_unstable_by_key(|(cell, _)| *cell);
                Ok(Arc::new(counts))
            }
            .boxed()
        };
        let joined = || self.measured.joined();
        self.flights
            .join((counter.clone(), spans.clone()), start, joined)
            .await
    }
}

fn held(counts: &[(CellSlot, Count)], cell: &CellSlot) -> Option<Count> {
    let at = counts.binary_search_by_key(cell, |(held, _)| *held).ok()?;
    counts.get(at).map(|(_, count)| *count)
}
