//! Ingestion: records are decoded, rejected ones are copied to the dead-letter topic, events are divided by range.
//!
//! No event is ingested before the partition's ceiling in ZooKeeper is above it, so none is begun (rule P9).
//!
//! No event is ingested before every rejected record below it is copied. So the checkpoint can never pass an uncopied
//! one, and nothing above it is begun: a range that yields need not wait for Kafka.

use std::collections::BTreeMap;

use stitch_common::checkpoint::{Ceiling, Checkpoint};
use stitch_common::clock::Moment;
use stitch_common::event::{Decoded, Event};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Record};
use stitch_common::range::RangeId;
use stitch_protocol::doubt::DoubtCause;

use super::buffer::{Contribution, CounterBuffer, CounterRef};
use super::dead_letters::RejectedRecord;
use super::partition::{PartitionState, PartitionTask, StagedRecords};
use super::range::LockState;
use super::{Command, Engine, rule, usage};
use crate::metrics;

impl Engine {
    /// The group has assigned this partition to this process.
    pub(crate) fn assign(&mut self, partition: Partition, now: Moment) {
        if self.stopping {
            return;
        }
        match self.partitions.get_mut(&partition) {
            None => {
                self.partitions.insert(partition, PartitionTask::new(now));
                self.commands.push(Command::AcquirePartition(partition));
            }
            Some(task) => match task.state {
                PartitionState::Draining { .. } | PartitionState::Releasing => {
                    task.assigned_again = true;
                }
                PartitionState::Acquiring | PartitionState::Counting => {}
            },
        }
    }

    /// The partition's lock is held, and `checkpoint` and `ceiling` were read under it. Its records are to be delivered from `from`,
    /// which is not above any range's offset unless nothing lies between.
    pub(crate) fn on_partition_acquired(
        &mut self,
        partition: Partition,
        checkpoint: Checkpoint,
        ceiling: Ceiling,
        from: Offset,
    ) {
        let Some(task) = self.partitions.get_mut(&partition) else {
            return;
        };
        if task.state != PartitionState::Acquiring {
            return;
        }
        self.last_epoch += 1;
        let epoch = AssignmentEpoch(self.last_epoch);
        task.state = PartitionState::Counting;
        task.epoch = epoch;
        task.ingested_end = from;
        task.resumed = checkpoint.clone();
        task.checkpoint = checkpoint;
        (task.ceiling, task.found_ceiling) = (ceiling, ceiling);
        task.doubted.clear();
        self.commands
            .push(Command::StartFeed(partition, from, epoch));
        self.commit_due = true;
        self.on_suspended_acquired(partition);
    }

    /// The feed has delivered these records.
    pub(crate) fn on_records(
        &mut self,
        partition: Partition,
        epoch: AssignmentEpoch,
        records: Vec<Record>,
    ) {
        let Some(task) = Self::counting_task(&mut self.partitions, partition, epoch) else {
            return;
        };
        let mut staged = StagedRecords::up_to(task.delivered_end());
        let mut verdicts = metrics::Verdicts::default();
        for record in records {
            if record.offset < staged.end_offset {
                continue;
            }
            staged.end_offset = record.offset.next();
            match self.decoder.decode(record.value.as_deref()) {
                Decoded::Ignored => verdicts.ignored += 1,
                Decoded::Event(event) => {
                    verdicts.counted += 1;
                    staged.bytes += usage::event_bytes(&event);
                    staged.events.push((record.offset, event));
                }
                Decoded::Rejected(rejection) => {
                    verdicts.rejected += 1;
                    let reason = rejection.to_string();
                    staged.bytes += usage::rejected_bytes(&record, &reason);
                    staged.uncopied += 1;
                    let rejected = RejectedRecord { record, reason };
                    task.dead_letters.push(rejected);
                }
            }
        }
        verdicts.report();
        self.copy_rejected(partition);
        self.stage(partition, staged);
    }

    /// The feed has delivered every record below `end_offset`.
    pub(crate) fn on_end_reached(
        &mut self,
        partition: Partition,
        epoch: AssignmentEpoch,
        end_offset: Offset,
    ) {
        let Some(task) = Self::counting_task(&mut self.partitions, partition, epoch) else {
            return;
        };
        if end_offset > task.delivered_end() {
            self.stage(partition, StagedRecords::up_to(end_offset));
        } else if task.staged.is_empty() {
            self.on_suspended_at_the_end(partition, end_offset);
        }
    }

