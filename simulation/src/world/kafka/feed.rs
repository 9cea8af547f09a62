//! A feed: records of chosen partitions from chosen offsets on, a few at a time, soon or late.

use std::collections::BTreeMap;
use std::rc::Rc;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Feed, FeedEvent, LogError, Unreadable, UnreadableReason,
};
use stitch_testkit::kafka::{Cursor, Log};
use stitch_testkit::time::Micros;
use stitch_testkit::wait::either;

use crate::world::Handle;

/// The most records in one delivery.
const DELIVERY_MAX: usize = 8;

struct CellSelection {
    cursor: Cursor,
    /// Nothing is delivered before this moment.
    ready: Micros,
}

pub(crate) struct SimFeed {
    handle: Handle,
    partitions: BTreeMap<Partition, CellSelection>,
}

impl SimFeed {
    pub(super) const fn new(handle: Handle) -> Self {
        Self {
            handle,
            partitions: BTreeMap::new(),
        }
    }

    fn next_delivery(&self) -> Micros {
        let world = &self.handle.world;
        let slowness = world.kafka.slowness.get();
        world.now() + world.net() + world.rng.below(slowness + 1)
    }

    /// The event that can be delivered now.
    fn event(&mut self) -> Option<FeedEvent> {
        let world = Rc::clone(&self.handle.world);
        if !world.broker_answers() || world.now() < self.handle.process.feeds_stalled_until.get() {
            return None;
        }
        if world.kafka.unauthorized.get() {
            let (partition, reading) = self.partitions.pop_first()?;
            let error = Unreadable {
                partition,
                offset: reading.cursor.next(),
                reason: UnreadableReason::Unauthorized,
                cause: "topic authorization failed".to_owned(),
            };
            let epoch = reading.cursor.epoch();
            return Some(FeedEvent::Unreadable { epoch, error });
        }
        let ready = self.next_delivery();
        let count = |left: usize| 1 + world.rng.index(left.min(DELIVERY_MAX));
        for (&partition, reading) in &mut self.partitions {
            if world.now() < reading.ready {
                continue;
            }
            let advance = |log: &Log| reading.cursor.advance(log, partition, count);
            let event = world.log_for(&self.handle.process, advance);
            if matches!(event, Some(FeedEvent::Records { .. })) {
                reading.ready = ready;
            }
            let Some(event) = event else { continue };
            if matches!(event, FeedEvent::Unreadable { .. }) {
                self.partitions.remove(&partition);
            }
            return Some(event);
        }
        None
    }

    /// When something can be delivered, if nothing else happens.
    fn due(&self) -> Option<Micros> {
        let world = &self.handle.world;
        let due = world.log_for(&self.handle.process, |log| {
            let partitions = self.partitions.iter();
            let behind = partitions.filter(|(of, reading)| reading.cursor.is_behind(log, **of));
            behind.map(|(_, reading)| reading.ready).min()
        })?;
        let stalled = self.handle.process.feeds_stalled_until.get();
        let down = world.kafka.down_until.get();
        Some(due.max(down).max(stalled).max(world.now() + 1))
    }
}

impl Feed for SimFeed {
    fn start(
        &mut self,
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    ) -> Result<(), LogError> {
        let reading = CellSelection {
            cursor: Cursor::new(from, epoch),
            ready: self.next_delivery(),
        };
        self.partitions.insert(partition, reading);
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
            let world = Rc::clone(&self.handle.world);
            let seen = || {
                let records = world.log_for(&self.handle.process, Log::records_total);
                (records, world.kafka.unauthorized.get())
            };
            let before = seen();
            let appended = || (seen() != before).then_some(());
            let appended = world.kafka.appended.until(appended);
            match self.due() {
                Some(due) => {
                    either(appended, world.executor.until(due)).await;
                }
                None => appended.await,
            }
        }
    }
}
