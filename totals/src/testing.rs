//! For tests: a topic in memory, with gaps of offsets and a beginning that can be deleted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use stitch_archive::names::TopicFolder;
use stitch_archive::origin;
use stitch_archive::segment::writer::SegmentWriter;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, EventLog, Feed, FeedEvent, Fingerprint, LogError, LogIdentity, Record,
    TableIdentity,
};
use stitch_testkit::kafka::Never;
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples;

use crate::manifest::NamespaceInstance;

/// A namespace.
pub fn instance() -> NamespaceInstance {
    NamespaceInstance {
        generation: 1,
        table: TableIdentity {
            cluster: "cassandra".to_owned(),
            table: Default::default(),
        },
        first_records: BTreeMap::new(),
    }
}

/// A topic. A position without a record is a transaction marker.
#[derive(Debug, Default)]
pub struct SampleTopic {
    partitions: RefCell<BTreeMap<Partition, Vec<Option<Record>>>>,
    begins: RefCell<BTreeMap<Partition, Offset>>,
    /// Deleted as soon as somebody asks for bounds, which miss it.
    pub deleted_before_bounds: Cell<Option<(Partition, Offset)>>,
    /// Deleted as soon as a feed has been read from.
    pub deleted_meanwhile: Cell<Option<(Partition, Offset)>>,
    /// How many records feeds have delivered.
    pub delivered: Cell<usize>,
}

impl SampleTopic {
    pub fn add(&self, partition: i32, value: Option<&str>) {
        let mut partitions = self.partitions.borrow_mut();
        let records = partitions.entry(Partition(partition)).or_default();
        let offset = i64::try_from(records.len()).expect("few records");
        records.push(value.map(|value| samples::record(offset, value)));
    }

    /// The log loses its end, as by the election of a leader that had fallen behind.
    pub fn truncate(&self, partition: i32, end: usize) {
        let mut partitions = self.partitions.borrow_mut();
        let records = partitions.entry(Partition(partition)).or_default();
        records.truncate(end);
    }

    pub fn delete_below(&self, partition: i32, offset: i64) {
        let mut begins = self.begins.borrow_mut();
        begins.insert(Partition(partition), Offset(offset));
    }

    pub fn end(&self, partition: i32) -> i64 {
        self.bounds_of(Partition(partition)).end.0
    }

    fn bounds_of(&self, partition: Partition) -> Bounds {
        let begin = self.begins.borrow().get(&partition).copied();
        let partitions = self.partitions.borrow();
        let end = partitions.get(&partition).map_or(0, Vec::len);
        Bounds {
            begin: begin.unwrap_or_default(),
            end: Offset(i64::try_from(end).expect("few records")),
        }
    }

    /// All records of a partition from `from` up to `to`, deleted or not.
    pub fn records(&self, partition: i32, from: i64, to: i64) -> Vec<Record> {
        let partitions = self.partitions.borrow();
        let records = partitions.get(&Partition(partition)).into_iter().flatten();
        let inside = |record: &&Record| (from..to).contains(&record.offset.0);
        records.flatten().filter(inside).cloned().collect()
    }

    /// Puts segments of a partition that end at these positions; the first begins at the first one.
    pub async fn archive(&self, store: &MemoryStore, partition: i32, ends: &[i64]) {
        let folder = TopicFolder::new("kafka", "events");
        let begin = Offset(ends[0]);
        origin::create(store, &folder, Partition(partition), begin)
            .await
            .expect("memory takes it");
        for pair in ends.windows(2) {
            let mut writer = SegmentWriter::new(Partition(partition), Offset(pair[0]));
            for record in self.records(partition, pair[0], pair[1]) {
                writer.push(&record);
            }
            let (_, content) = writer.finish(&folder, Offset(pair[1]));
            let name = folder.segment(Partition(partition), Offset(pair[0]));
            store.objects().set(name, content);
        }
    }
}

impl EventLog for SampleTopic {
    type Feed = SampleFeed;
    type Group = Never;
    type DeadLetters = Never;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        Ok(self.partitions.borrow().keys().copied().collect())
    }

    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        if let Some((partition, offset)) = self.deleted_before_bounds.take() {
            self.begins.borrow_mut().insert(partition, offset);
        }
        let bounds = partitions.iter().map(|one| (*one, self.bounds_of(*one)));
        Ok(bounds.collect())
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        Err(LogError::Refused("nobody needs it".to_owned()))
    }

    async fn committed(&self, _: &[Partition]) -> Result<BTreeMap<Partition, Offset>, LogError> {
        Ok(BTreeMap::new())
    }

    async fn feed(&self) -> Result<SampleFeed, LogError> {
        let all = |(partition, records): (&Partition, &Vec<Option<Record>>)| {
            let begin = self.bounds_of(*partition).begin;
            let records = records.iter().flatten();
            let left: Vec<_> = records
                .filter(|record| record.offset >= begin)
                .cloned()
                .collect();
            (*partition, left)
        };
        let feed = SampleFeed {
            records: self.partitions.borrow().iter().map(all).collect(),
            ends: self
                .partitions
                .borrow()
                .keys()
                .map(|partition| (*partition, self.bounds_of(*partition).end))
                .collect(),
            positions: BTreeMap::new(),
        };
        let left = |(partition, _): (&Partition, _)| feed.records[partition].len();
        let delivered: usize = feed.ends.iter().map(left).sum();
        self.delivered.set(self.delivered.get() + delivered);
        if let Some((partition, offset)) = self.deleted_meanwhile.take() {
            self.begins.borrow_mut().insert(partition, offset);
        }
        Ok(feed)
    }

    async fn records_from(
        &self,
        offsets: &Offsets,
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
        let partitions = self.partitions.borrow();
        let first = |(partition, from): (&Partition, &Offset)| {
            let from = self.bounds_of(*partition).begin.max(*from);
            let mut records = partitions.get(partition)?.iter().flatten();
            let first = records.find(|record| record.offset >= from)?;
            Some((*partition, Fingerprint::of(first)))
        };
        Ok(offsets.0.iter().filter_map(first).collect())
    }

    async fn join(&self) -> Result<Never, LogError> {
        Err(LogError::Refused("there is no group".to_owned()))
    }

    async fn dead_letters(&self) -> Result<Never, LogError> {
        Err(LogError::Refused("there is no such topic".to_owned()))
    }
}

/// Delivers three records at a time.
#[derive(Debug)]
pub struct SampleFeed {
    records: BTreeMap<Partition, Vec<Record>>,
    ends: BTreeMap<Partition, Offset>,
    positions: BTreeMap<Partition, (Offset, AssignmentEpoch)>,
}

impl Feed for SampleFeed {
    fn start(
        &mut self,
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    ) -> Result<(), LogError> {
        self.positions.insert(partition, (from, epoch));
        Ok(())
    }

    fn stop(&mut self, partition: Partition) -> Result<(), LogError> {
        self.positions.remove(&partition);
        Ok(())
    }

    async fn next(&mut self) -> FeedEvent {
        let mut positions = self.positions.iter_mut();
        let (&partition, (position, epoch)) = positions.next().expect("something is read");
        let records = self.records[&partition].iter();
        let next: Vec<_> = records
            .filter(|record| record.offset >= *position)
            .take(3)
            .cloned()
            .collect();
        let epoch = *epoch;
        match next.last() {
            Some(last) => {
                *position = last.offset.next();
                FeedEvent::Records {
                    partition,
                    epoch,
                    records: next,
                }
            }
            None => FeedEvent::EndReached {
                partition,
                epoch,
                end_offset: self.ends[&partition],
            },
        }
    }
}