    fn counting_task(
        tasks: &mut BTreeMap<Partition, PartitionTask>,
        partition: Partition,
        epoch: AssignmentEpoch,
    ) -> Option<&mut PartitionTask> {
        let task = tasks.get_mut(&partition)?;
        (task.state == PartitionState::Counting && task.epoch == epoch).then_some(task)
    }

    fn stage(&mut self, partition: Partition, records: StagedRecords) {
        if let Some(task) = self.partitions.get_mut(&partition) {
            self.usage.add_staged(&records);
            task.staged.push_back(records);
        }
        self.ingest_staged(partition);
    }

    /// Ingests the staged records that wait for nothing. They take no more of the window than before.
    pub(super) fn ingest_staged(&mut self, partition: Partition) {
        while let Some(task) = self.partitions.get_mut(&partition)
            && let ceiling = task.ceiling
            && let Some(records) = task
                .staged
                .pop_front_if(|records| records.uncopied == 0 && records.is_below(ceiling))
        {
            self.usage.remove_staged(&records);
            for (offset, event) in records.events {
                self.ingest(partition, offset, event);
            }
            if let Some(task) = self.partitions.get_mut(&partition) {
                task.ingested_end = records.end_offset;
            }
            self.on_suspended_ingested(partition, records.end_offset);
        }
    }

    /// Divides an event by range and counter. A range that resumed above it has acknowledged it already.
    fn ingest(&mut self, partition: Partition, offset: Offset, event: Event) {
        let Some(task) = self.partitions.get(&partition) else {
            return;
        };
        let mut by_range = Vec::with_capacity(event.increments.len());
        for increment in event.increments {
            let range = self.range_bits.range_of(increment.counter.token());
            if rule::is_counted(task.resumed.of(range), offset) {
                let counter = CounterRef {
                    definition: increment.definition,
                    key: increment.counter.key,
                };
                by_range.push((range, counter, increment.amount));
            }
        }
        by_range.sort_by_key(|(range, _, _)| *range);
        for increments in by_range.chunk_by(|a, b| a.0 == b.0) {
            let range = increments[0].0;
            if self.sets_aside(range, partition) {
                self.set_aside(range, partition, offset);
                continue;
            }
            self.doubt_takeover(range, partition, offset);
            let contributions_max = self.limits.turn_counters_max;
            let queue = self.range(range);
            let turn = queue.turns.of_next_event(contributions_max);
            let acks = queue.acks.entry(partition).or_default();
            acks.ingest(turn, offset);
            self.usage.add_event();
            for (_, counter, amount) in increments {
                let granularities = self.definitions[counter.definition].1;
                let contribution = Contribution {
                    partition,
                    turn,
                    time: granularities.shortest_bucket(event.time),
                    amount: *amount,
                    granularities,
                };
                self.enqueue(range, counter, contribution);
            }
        }
    }

    /// Records a doubt, once for a range and a takeover, if a former owner may have applied the event: nothing of the range
    /// is begun before it is recorded.
    fn doubt_takeover(&mut self, range: RangeId, partition: Partition, offset: Offset) {
        let Some(task) = self.partitions.get_mut(&partition) else {
            return;
        };
        if !rule::is_taken_over(offset, task.found_ceiling) || !task.doubted.insert(range) {
            return;
        }
        let (first, end) = (task.resumed.of(range), task.found_ceiling.acknowledged());
        let detail = format!(
            "events of partition {partition} from offset {first} up to {end} may have been counted by a member that ended \
             early, and are counted again"
        );
        self.range(range).takeovers += 1;
        let command = Command::RecordDoubt(range, DoubtCause::Takeover, detail);
        self.commands.push(command);
    }

    fn enqueue(&mut self, range: RangeId, counter: &CounterRef, contribution: Contribution) {
        let cells_max = self.limits.cells_per_batch_max;
        let queue = &mut self.ranges[usize::from(range.0)];
        let buffer = queue.counters.entry(counter.clone()).or_insert_with(|| {
            self.usage.add_counter(counter);
            CounterBuffer::new(cells_max)
        });
        if !buffer.push(contribution) {
            return;
        }
        queue.turns.add_contribution();
        self.usage.add_contribution();
        let acks = queue.acks.entry(contribution.partition).or_default();
        acks.add_contribution(contribution.turn);
        queue.enqueue(counter.clone());
        if queue.lock == LockState::Idle {
            queue.lock = LockState::Queued;
            self.commands.push(Command::AcquireRange(range));
        }
        if rule::may_send(queue.lock) {
            self.wake(range);
        }
    }
}
