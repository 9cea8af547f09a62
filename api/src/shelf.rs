//! Counts by the cell: read once for all who ask at the same moment, so many reads at once and no more.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::counter_store::BucketSpan;
use stitch_common::ports::StoreError;
use tokio::sync::Semaphore;

use crate::cells::Cells;
use crate::cover;
use crate::flights::Flights;
use crate::metrics;

/// What cells hold; what is missing holds 0.
type Counts = Arc<HashMap<CellSlot, Count>>;

/// Where counts are found.
pub(crate) struct Shelf {
    cells: Arc<dyn Cells>,
    flights: Flights<(Counter, Vec<BucketSpan>), Result<Counts, StoreError>>,
    reads: Arc<Semaphore>,
}

impl Shelf {
    pub(crate) fn new(cells: Arc<dyn Cells>, reads_in_flight_max: usize) -> Self {
        Self {
            cells,
            flights: Flights::default(),
            reads: Arc::new(Semaphore::new(reads_in_flight_max)),
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
        let spans = cover::spans(stretches.iter().flatten().copied().collect());
        let counts = self.read(counter, spans).await?;
        let sum = |cells: &Vec<CellSlot>| {
            let held = cells.iter().filter_map(|cell| counts.get(cell));
            // As Cassandra's, sums wrap.
            held.fold(Count(0), |sum, count| Count(sum.0.wrapping_add(count.0)))
        };
        Ok(stretches.iter().map(sum).collect())
    }

    async fn read(&self, counter: &Counter, spans: Vec<BucketSpan>) -> Result<Counts, StoreError> {
        let start = || {
            let (cells, reads) = (Arc::clone(&self.cells), Arc::clone(&self.reads));
            let (counter, spans) = (counter.clone(), spans.clone());
            async move {
                let permit = reads.acquire().await;
                let read = cells.read(counter, spans).await;
                drop(permit);
                metrics::read(read.as_ref().err());
                Ok(Arc::new(read?.into_iter().collect()))
            }
            .boxed()
        };
        self.flights
            .join((counter.clone(), spans.clone()), start, metrics::coalesced)
            .await
    }
}
