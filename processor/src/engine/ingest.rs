//! Taking in: assigned partitions are taken, their records decoded, rejected ones copied away, events parted by range.
//!
//! No event is taken in before every rejected record below it is copied: progress can then never pass one that was not,
//! and nothing above it is begun, so that yields need not wait for Kafka.

use stitch_common::checkpoint::Checkpoint;
use stitch_common::clock::Moment;
use stitch_common::event::{Decoded, Event};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Record};
use stitch_common::range::RangeId;

use super::buffer::{Contribution, CounterBuffer, CounterRef};
use super::partition::{PartitionProgress, PartitionState, Staged};
use super::range::LockState;
use super::rule;
use super::{Command, Engine};
use crate::metrics;

impl Engine {
    /// What a part is taken to weigh beside its key, in bytes.
    const PART_BYTES: usize = 160;

    pub(super) fn weight(counter: &CounterRef) -> usize {
        Self::PART_BYTES + counter.key.0.len()
    }

    /// The group has dealt this partition to this process.
    pub(crate) fn assigned(&mut self, partition: Partition, now: Moment) {
        if self.stopping {
            return;
        }
        match self.partitions.get_mut(&partition) {
            None => {
                self.partitions
                    .insert(partition, PartitionProgress::taking(now));
                self.commands.push(Command::Take(partition));
            }
            Some(known) => match known.stage {
                PartitionState::Draining { .. } | PartitionState::Releasing => {
                    known.assigned_again = true
                }
                PartitionState::Acquiring | PartitionState::Counting => {}
            },
        }
    }

    /// The partition's lock is held and this is its progress, read under that lock; its records are to be delivered
    /// from `from`, which is not above any range's offset unless nothing lies between.
    pub(crate) fn taken(&mut self, partition: Partition, progress: Checkpoint, from: Offset) {
        let Some(known) = self.partitions.get_mut(&partition) else {
            return;
        };
        if known.stage != PartitionState::Acquiring {
            return;
        }
        self.epochs += 1;
        let epoch = AssignmentEpoch(self.epochs);
        known.stage = PartitionState::Counting;
        known.epoch = epoch;
        known.taken_in = from;
        known.resumed = progress.clone();
        known.written = progress;
        self.commands.push(Command::Start {
            partition,
            from,
            epoch,
        });
        self.commit_due = true;
    }

    /// The feed has delivered these records.
    pub(crate) fn delivered(
        &mut self,
        partition: Partition,
        epoch: AssignmentEpoch,
        records: Vec<Record>,
    ) {
        let Some(known) = self.counting(partition, epoch) else {
            return;
        };
        let mut staged = Staged::behind(known.delivered_upto());
        let mut decoded = metrics::Decoded::default();
        for record in records {
            if record.offset < staged.end_offset {
                continue;
            }
            staged.end_offset = record.offset.next();
            match self.decoder.decode(record.value.as_deref()) {
                Decoded::Ignored => decoded.ignored += 1,
                Decoded::Event(event) => {
                    decoded.counted += 1;
                    staged.bytes += Self::PART_BYTES * (1 + event.increments.len());
                    staged.events.push((record.offset, event));
                }
                Decoded::Rejected(rejection) => {
                    decoded.rejected += 1;
                    staged.bytes += record.value.as_ref().map_or(0, |value| value.len());
                    staged.uncopied.insert(record.offset);
                    let reason = rejection.to_string();
                    self.commands.push(Command::Copy {
                        partition,
                        epoch,
                        record,
                        reason,
                    });
                }
            }
        }
        decoded.report();
        self.held.bytes += staged.bytes;
        self.stage(partition, staged);
    }

    /// The feed has delivered every record below `end_offset`.
    pub(crate) fn end_reached(
        &mut self,
        partition: Partition,
        epoch: AssignmentEpoch,
        end_offset: Offset,
    ) {
        let Some(known) = self.counting(partition, epoch) else {
            return;
        };
        if end_offset > known.delivered_upto() {
            self.stage(partition, Staged::behind(end_offset));
        }
    }

    /// A rejected record is in the topic of rejects.
    pub(crate) fn copied(&mut self, partition: Partition, epoch: AssignmentEpoch, offset: Offset) {
        let Some(known) = self.counting(partition, epoch) else {
            return;
        };
        for staged in &mut known.staged {
            staged.uncopied.remove(&offset);
        }
        self.take_in_staged(partition);
    }

    fn counting(
        &mut self,
        partition: Partition,
        epoch: AssignmentEpoch,
    ) -> Option<&mut PartitionProgress> {
        let known = self.partitions.get_mut(&partition)?;
        (known.stage == PartitionState::Counting && known.epoch == epoch).then_some(known)
    }

    fn stage(&mut self, partition: Partition, staged: Staged) {
        if let Some(known) = self.partitions.get_mut(&partition) {
            known.staged.push_back(staged);
        }
        self.take_in_staged(partition);
    }

    fn take_in_staged(&mut self, partition: Partition) {
        while let Some(known) = self.partitions.get_mut(&partition)
            && known
                .staged
                .front()
                .is_some_and(|staged| staged.uncopied.is_empty())
            && let Some(staged) = known.staged.pop_front()
        {
            self.held.bytes -= staged.bytes;
            for (offset, event) in staged.events {
                self.ingest(partition, offset, event);
            }
            if let Some(known) = self.partitions.get_mut(&partition) {
                known.taken_in = staged.end_offset;
            }
        }
    }

    /// Parts an event by range and counter. A range that resumed above it has answered it already.
    fn ingest(&mut self, partition: Partition, offset: Offset, event: Event) {
        let Some(known) = self.partitions.get(&partition) else {
            return;
        };
        let mut by_range: Vec<(RangeId, CounterRef, stitch_common::cell::Amount)> = event
            .increments
            .into_iter()
            .map(|increment| {
                let range = self.bits.range_of(increment.counter.token());
                let key = increment.counter.key;
                (
                    range,
                    CounterRef {
                        definition: increment.definition,
                        key,
                    },
                    increment.amount,
                )
            })
            .filter(|(range, _, _)| rule::is_counted(known.resumed.of(*range), offset))
            .collect();
        by_range.sort_by_key(|(range, _, _)| *range);
        for parts in by_range.chunk_by(|a, b| a.0 == b.0) {
            let range = parts[0].0;
            let track = self.ranges[usize::from(range.0)]
                .tracks
                .entry(partition)
                .or_default();
            let count = u32::try_from(parts.len()).expect("an event has few increments");
            let place = track.ingest(offset, count);
            self.held.events += 1;
            for (_, counter, amount) in parts {
                let granularities = self.definitions[counter.definition].1;
                let part = Contribution {
                    partition,
                    place,
                    time: event.time,
                    amount: *amount,
                    granularities,
                };
                self.enqueue(range, counter.clone(), part);
            }
        }
    }

    fn enqueue(&mut self, range: RangeId, counter: CounterRef, part: Contribution) {
        self.held.bytes += Self::weight(&counter);
        let cells_max = self.limits.cells_per_batch_max;
        let state = &mut self.ranges[usize::from(range.0)];
        let new = || {
            self.held.counters += 1;
            CounterBuffer::new(cells_max)
        };
        let pending = state.pending.entry(counter.clone());
        pending.or_insert_with(new).push(part);
        state.queue(counter);
        if state.lock == LockState::Idle {
            state.lock = LockState::Queued;
            self.commands.push(Command::Acquire(range));
        }
        if rule::may_send(state.lock) {
            self.wake(range);
        }
    }
}
