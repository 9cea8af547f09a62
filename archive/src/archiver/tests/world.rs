//! A log whose beginning can be deleted and that has gaps, read by feeds that deliver as chance has it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, EventLog, Feed, FeedEvent, Fingerprint, LogError, LogIdentity, Record,
    Unreadable, UnreadableReason,
};
use stitch_testkit::kafka::Never;
use stitch_testkit::time::{VirtualTime, micros};

/// Numbers that only look random.
#[derive(Clone)]
pub(super) struct Chance(Rc<Cell<u64>>);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(Cell::new(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        )))
    }

    /// A number below `limit`.
    pub(super) fn below(&self, limit: u64) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        (state >> 11) % limit.max(1)
    }

    pub(super) fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Default)]
struct Partitioned {
    records: BTreeMap<i64, Record>,
    begin: i64,
    end: i64,
    /// Nothing can be read from here on.
    damaged: Option<i64>,
    /// Nothing is delivered from here on.
    silent: Option<i64>,
}

/// The topic. Clones share it.
#[derive(Clone)]
pub(super) struct World {
    log: Rc<RefCell<Vec<Partitioned>>>,
    pub(super) time: Rc<VirtualTime>,
    pub(super) chance: Chance,
}

impl World {
    pub(super) fn new(partitions: usize, chance: Chance) -> Self {
        let log = (0..partitions).map(|_| Partitioned::default()).collect();
        Self {
            log: Rc::new(RefCell::new(log)),
            time: Rc::default(),
            chance,
        }
    }

    fn with<T>(&self, partition: Partition, work: impl FnOnce(&mut Partitioned) -> T) -> Option<T> {
        let at = usize::try_from(partition.0).ok()?;
        self.log.borrow_mut().get_mut(at).map(work)
    }

    pub(super) fn partitions(&self) -> Vec<Partition> {
        (0..).map(Partition).take(self.log.borrow().len()).collect()
    }

    /// Adds a partition to the topic.
    pub(super) fn grow(&self) {
        self.log.borrow_mut().push(Partitioned::default());
    }

    /// Appends a record, or positions that hold none: markers and aborted records.
    pub(super) fn append(&self, partition: Partition, value: Option<&str>) {
        self.with(partition, |log| {
            if let Some(value) = value {
                let record = Record {
                    offset: Offset(log.end),
                    timestamp_ms: Some(1000 + log.end),
                    key: None,
                    value: Some(value.as_bytes().into()),
                };
                log.records.insert(log.end, record);
            }
            log.end += 1;
        });
    }

    pub(super) fn delete_below(&self, partition: Partition, begin: Offset) {
        self.with(partition, |log| log.begin = log.begin.max(begin.0));
    }

    /// Every record that there ever was.
    pub(super) fn records(&self, partition: Partition) -> Vec<Record> {
        let records = |log: &mut Partitioned| log.records.values().cloned().collect();
        self.with(partition, records).unwrap_or_default()
    }

    pub(super) fn bounds_of(&self, partition: Partition) -> Option<Bounds> {
        self.with(partition, |log| Bounds {
            begin: Offset(log.begin),
            end: Offset(log.end),
        })
    }

    /// Lets nothing be read from `offset` on, or everything again.
    pub(super) fn damage(&self, partition: Partition, offset: Option<Offset>) {
        self.with(partition, |log| log.damaged = offset.map(|offset| offset.0));
    }

    /// Lets nothing be delivered from `offset` on, not even an error.
    pub(super) fn silence(&self, partition: Partition, offset: Offset) {
        self.with(partition, |log| log.silent = Some(offset.0));
    }

    /// The log loses its end, as by the election of a leader that had fallen behind.
    pub(super) fn truncate(&self, partition: Partition, end: Offset) {
        self.with(partition, |log| {
            log.records.retain(|offset, _| *offset < end.0);
            log.end = end.0;
        });
    }

    /// Another topic of the same name.
    pub(super) fn recreate(&self) {
        for log in &mut *self.log.borrow_mut() {
            *log = Partitioned::default();
        }
    }
}

