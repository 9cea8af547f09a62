//! Reads the records of one partition of the log, one after the other.

use std::collections::VecDeque;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, EventLog, Feed, FeedEvent, LogError, Record};

use super::ConnectError;

/// How long Kafka may deliver nothing.
const PATIENCE: Duration = Duration::from_secs(60);
const EPOCH: AssignmentEpoch = AssignmentEpoch(1);

/// The records of one partition from an offset on.
pub(crate) struct LogReader<'a, L: EventLog, C> {
    clock: &'a C,
    partition: Partition,
    feed: L::Feed,
    next: Offset,
    records: VecDeque<Record>,
}

impl<'a, L: EventLog, C: Clock> LogReader<'a, L, C> {
    pub(crate) async fn open(
        log: &L,
        clock: &'a C,
        partition: Partition,
        from: Offset,
    ) -> Result<Self, ConnectError> {
        let started = async {
            let mut feed = log.feed().await?;
            feed.start(partition, from, EPOCH)?;
            Ok::<_, LogError>(feed)
        };
        let feed = started.await.map_err(|error| ConnectError::LogUnread {
            partition,
            offset: from,
            why: error.to_string(),
        })?;
        Ok(Self {
            clock,
            partition,
            feed,
            next: from,
            records: VecDeque::new(),
        })
    }

    /// The next record; `None` at the log's end.
    pub(crate) async fn next(&mut self) -> Result<Option<Record>, ConnectError> {
        let until = self.clock.now().plus(PATIENCE);
        loop {
            if let Some(record) = self.records.pop_front() {
                self.next = record.offset.next();
                return Ok(Some(record));
            }
            let left = until.since(self.clock.now());
            let event = tokio::select! {
                biased;
                // Both are cancel-safe.
                event = self.feed.next() => event,
                () = self.clock.sleep(left) => return Err(self.unread(&"nothing came for a minute")),
            };
            match event {
                FeedEvent::Records { records, .. } => self.records.extend(records),
                FeedEvent::EndReached { .. } => return Ok(None),
                FeedEvent::Unreadable { error, .. } => return Err(self.unread(&error)),
                FeedEvent::Trouble(_) => {}
                FeedEvent::Ended(error) => return Err(self.unread(&error)),
            }
        }
    }

    fn unread(&self, why: &dyn std::fmt::Display) -> ConnectError {
        ConnectError::LogUnread {
            partition: self.partition,
            offset: self.next,
            why: why.to_string(),
        }
    }
}
