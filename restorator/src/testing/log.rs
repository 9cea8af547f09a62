//! A Kafka of one topic.

use std::collections::BTreeMap;

use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, DeadLetters, EventLog, Feed, FeedEvent, Group, GroupEvent, LogError,
    LogIdentity, Record, RevokeAck,
};

use super::world::Fake;

impl EventLog for Fake {
    type Feed = FakeFeed;
    type Group = Never;
    type DeadLetters = Never;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        Ok(self.log.borrow().keys().copied().collect())
    }

    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        self.note("ends asked");
        let log = self.log.borrow();
        let bounds = |partition: &Partition| {
            let records = log.get(partition).map_or(0, Vec::len);
            let bounds = Bounds {
                begin: Offset(0),
                end: Offset(i64::try_from(records).unwrap()),
            };
            (*partition, bounds)
        };
        Ok(partitions.iter().map(bounds).collect())
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        Ok(self.identity())
    }

    async fn committed(&self) -> Result<BTreeMap<Partition, Offset>, LogError> {
        Ok(BTreeMap::new())
    }

    async fn feed(&self) -> Result<FakeFeed, LogError> {
        Ok(FakeFeed {
            fake: self.clone(),
            places: BTreeMap::new(),
        })
    }

    async fn join(&self) -> Result<Never, LogError> {
        unreachable!("a restorator is in no group")
    }

    async fn dead_letters(&self) -> Result<Never, LogError> {
        unreachable!("a restorator rejects nothing")
    }
}

pub(crate) struct FakeFeed {
    fake: Fake,
    /// Where each started partition stands, and which end was told.
    places: BTreeMap<Partition, (usize, AssignmentEpoch, Option<usize>)>,
}

impl Feed for FakeFeed {
    fn start(
        &mut self,
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    ) -> Result<(), LogError> {
        let from = usize::try_from(from.0).unwrap();
        self.places.insert(partition, (from, epoch, None));
        Ok(())
    }

    fn stop(&mut self, partition: Partition) -> Result<(), LogError> {
        self.places.remove(&partition);
        Ok(())
    }

    async fn next(&mut self) -> FeedEvent {
        loop {
            if let Some(event) = self.ready() {
                return event;
            }
            self.fake.changes.next().await;
        }
    }
}

impl FakeFeed {
    fn ready(&mut self) -> Option<FeedEvent> {
        if self.fake.feed_stalls.get() {
            return None;
        }
        let log = self.fake.log.borrow();
        for (&partition, (at, epoch, told)) in &mut self.places {
            let records: &[Record] = log.get(&partition).map_or(&[], Vec::as_slice);
            if *at < records.len() {
                let records = records[*at..].to_vec();
                *at += records.len();
                return Some(FeedEvent::Records {
                    partition,
                    epoch: *epoch,
                    records,
                });
            }
            if *told != Some(*at) {
                *told = Some(*at);
                return Some(FeedEvent::EndReached {
                    partition,
                    epoch: *epoch,
                    end_offset: Offset(i64::try_from(*at).unwrap()),
                });
            }
        }
        None
    }
}

/// What a restorator never has.
pub(crate) enum Never {}

impl Group for Never {
    type Ack = Self;

    async fn next(&mut self) -> GroupEvent<Self> {
        match *self {}
    }

    fn commit(&self, _offsets: &Offsets) -> impl Future<Output = Result<(), LogError>> + 'static {
        std::future::pending()
    }

    async fn leave(self) {
        match self {}
    }
}

impl RevokeAck for Never {
    fn done(self) {
        match self {}
    }
}

impl DeadLetters for Never {
    async fn put(&self, _: Partition, _: &Record, _: &str) -> Result<(), LogError> {
        match *self {}
    }
}
