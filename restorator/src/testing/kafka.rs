//! A Kafka of one topic.

use std::collections::BTreeMap;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, EventLog, Feed, FeedEvent, Fingerprint, LogError, LogIdentity,
};
use stitch_testkit::kafka::{Cursor, Never};

use super::world::Fake;

impl EventLog for Fake {
    type Feed = FakeFeed;
    type Group = Never;
    type DeadLetters = Never;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        Ok(self.log.borrow().partitions().collect())
    }

    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        self.record("ends asked");
        Ok(self.log.borrow().bounds(partitions))
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        Ok(self.log.borrow().identity())
    }

    async fn committed(&self, _: &[Partition]) -> Result<BTreeMap<Partition, Offset>, LogError> {
        Ok(BTreeMap::new())
    }

    async fn records_from(
        &self,
        offsets: &Offsets,
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
        Ok(self.log.borrow().records_from(offsets))
    }

    async fn feed(&self) -> Result<FakeFeed, LogError> {
        self.record("feed");
        Ok(FakeFeed {
            fake: self.clone(),
            partitions: BTreeMap::new(),
        })
    }

    async fn join(&self) -> Result<Never, LogError> {
        unreachable!("a restorator joins no group")
    }

    async fn dead_letters(&self) -> Result<Never, LogError> {
        unreachable!("a restorator rejects nothing")
    }
}

pub(crate) struct FakeFeed {
    fake: Fake,
    partitions: BTreeMap<Partition, Cursor>,
}

impl Feed for FakeFeed {
    fn start(
        &mut self,
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    ) -> Result<(), LogError> {
        self.partitions.insert(partition, Cursor::new(from, epoch));
        Ok(())
    }

    fn stop(&mut self, partition: Partition) -> Result<(), LogError> {
        self.partitions.remove(&partition);
        Ok(())
    }

    async fn next(&mut self) -> FeedEvent {
        loop {
            if let Some(event) = self.event() {
                return event;
            }
            if self.fake.feed_stalls.get() {
                // As librdkafka repeats an error as long as its brokers are away.
                self.fake.clock.sleep(Duration::from_secs(30)).await;
                return FeedEvent::Trouble(LogError::Unavailable("no broker".to_owned()));
            }
            self.fake.changes.next().await;
        }
    }
}

impl FakeFeed {
    fn event(&mut self) -> Option<FeedEvent> {
        if self.fake.feed_stalls.get() {
            return None;
        }
        let log = self.fake.log.borrow();
        let mut partitions = self.partitions.iter_mut();
        let event = partitions
            .find_map(|(partition, cursor)| cursor.advance(&log, *partition, |left| left));
        if let Some(FeedEvent::Records { records, .. }) = &event {
            let delivered = &self.fake.delivered;
            delivered.set(delivered.get() + records.len());
        }
        event
    }
}