impl EventLog for World {
    type Feed = WorldFeed;
    type Group = Never;
    type DeadLetters = Never;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        Ok(World::partitions(self))
    }

    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        let bounds = |partition: &Partition| Some((*partition, self.bounds_of(*partition)?));
        Ok(partitions.iter().filter_map(bounds).collect())
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        let fingerprints = self.first_records(&World::partitions(self)).await?;
        Ok(LogIdentity {
            cluster: "c".to_owned(),
            topic: "events".to_owned(),
            cleanup_policy: "delete".to_owned(),
            fingerprints,
        })
    }

    async fn records_from(
        &self,
        offsets: &Offsets,
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
        let first = |(partition, from): (&Partition, &Offset)| {
            let first = |log: &mut Partitioned| {
                let mut records = log.records.range(log.begin.max(from.0)..);
                records.next().map(|(_, record)| Fingerprint::of(record))
            };
            Some((*partition, self.with(*partition, first)??))
        };
        Ok(offsets.0.iter().filter_map(first).collect())
    }

    async fn committed(&self, _: &[Partition]) -> Result<BTreeMap<Partition, Offset>, LogError> {
        unreachable!("an archiver commits nothing")
    }

    async fn feed(&self) -> Result<WorldFeed, LogError> {
        Ok(WorldFeed {
            world: self.clone(),
            cursors: BTreeMap::new(),
        })
    }

    async fn join(&self) -> Result<Never, LogError> {
        unreachable!("an archiver joins no group")
    }

    async fn dead_letters(&self) -> Result<Never, LogError> {
        unreachable!("an archiver rejects nothing")
    }
}

pub(super) struct WorldFeed {
    world: World,
    cursors: BTreeMap<Partition, Cursor>,
}

struct Cursor {
    next: i64,
    epoch: AssignmentEpoch,
    reported_end: Option<i64>,
}

impl Feed for WorldFeed {
    fn start(
        &mut self,
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    ) -> Result<(), LogError> {
        let cursor = Cursor {
            next: from.0,
            epoch,
            reported_end: None,
        };
        self.cursors.insert(partition, cursor);
        Ok(())
    }

    fn stop(&mut self, partition: Partition) -> Result<(), LogError> {
        self.cursors.remove(&partition);
        Ok(())
    }

    async fn next(&mut self) -> FeedEvent {
        poll_fn(|_| match self.event() {
            Some(event) => Poll::Ready(event),
            // The test polls again.
            None => Poll::Pending,
        })
        .await
    }
}

impl WorldFeed {
    fn event(&mut self) -> Option<FeedEvent> {
        let chance = self.world.chance.clone();
        let count = self.cursors.len() as u64;
        let turn = usize::try_from(chance.below(count)).ok()?;
        let partitions: Vec<_> = self.cursors.keys().copied().collect();
        let from_turn = partitions.iter().cycle().skip(turn).take(partitions.len());
        for partition in from_turn {
            if let Some(event) = self.event_of(*partition, &chance) {
                return Some(event);
            }
        }
        None
    }

    fn event_of(&mut self, partition: Partition, chance: &Chance) -> Option<FeedEvent> {
        let cursor = self.cursors.get_mut(&partition)?;
        let epoch = cursor.epoch;
        let (begin, end, broken, found) = self.world.with(partition, |log| {
            let broken = (log.damaged, log.silent);
            let readable = [broken.0, broken.1, Some(log.end)].into_iter().flatten();
            let readable = readable.min().unwrap_or(log.end);
            let records = log.records.range(cursor.next.min(readable)..readable);
            let most = 1 + usize::try_from(chance.below(5)).unwrap_or_default();
            let found: Vec<_> = records
                .take(most)
                .map(|(_, record)| record.clone())
                .collect();
            (log.begin, log.end, broken, found)
        })?;
        let (damaged, silent) = broken;
        let reason = if cursor.next < begin {
            Some(UnreadableReason::Deleted)
        } else if cursor.next > end {
            Some(UnreadableReason::Truncated)
        } else {
            let is_damaged = found.is_empty() && damaged.is_some_and(|at| at < end);
            is_damaged.then_some(UnreadableReason::Damaged)
        };
        if let Some(reason) = reason {
            let offset = Offset(cursor.next);
            self.cursors.remove(&partition);
            let error = Unreadable {
                partition,
                offset,
                reason,
                cause: format!("it begins at {begin}"),
            };
            return Some(FeedEvent::Unreadable { epoch, error });
        }
        if let Some(last) = found.last() {
            cursor.next = last.offset.0 + 1;
            return Some(FeedEvent::Records {
                partition,
                epoch,
                records: found,
            });
        }
        if cursor.reported_end == Some(end) || silent.is_some() {
            return None;
        }
        cursor.next = end;
        cursor.reported_end = Some(end);
        Some(FeedEvent::EndReached {
            partition,
            epoch,
            end_offset: Offset(end),
        })
    }
}

#[derive(Clone)]
pub(super) struct WorldClock(pub(super) Rc<VirtualTime>);

impl Clock for WorldClock {
    fn now(&self) -> Moment {
        Moment::new(Duration::from_micros(self.0.now()))
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_micros(self.0.now())
    }

    async fn sleep(&self, duration: Duration) {
        self.0.until(self.0.now() + micros(duration)).await;
    }
}
