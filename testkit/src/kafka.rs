//! Kafka's data: the log of one topic, and how far a feed has read each partition. Groups, delays and faults are for its
//! users to add.

use std::collections::BTreeMap;

use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, DeadLetters, FeedEvent, Fingerprint, Group, GroupEvent, LogError,
    LogIdentity, Record, RevokeAck, Unreadable, UnreadableReason,
};

/// The records of each partition, from offset 0 on.
#[derive(Clone, Debug, Default)]
pub struct Log {
    records: Vec<Vec<Record>>,
    /// Of each partition, the first offset that is not deleted.
    begins: Vec<usize>,
    /// How many topics of this name there were before.
    recreated: u32,
}

fn index(partition: Partition) -> usize {
    usize::try_from(partition.0).unwrap_or(usize::MAX)
}

fn number(index: usize) -> Partition {
    Partition(i32::try_from(index).unwrap_or(i32::MAX))
}

fn offset(length: usize) -> Offset {
    Offset(i64::try_from(length).unwrap_or(i64::MAX))
}

impl Log {
    pub fn new(partitions: usize) -> Self {
        Self {
            records: vec![Vec::new(); partitions],
            begins: vec![0; partitions],
            recreated: 0,
        }
    }

    /// Deletes the topic and creates it again: its records are others.
    pub fn recreate(&mut self) {
        self.records.iter_mut().for_each(Vec::clear);
        self.begins.fill(0);
        self.recreated += 1;
    }

    /// Adds an empty partition.
    pub fn add_partition(&mut self) {
        self.records.push(Vec::new());
        self.begins.push(0);
    }

    /// Deletes the records below `offset`, as Kafka's retention does.
    pub fn delete_below(&mut self, partition: Partition, offset: Offset) {
        let begin = usize::try_from(offset.0).unwrap_or_default();
        self.begins[index(partition)] = begin.min(self.records(partition).len());
    }

    pub fn partitions(&self) -> impl Iterator<Item = Partition> {
        (0..self.records.len()).map(number)
    }

    /// Appends a record and returns its offset.
    pub fn append(&mut self, partition: Partition, value: impl Into<Vec<u8>>) -> Offset {
        let offset = self.end(partition);
        self.records[index(partition)].push(Record {
            offset,
            // Records of another topic of this name are others, whatever they say.
            timestamp_ms: Some(i64::from(self.recreated)),
            key: None,
            value: Some(value.into().into()),
        });
        offset
    }

    pub fn end(&self, partition: Partition) -> Offset {
        offset(self.records(partition).len())
    }

    /// How many records there are in all partitions.
    pub fn records_total(&self) -> usize {
        self.records.iter().map(Vec::len).sum()
    }

    pub fn bounds(&self, partitions: &[Partition]) -> BTreeMap<Partition, Bounds> {
        let known = partitions
            .iter()
            .filter(|one| index(**one) < self.records.len());
        let bounds = |partition: &Partition| Bounds {
            begin: self.begin(*partition),
            end: self.end(*partition),
        };
        known.map(|one| (*one, bounds(one))).collect()
    }

    /// The identity of the topic, by the first record of each partition.
    pub fn identity(&self) -> LogIdentity {
        let partitions: Vec<_> = self.partitions().collect();
        LogIdentity {
            cluster: "kafka".to_owned(),
            topic: "events".to_owned(),
            cleanup_policy: "delete".to_owned(),
            fingerprints: self.first_records(&partitions),
        }
    }

    /// The first record of each of these partitions that has one.
    pub fn first_records(&self, partitions: &[Partition]) -> BTreeMap<Partition, Fingerprint> {
        let all = partitions.iter().map(|partition| (*partition, Offset(0)));
        self.records_from(&Offsets(all.collect()))
    }

    /// The first record of each of these partitions at or above its offset.
    pub fn records_from(&self, offsets: &Offsets) -> BTreeMap<Partition, Fingerprint> {
        let fingerprint = |(partition, from): (&Partition, &Offset)| {
            let from = self.begin(*partition).max(*from);
            let first = self
                .records(*partition)
                .get(usize::try_from(from.0).ok()?)?;
            Some((*partition, Fingerprint::of(first)))
        };
        offsets.0.iter().filter_map(fingerprint).collect()
    }

    /// The first offset of a partition that is not deleted.
    pub fn begin(&self, partition: Partition) -> Offset {
        offset(self.begins[index(partition)])
    }

    /// The records of a partition from `from` up to `to`, deleted or not.
    pub fn records_within(&self, partition: Partition, from: Offset, to: Offset) -> Vec<Record> {
        let records = self.records(partition).iter();
        let within = |record: &&Record| (from..to).contains(&record.offset);
        records.filter(within).cloned().collect()
    }

    fn records(&self, partition: Partition) -> &[Record] {
        self.records
            .get(index(partition))
            .map_or(&[], Vec::as_slice)
    }
}

/// How far a feed has read one partition.
#[derive(Debug)]
pub struct Cursor {
    epoch: AssignmentEpoch,
    next: usize,
    reported_end: Option<usize>,
}

impl Cursor {
    pub fn new(from: Offset, epoch: AssignmentEpoch) -> Self {
        Self {
            epoch,
            next: usize::try_from(from.0).unwrap_or_default(),
            reported_end: None,
        }
    }

    /// The start that its deliveries belong to.
    pub const fn epoch(&self) -> AssignmentEpoch {
        self.epoch
    }

    /// The offset of the next record.
    pub fn next(&self) -> Offset {
        offset(self.next)
    }

    /// Whether records, or the end of the log, are still to be delivered.
    pub fn is_behind(&self, log: &Log, partition: Partition) -> bool {
        let end = log.records(partition).len();
        self.next < end || self.next == end && self.reported_end != Some(end)
    }

    /// Delivers as many of the records that are left as `count` says, or, once, that the end was reached.
    pub fn advance(
        &mut self,
        log: &Log,
        partition: Partition,
        count: impl FnOnce(usize) -> usize,
    ) -> Option<FeedEvent> {
        let records = log.records(partition);
        let epoch = self.epoch;
        if self.next() < log.begin(partition) {
            let error = Unreadable {
                partition,
                offset: self.next(),
                reason: UnreadableReason::Deleted,
                cause: "out of range".to_owned(),
            };
            return Some(FeedEvent::Unreadable { epoch, error });
        }
        if self.next < records.len() {
            let left = &records[self.next..];
            let records = left[..count(left.len())].to_vec();
            self.next += records.len();
            return Some(FeedEvent::Records {
                partition,
                epoch,
                records,
            });
        }
        // A broker that has fewer records than were read is behind, and waits for more.
        if self.reported_end == Some(records.len()) || self.next > records.len() {
            return None;
        }
        self.reported_end = Some(records.len());
        Some(FeedEvent::EndReached {
            partition,
            epoch,
            end_offset: offset(records.len()),
        })
    }
}

/// The group and the dead letters of a program that uses neither.
#[derive(Debug)]
pub enum Never {}

impl Group for Never {
    type Ack = Self;

    async fn next(&mut self) -> GroupEvent<Self> {
        match *self {}
    }

    fn commit(&self, _: &Offsets) -> impl Future<Output = Result<(), LogError>> + 'static {
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
