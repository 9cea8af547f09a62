//! A feed: records of chosen partitions from chosen places, a few at a time, soon or late.

use std::collections::BTreeMap;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Feed, FeedEvent, LogError};

use super::log::index;
use crate::executor::Micros;
use crate::slot::either;
use crate::world::Handle;

/// Records that one delivery has at most.
const AT_ONCE_MAX: usize = 8;

struct CellSelection {
    epoch: AssignmentEpoch,
    next: usize,
    told_end: Option<usize>,
    /// Nothing comes before.
    ready: Micros,
}

/// See [`Feed`].
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

    fn after_a_while(&self) -> Micros {
        let world = &self.handle.world;
        let slowness = world.topic.slowness.get();
        world.now() + world.net() + world.rng.below(slowness + 1)
    }

    /// What can be delivered now.
    fn ready(&mut self) -> Option<FeedEvent> {
        let world = std::rc::Rc::clone(&self.handle.world);
        if !world.broker_answers() || world.now() < self.handle.process.stalled_until.get() {
            return None;
        }
        let ready = self.after_a_while();
        let records = world.topic.records.borrow();
        for (&partition, reading) in &mut self.partitions {
            if world.now() < reading.ready {
                continue;
            }
            let log = &records[index(partition)];
            let epoch = reading.epoch;
            if reading.next < log.len() {
                let left = &log[reading.next..];
                let count = 1 + world.rng.index(left.len().min(AT_ONCE_MAX));
                reading.next += count;
                reading.ready = ready;
                let records = left[..count].to_vec();
                return Some(FeedEvent::Records {
                    partition,
                    epoch,
                    records,
                });
            }
            if reading.told_end != Some(log.len()) {
                reading.told_end = Some(log.len());
                let end_offset = Offset(i64::try_from(log.len()).unwrap_or(i64::MAX));
                return Some(FeedEvent::EndReached {
                    partition,
                    epoch,
                    end_offset,
                });
            }
        }
        None
    }

    /// When something could be delivered, if nothing else happens.
    fn due(&self) -> Option<Micros> {
        let world = &self.handle.world;
        let records = world.topic.records.borrow();
        let waiting = self.partitions.iter().filter(|(partition, reading)| {
            let end = records[index(**partition)].len();
            reading.next < end || reading.told_end != Some(end)
        });
        let due = waiting.map(|(_, reading)| reading.ready).min()?;
        let stalled = self.handle.process.stalled_until.get();
        let down = world.topic.down_until.get();
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
            epoch,
            next: usize::try_from(from.0).unwrap_or_default(),
            told_end: None,
            ready: self.after_a_while(),
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
            if let Some(event) = self.ready() {
                return event;
            }
            let world = std::rc::Rc::clone(&self.handle.world);
            let ends: usize = world.topic.records.borrow().iter().map(Vec::len).sum();
            let grown = || {
                let now: usize = world.topic.records.borrow().iter().map(Vec::len).sum();
                (now != ends).then_some(())
            };
            let appended = world.topic.appended.until(grown);
            match self.due() {
                Some(due) => {
                    either(appended, world.executor.until(due)).await;
                }
                None => appended.await,
            }
        }
    }
}
