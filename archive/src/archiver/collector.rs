//! The records of one partition that are read and not archived yet. Pure: it takes deliveries and returns segments to put.

use std::collections::VecDeque;

use bytes::Bytes;
use stitch_common::clock::Moment;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Record};

use crate::chain::Segment;
use crate::names::TopicFolder;
use crate::segment::writer::SegmentWriter;

/// A segment that is complete and waits to be put.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) segment: Segment,
    pub(crate) content: Bytes,
}

/// The records of one partition that are not archived yet.
pub(crate) struct Collector {
    partition: Partition,
    epoch: AssignmentEpoch,
    /// The open segment begins here.
    from: Offset,
    /// Every record below it has been collected, or was archived before.
    next: Offset,
    open: Option<SegmentWriter>,
    /// When the first position of the open segment was collected.
    begun: Option<Moment>,
    sealed: VecDeque<Sealed>,
    /// The segment that is being put.
    putting: Option<Segment>,
}

impl Collector {
    /// Collects from `from` on, which is where the archive ends.
    pub(crate) const fn new(partition: Partition, from: Offset, epoch: AssignmentEpoch) -> Self {
        Self {
            partition,
            epoch,
            from,
            next: from,
            open: None,
            begun: None,
            sealed: VecDeque::new(),
            putting: None,
        }
    }

    pub(crate) const fn epoch(&self) -> AssignmentEpoch {
        self.epoch
    }

    /// Every record below it has been collected.
    pub(crate) const fn next(&self) -> Offset {
        self.next
    }

    /// The feed starts again, at [`Collector::next`]: deliveries of earlier epochs are not taken any more.
    pub(crate) const fn restart(&mut self, epoch: AssignmentEpoch) {
        self.epoch = epoch;
    }

    /// The memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let sealed = self.sealed.iter().map(|sealed| sealed.content.len());
        let putting = self.putting.as_ref().map_or(0, |segment| segment.bytes);
        self.open_bytes() + sealed.sum::<usize>() + usize::try_from(putting).unwrap_or(usize::MAX)
    }

    /// The memory of the open segment.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, SegmentWriter::bytes)
    }

    /// Whether nothing is open, sealed or being put.
    pub(crate) fn is_idle(&self) -> bool {
        self.from == self.next && self.sealed.is_empty() && self.putting.is_none()
    }

    /// Takes the records of a delivery, and seals the segment when it has `segment_bytes`.
    pub(crate) fn on_records(
        &mut self,
        epoch: AssignmentEpoch,
        records: &[Record],
        now: Moment,
        folder: &TopicFolder,
        segment_bytes: usize,
    ) {
        if epoch != self.epoch {
            return;
        }
        for record in records {
            if record.offset < self.next {
                continue;
            }
            let open = self
                .open
                .get_or_insert_with(|| SegmentWriter::new(self.partition, self.from));
            open.push(record);
            self.next = record.offset.next();
            self.begun.get_or_insert(now);
            if open.bytes() >= segment_bytes {
                self.seal(folder);
            }
        }
    }

    /// Every record below `end` has been delivered: what lies between is no record.
    pub(crate) fn on_end(&mut self, epoch: AssignmentEpoch, end: Offset, now: Moment) {
        if epoch == self.epoch && end > self.next {
            self.next = end;
            self.begun.get_or_insert(now);
        }
    }

    /// When the open segment began, if there is one.
    pub(crate) const fn begun(&self) -> Option<Moment> {
        self.begun
    }

    /// Ends the open segment, if there is one.
    pub(crate) fn seal(&mut self, folder: &TopicFolder) {
        if self.next == self.from {
            return;
        }
        let open = self.open.take();
        let open = open.unwrap_or_else(|| SegmentWriter::new(self.partition, self.from));
        let (footer, content) = open.finish(folder, self.next);
        let bytes = content.len() as u64;
        self.sealed.push_back(Sealed {
            segment: Segment::new(&footer, bytes),
            content: content.into(),
        });
        self.from = self.next;
        self.begun = None;
    }

    /// The next segment to put, unless one is being put: each of them begins where the one before ends.
    pub(crate) fn take_put(&mut self) -> Option<Sealed> {
        if self.putting.is_some() {
            return None;
        }
        let sealed = self.sealed.pop_front()?;
        self.putting = Some(sealed.segment.clone());
        Some(sealed)
    }

    /// The segment that was being put is archived.
    pub(crate) fn on_archived(&mut self) {
        self.putting = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stitch_testkit::samples;

    use super::*;

    const P: Partition = Partition(0);
    const EPOCH: AssignmentEpoch = AssignmentEpoch(1);
    const NOW: Moment = Moment::new(Duration::from_secs(1));

    fn folder() -> TopicFolder {
        TopicFolder::new("c", "t")
    }

    fn deliver(collector: &mut Collector, offsets: &[i64], segment_bytes: usize) {
        let records: Vec<_> = offsets
            .iter()
            .map(|offset| samples::record(*offset, "value"))
            .collect();
        collector.on_records(EPOCH, &records, NOW, &folder(), segment_bytes);
    }

    fn interval(sealed: &Sealed) -> (i64, i64, u64) {
        let Segment { from, to, rows, .. } = &sealed.segment;
        (from.0, to.0, *rows)
    }

    #[test]
    fn a_segment_ends_behind_its_last_record_or_where_the_log_ends() {
        let mut collector = Collector::new(P, Offset(10), EPOCH);
        deliver(&mut collector, &[12, 15], usize::MAX);
        collector.seal(&folder());
        deliver(&mut collector, &[18], usize::MAX);
        collector.on_end(EPOCH, Offset(25), NOW);
        collector.seal(&folder());
        collector.seal(&folder());
        let first = collector.take_put().unwrap();
        assert_eq!(interval(&first), (10, 16, 2));
        assert!(collector.take_put().is_none(), "one at a time");
        collector.on_archived();
        let second = collector.take_put().unwrap();
        assert_eq!(interval(&second), (16, 25, 1));
        collector.on_archived();
        assert!(collector.is_idle());
    }

    #[test]
    fn positions_without_a_record_are_a_segment_too() {
        let mut collector = Collector::new(P, Offset(0), EPOCH);
        collector.on_end(EPOCH, Offset(0), NOW);
        assert!(collector.is_idle());
        collector.on_end(EPOCH, Offset(2), NOW);
        assert_eq!(collector.begun(), Some(NOW));
        collector.seal(&folder());
        assert_eq!(interval(&collector.take_put().unwrap()), (0, 2, 0));
    }

    #[test]
    fn a_segment_that_is_large_enough_is_sealed_at_once() {
        let mut collector = Collector::new(P, Offset(0), EPOCH);
        deliver(&mut collector, &[0, 1, 2, 3], 150);
        let sealed = collector.take_put().unwrap();
        assert_eq!(interval(&sealed), (0, 2, 2));
        assert_eq!(
            collector.bytes(),
            collector.open_bytes() + sealed.content.len() * 2
        );
    }

    #[test]
    fn deliveries_of_another_epoch_and_records_from_before_are_not_taken() {
        let mut collector = Collector::new(P, Offset(5), EPOCH);
        deliver(&mut collector, &[3, 4, 5, 5, 6], usize::MAX);
        collector.restart(AssignmentEpoch(2));
        deliver(&mut collector, &[7], usize::MAX);
        collector.on_end(EPOCH, Offset(9), NOW);
        collector.seal(&folder());
        assert_eq!(interval(&collector.take_put().unwrap()), (5, 7, 2));
    }
}
