//! Kafka's log as a source of expected totals: every record from the first on.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{EventLog, Record};
use stitch_common::progress::Progress;

use super::{ExpectedError, ExpectedTotals};
use crate::log_records::LogRecords;
use crate::totals_by_range::TotalsByRange;

/// Reads the log from its first record.
#[derive(Clone, Copy, Debug)]
pub struct LogSource<'a, L, C> {
    log: &'a L,
    clock: &'a C,
    patience: Duration,
}

impl<'a, L: EventLog, C: Clock> LogSource<'a, L, C> {
    /// A reader of `log` that gives up when nothing of a partition was delivered for `patience`.
    pub const fn new(log: &'a L, clock: &'a C, patience: Duration) -> Self {
        Self {
            log,
            clock,
            patience,
        }
    }

    /// Passes every record below these offsets to `each`, each record once, and those of a partition in order.
    async fn read(
        &self,
        below: &Offsets,
        mut each: impl FnMut(Partition, &[Record]) -> Result<(), ExpectedError>,
    ) -> Result<(), ExpectedError> {
        // The caller has refused a log that begins behind the first event that was counted.
        let partitions: Vec<_> = below.0.keys().copied().collect();
        let bounds = self.log.bounds(&partitions).await?;
        let begin = |partition| {
            bounds
                .get(partition)
                .map_or(Offset(0), |bounds| bounds.begin)
        };
        let spans = below.0.iter();
        let spans = spans.map(|(partition, &to)| (*partition, begin(partition)..to));
        let mut records =
            LogRecords::open(self.log, self.clock, self.patience, spans.collect()).await?;
        while let Some((partition, records)) = records.next().await? {
            each(partition, &records)?;
        }
        Ok(())
    }
}

impl<L: EventLog, C: Clock> ExpectedTotals for LogSource<'_, L, C> {
    async fn add_below(
        &self,
        below: &Offsets,
        totals: &mut TotalsByRange,
        progress: &dyn Progress,
    ) -> Result<(), ExpectedError> {
        let events = below.0.values().map(|to| to.0.unsigned_abs()).sum();
        progress.begin("reading the log", "events", Some(events));
        let read = self.read(below, |partition, records| {
            progress.advance(u64::try_from(records.len()).unwrap_or(u64::MAX));
            Ok(totals.add(partition, records)?)
        });
        read.await?;
        progress.end();
        Ok(())
    }
}
