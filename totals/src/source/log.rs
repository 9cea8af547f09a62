//! Kafka's log as a source of expected totals: every record from the first on.

use std::collections::BTreeMap;
use std::time::Duration;

use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{AssignmentEpoch, EventLog, Feed, FeedEvent, Record};
use stitch_common::progress::Progress;
use stitch_common::wait::{within, yield_now};

use super::{ExpectedError, ExpectedTotals};
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
        const EPOCH: AssignmentEpoch = AssignmentEpoch(1);
        // The caller has refused a log that begins behind the first event that was counted.
        let partitions: Vec<_> = below.0.keys().copied().collect();
        let bounds = self.log.bounds(&partitions).await?;
        let begin = |partition| {
            bounds
                .get(partition)
                .map_or(Offset(0), |bounds| bounds.begin)
        };
        let unread = below.0.iter().map(|(partition, &to)| {
            let from = begin(partition);
            (*partition, Unread { from, to })
        });
        let mut unread: BTreeMap<_, _> = unread.filter(|(_, span)| span.from < span.to).collect();
        if unread.is_empty() {
            return Ok(());
        }
        let mut feed = self.log.feed().await?;
        for (partition, span) in &unread {
            feed.start(*partition, span.from, EPOCH)?;
        }
        // Patience is per partition: neither another one nor an error that repeats is progress.
        let start = self.clock.now();
        let mut heard: BTreeMap<Partition, Moment> =
            unread.keys().map(|partition| (*partition, start)).collect();
        while let Some((partition, last)) = longest_silent(&unread, &heard) {
            let left = last.plus(self.patience).since(self.clock.now());
            let event = within(self.clock, left, feed.next()).await;
            let Some(event) = event else {
                let seconds = self.patience.as_secs();
                return Err(ExpectedError::Stalled { partition, seconds });
            };
            match event {
                FeedEvent::Records {
                    partition, records, ..
                } => {
                    let Some(span) = unread.get_mut(&partition) else {
                        continue;
                    };
                    heard.insert(partition, self.clock.now());
                    let wanted = records.partition_point(|record| record.offset < span.to);
                    each(partition, &records[..wanted])?;
                    let position = records.last().map(|record| record.offset.next());
                    span.from = position.map_or(span.from, |position| position.max(span.from));
                }
                FeedEvent::EndReached {
                    partition,
                    end_offset,
                    ..
                } => {
                    if let Some(span) = unread.get_mut(&partition) {
                        heard.insert(partition, self.clock.now());
                        span.from = span.from.max(end_offset);
                    }
                }
                FeedEvent::Unreadable { error, .. } => {
                    return Err(ExpectedError::Unreadable(error));
                }
                FeedEvent::Ended(error) => return Err(ExpectedError::Log(error)),
                FeedEvent::Trouble(error) => tracing::warn!(%error, "reading the log"),
            }
            for (partition, _) in unread.extract_if(.., |_, span| span.from >= span.to) {
                feed.stop(partition)?;
            }
            yield_now().await;
        }
        Ok(())
    }
}

/// What is left to read of one partition.
struct Unread {
    from: Offset,
    /// Exclusive.
    to: Offset,
}

/// The partition of which nothing was delivered for the longest time, of those that are not read to their end.
fn longest_silent<T>(
    unread: &BTreeMap<Partition, T>,
    heard: &BTreeMap<Partition, Moment>,
) -> Option<(Partition, Moment)> {
    let unread = unread
        .keys()
        .filter_map(|partition| heard.get_key_value(partition));
    let (partition, last) = unread.min_by_key(|(_, last)| **last)?;
    Some((*partition, *last))
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
