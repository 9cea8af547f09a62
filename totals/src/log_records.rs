//! Reads spans of Kafka's log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{
    AssignmentEpoch, EventLog, Feed, FeedEvent, LogError, Record, Unreadable,
};
use stitch_common::user_error::UserError;
use stitch_common::wait::{within, yield_now};

/// Why the log cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogRecordsError {
    /// A partition cannot be read on.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Kafka delivered nothing for too long. `partition` is one that was not read to its end.
    #[error("Kafka delivered nothing of partition {partition} for {seconds} s")]
    Stalled { partition: Partition, seconds: u64 },
    #[error(transparent)]
    Log(#[from] LogError),
}

const STALLED: &str = "see whether the partition has a leader, and whether a transaction on it is left open \
                       (kafka-transactions.sh find-hanging)";

impl From<LogRecordsError> for UserError {
    fn from(error: LogRecordsError) -> Self {
        match error {
            LogRecordsError::Unreadable(error) => error.into(),
            LogRecordsError::Stalled { .. } => Self::new(error, STALLED),
            LogRecordsError::Log(error) => error.into(),
        }
    }
}

/// Reads one span of each partition: each record once, those of a partition in order.
pub struct LogRecords<'a, L: EventLog, C> {
    clock: &'a C,
    patience: Duration,
    /// None, if there is nothing to read.
    feed: Option<L::Feed>,
    unread: BTreeMap<Partition, Range<Offset>>,
    /// When something of each partition was delivered last: patience is per partition, and neither another one nor an
    /// error that repeats is progress.
    heard: BTreeMap<Partition, Moment>,
}

const EPOCH: AssignmentEpoch = AssignmentEpoch(1);

impl<'a, L: EventLog, C: Clock> LogRecords<'a, L, C> {
    /// Starts to read `spans` of `log`; gives up when nothing of a partition was delivered for `patience`.
    ///
    /// # Errors
    /// Kafka's client refused.
    pub async fn open(
        log: &'a L,
        clock: &'a C,
        patience: Duration,
        spans: BTreeMap<Partition, Range<Offset>>,
    ) -> Result<Self, LogRecordsError> {
        let mut unread = spans;
        unread.retain(|_, span| span.start < span.end);
        let mut feed = None;
        if !unread.is_empty() {
            let mut started = log.feed().await?;
            for (partition, span) in &unread {
                started.start(*partition, span.start, EPOCH)?;
            }
            feed = Some(started);
        }
        let now = clock.now();
        let heard = unread.keys().map(|partition| (*partition, now)).collect();
        Ok(Self {
            clock,
            patience,
            feed,
            unread,
            heard,
        })
    }

    /// The next records of a partition; `None` when all spans were read.
    ///
    /// # Errors
    /// A partition cannot be read on; what was read is incomplete.
    pub async fn next(&mut self) -> Result<Option<(Partition, Vec<Record>)>, LogRecordsError> {
        let Some(feed) = &mut self.feed else {
            return Ok(None);
        };
        while let Some((partition, last)) = longest_silent(&self.unread, &self.heard) {
            yield_now().await;
            let left = last.plus(self.patience).since(self.clock.now());
            let Some(event) = within(self.clock, left, feed.next()).await else {
                let seconds = self.patience.as_secs();
                return Err(LogRecordsError::Stalled { partition, seconds });
            };
            let mut delivered = None;
            match event {
                FeedEvent::Records {
                    partition,
                    mut records,
                    ..
                } => {
                    let Some(span) = self.unread.get_mut(&partition) else {
                        continue;
                    };
                    self.heard.insert(partition, self.clock.now());
                    let position = records.last().map(|record| record.offset.next());
                    span.start = position.map_or(span.start, |end| end.max(span.start));
                    records.truncate(records.partition_point(|record| record.offset < span.end));
                    delivered = Some((partition, records));
                }
                FeedEvent::EndReached {
                    partition,
                    end_offset,
                    ..
                } => {
                    if let Some(span) = self.unread.get_mut(&partition) {
                        self.heard.insert(partition, self.clock.now());
                        span.start = span.start.max(end_offset);
                    }
                }
                FeedEvent::Unreadable { error, .. } => return Err(error.into()),
                FeedEvent::Ended(error) => return Err(error.into()),
                FeedEvent::Trouble(error) => tracing::warn!(%error, "reading the log"),
            }
            let read = self.unread.extract_if(.., |_, span| span.start >= span.end);
            for (partition, _) in read {
                feed.stop(partition)?;
            }
            if delivered.is_some() {
                return Ok(delivered);
            }
        }
        Ok(None)
    }
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
