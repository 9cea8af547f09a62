//! Reads counts from Cassandra, coalescing identical reads and bounding how many run at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::try_join;
use stitch_batch::layer::{Layer, LayerRule};
use stitch_cassandra::BucketSpan;
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::clock::Moment;
use stitch_common::ports::StoreError;
use stitch_common::user_error::UserError;
use tokio::sync::Semaphore;

pub(crate) use crate::count_tables::Sum;
use crate::count_tables::{CountTables, LayerReads, Reliance, TableId};
use crate::metrics::Reads;
use crate::spans;
use stitch_app::single_flight::SingleFlight;

/// Counts of cells, sorted by cell; a missing cell holds 0.
type Counts = Arc<Vec<(CellSlot, Count)>>;

/// What a read is of. Requests that say different freshness share none: it may have been read before a correction.
#[derive(PartialEq, Eq, Hash)]
struct Subject {
    layer: Layer,
    table: Option<TableId>,
    counter: Counter,
    spans: Vec<BucketSpan>,
    freshness_read_at: Option<Moment>,
}

pub(crate) struct CountReader {
    tables: CountTables,
    in_flight: SingleFlight<Arc<Subject>, Result<Counts, StoreError>>,
    permits: Arc<Semaphore>,
    metrics: Arc<Reads>,
    /// Whether the log says that the table of batch counts refuses reads: once, however many requests there are.
    said_refused: AtomicBool,
}

impl CountReader {
    pub(crate) fn new(tables: CountTables, reads_in_flight_max: usize) -> Self {
        Self {
            tables,
            in_flight: SingleFlight::default(),
            permits: Arc::new(Semaphore::new(reads_in_flight_max)),
            metrics: Arc::new(Reads::new()),
            said_refused: AtomicBool::new(false),
        }
    }

    /// Reads the sum of each window from the layer that `reads` says; a window is the cells that it adds up from. While the
    /// cluster of batch counts does not answer, or refuses, closed windows are read in real time instead, and say so.
    ///
    /// # Cancellation
    /// Cancels the read, unless others wait for the same one.
    pub(crate) async fn sums(
        &self,
        counter: &Counter,
        windows: &[Vec<CellSlot>],
        reads: &LayerReads,
    ) -> Result<Vec<Sum>, StoreError> {
        let sums = self.sums_by(counter, windows, reads).await;
        match (sums, reads.rule) {
            (Err(error), LayerRule::ClosedInBatch { .. }) => {
                let sums = self.sums_by(counter, windows, &reads.in_realtime()).await?;
                self.log_refusal(error);
                Ok(sums)
            }
            (sums, LayerRule::ClosedInBatch { .. } | LayerRule::Every(_)) => {
                let is_batch = |sums: &Vec<Sum>| sums.iter().any(|sum| sum.layer == Layer::Batch);
                if sums.as_ref().is_ok_and(is_batch) {
                    self.said_refused.store(false, Ordering::Relaxed);
                }
                sums
            }
        }
    }

    /// Logs why closed windows were read in real time, if an operator must act: nobody who asks for counts is told.
    fn log_refusal(&self, error: StoreError) {
        let refusal = match error {
            // That passes; the number of such reads is in the metrics.
            StoreError::Unavailable(_) => return,
            refused @ (StoreError::Refused(_) | StoreError::Denied(_)) => UserError::from(refused),
        };
        if self.said_refused.swap(true, Ordering::Relaxed) {
            return;
        }
        let UserError { message, help } = refusal;
        tracing::error!(
            error = message,
            help,
            "batch counts cannot be read: closed periods are served in real time"
        );
    }

    async fn sums_by(
        &self,
        counter: &Counter,
        windows: &[Vec<CellSlot>],
        reads: &LayerReads,
    ) -> Result<Vec<Sum>, StoreError> {
        let layer = |cells: &Vec<CellSlot>| reads.rule.layer(cells);
        let layers: Vec<Layer> = windows.iter().map(layer).collect();
        let read = async |layer| {
            let windows = windows.iter().zip(&layers);
            let windows = windows.filter(|(_, of)| **of == layer);
            let cells = windows.flat_map(|(cells, _)| cells).copied().collect();
            let reliance = reads.reliance(layer);
            let subject = Subject {
                layer,
                table: reliance.table.clone(),
                counter: counter.clone(),
                spans: spans::spans(cells),
                freshness_read_at: reads.freshness_read_at,
            };
            self.read(subject, reliance).await
        };
        let (batch, realtime) = match (
            layers.contains(&Layer::Batch),
            layers.contains(&Layer::Realtime),
        ) {
            (true, true) => try_join(read(Layer::Batch), read(Layer::Realtime)).await?,
            (true, false) => (read(Layer::Batch).await?, Counts::default()),
            (false, true) => (Counts::default(), read(Layer::Realtime).await?),
            (false, false) => Default::default(),
        };
        let sum = |(cells, layer): (&Vec<CellSlot>, &Layer)| {
            let counts = match layer {
                Layer::Batch => &batch,
                Layer::Realtime => &realtime,
            };
            let held = cells.iter().filter_map(|cell| held(counts, cell));
            // Sums wrap, as Cassandra's counters do.
            let count = held.fold(Count(0), |sum, count| Count(sum.0.wrapping_add(count.0)));
            Sum {
                count,
                layer: *layer,
            }
        };
        Ok(windows.iter().zip(&layers).map(sum).collect())
    }

    async fn read(&self, subject: Subject, reliance: Reliance) -> Result<Counts, StoreError> {
        let table = self.tables.of(subject.layer);
        let table = table.expect("no rule names a layer that the namespace does not have");
        let subject = Arc::new(subject);
        let start = || {
            let (source, permits) = (table.source(&reliance), Arc::clone(&self.permits));
            let metrics = Arc::clone(&self.metrics);
            let (counter, spans) = (subject.counter.clone(), subject.spans.clone());
            async move {
                let permit = permits.acquire().await;
                let read = match source {
                    Ok(source) => source.read(counter, spans).await,
                    Err(not_connected) => Err(not_connected),
                };
                drop(permit);
                metrics.record(read.as_ref().err());
                let mut counts = read?;
                counts.sort_unstable_by_key(|(cell, _)| *cell);
                Ok(Arc::new(counts))
            }
            .boxed()
        };
        let on_join = || self.metrics.record_coalesced();
        let key = Arc::clone(&subject);
        self.in_flight.join(key, start, on_join).await
    }
}

fn held(counts: &[(CellSlot, Count)], cell: &CellSlot) -> Option<Count> {
    let at = counts.binary_search_by_key(cell, |(held, _)| *held).ok()?;
    counts.get(at).map(|(_, count)| *count)
}
