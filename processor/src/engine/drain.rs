//! Draining (rules P5 to P8): in-doubt markers, checkpoints, yields, hand-overs and the clean stop.
//!
//! All have one pattern: nothing new is begun; what was begun is finished, marked or given up; the checkpoint is written
//! exactly behind it; only then is the lock released.

use std::collections::{BTreeMap, BTreeSet};

use stitch_common::check_invariant;
use stitch_common::checkpoint::{Ceiling, Checkpoint};
use stitch_common::clock::Moment;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::range::RangeId;
use stitch_protocol::doubt::DoubtCause;

use super::acks::AckTracker;
use super::buffer::{Contribution, CounterRef};
use super::partition::PartitionState;
use super::range::LockState;
use super::{Command, Engine, rule};
use crate::metrics;

impl Engine {
    /// The range's shared lock is held.
    pub(crate) fn on_range_acquired(&mut self, range: RangeId) {
        let queue = &self.ranges[usize::from(range.0)];
        let below = queue.acks.iter().filter(|(partition, acks)| {
            let task = self.partitions.get(*partition);
            task.is_some_and(|task| acks.checkpoint(task.ingested_end) < task.checkpoint.of(range))
        });
        let below: Vec<Partition> = below.map(|(partition, _)| *partition).collect();
        self.range(range).halted |= !below.is_empty();
        for partition in below {
            let detail = format!("it would resume partition {partition} below its checkpoint");
            self.doubt_protocol(range, detail);
            check_invariant!(
                ResumeAtCut,
                false,
                "range {range} would resume partition {partition} below its checkpoint"
            );
        }
        let queue = self.range(range);
        queue.lock = LockState::Held;
        queue.enqueue_all();
        self.wake(range);
    }

    /// A restoration asks for the range, with an exclusive entry behind this member's shared one.
    pub(crate) fn on_revocation_request(&mut self, range: RangeId, now: Moment) {
        let give_up = now.plus(self.limits.drain_timeout);
        let queue = self.range(range);
        if rule::yields_when_asked(queue.lock) {
            queue.lock = LockState::Yielding { give_up };
            queue.retry_refused(None);
            queue.enqueue_all();
            self.wake_first(range);
            self.attention.insert(range);
        }
    }

    /// The range's READ node is deleted. Blocked events queue for a new one, behind the restoration's.
    pub(crate) fn on_range_released(&mut self, range: RangeId) {
        let stopping = self.stopping;
        let queue = self.range(range);
        queue.lock = LockState::Idle;
        if !stopping && queue.counters.values().any(|buffer| !buffer.is_empty()) {
            queue.lock = LockState::Queued;
            self.commands.push(Command::AcquireRange(range));
        }
    }

    /// The partition is to go to another process, or has gone already.
    pub(crate) fn revoke(&mut self, partition: Partition, now: Moment) {
        let give_up = now.plus(self.limits.hand_over_timeout);
        self.end_suspension(partition);
        let Some(task) = self.partitions.get_mut(&partition) else {
            return;
        };
        task.assigned_again = false;
        match task.state {
            PartitionState::Acquiring => {
                task.state = PartitionState::Releasing;
                self.commands.push(Command::ReleasePartition(partition));
            }
            PartitionState::Counting => self.begin_draining(partition, give_up),
            // Draining since it was suspended: from now on somebody waits for it.
            PartitionState::Draining { give_up: before } => {
                let give_up = give_up.min(before);
                task.state = PartitionState::Draining { give_up };
            }
            PartitionState::Releasing => {}
        }
    }

    /// Begins nothing else of the partition. Its records are delivered again to its next owner.
    pub(super) fn begin_draining(&mut self, partition: Partition, give_up: Moment) {
        let Some(task) = self.partitions.get_mut(&partition) else {
            return;
        };
        task.state = PartitionState::Draining { give_up };
        task.dead_letters.clear();
        for records in task.staged.drain(..) {
            self.usage.remove_staged(&records);
        }
        self.commands.push(Command::StopFeed(partition));
        for range in self.ranges_of(partition) {
            let queue = self.range(range);
            queue.retry_refused(None);
            queue.enqueue_all();
            self.wake(range);
        }
    }

    /// The partition's lock is released, or the wait for it was cancelled.
    pub(crate) fn on_partition_released(&mut self, partition: Partition, now: Moment) {
        let task = self.partitions.remove(&partition);
        if task.is_some_and(|task| task.assigned_again) {
            self.assign(partition, now);
        } else {
            self.pause_suspended(partition, now);
        }
    }

    /// Begins nothing new and releases everything; see [`Engine::is_finished`].
    pub(crate) fn stop(&mut self, now: Moment) {
        self.stopping = true;
        let (tasks, suspended) = (self.partitions.keys(), self.suspensions.keys());
        let partitions: BTreeSet<_> = tasks.chain(suspended).copied().collect();
        for partition in partitions {
            self.revoke(partition, now);
        }
    }

    /// The checkpoint and the ceiling that were being written are in ZooKeeper.
    pub(crate) fn on_checkpoint_written(&mut self, partition: Partition) {
        if let Some(task) = self.partitions.get_mut(&partition)
            && let Some((checkpoint, ceiling)) = task.writing.take()
        {
            task.refused_until = None;
            self.commit_due |= task.checkpoint != checkpoint;
            (task.checkpoint, task.ceiling) = (checkpoint, ceiling);
            self.ingest_staged(partition);
        }
    }

    /// The group did not accept the last commit: the present checkpoints are committed next.
    pub(crate) const fn on_commit_failed(&mut self) {
        self.commit_due = true;
    }

    /// Releases what can be released at `now`, and writes the checkpoints that are due.
    pub(super) fn drain(&mut self, now: Moment) {
        for range in self.attention.clone() {
            self.create_marker(range);
            self.record_given_up(range);
            self.range(range).retry_refused(Some(now));
            self.wake(range);
            if let LockState::Yielding { give_up } = self.range(range).lock {
                if now >= give_up {
                    self.give_up(range, None);
                }
                self.drain_range(range, now);
            }
            if !self.range(range).needs_attention() {
                self.attention.remove(&range);
            }
        }
        let partitions: Vec<_> = self.partitions.keys().copied().collect();
        for partition in partitions {
            self.drain_partition(partition, now);
        }
        self.commit();
    }

    /// One marker covers every contribution whose outcome became unknown before it was begun. Those that become unknown
    /// meanwhile get another.
    fn create_marker(&mut self, range: RangeId) {
        let queue = self.range(range);
        if queue.marking.is_none() && !queue.unmarked.is_empty() {
            queue.marking = Some(std::mem::take(&mut queue.unmarked));
            if rule::needs_marker() {
                self.commands.push(Command::CreateMarker(range));
            } else {
                self.on_marker_created(range);
            }
        }
    }

    /// Records a doubt for what was given up. What is given up meanwhile gets another.
    fn record_given_up(&mut self, range: RangeId) {
        let queue = &mut self.ranges[usize::from(range.0)];
        if queue.doubting.is_some() || queue.undoubted.is_empty() {
            return;
        }
        let given_up = std::mem::take(&mut queue.undoubted);
        let detail = describe(&given_up, &queue.acks);
        queue.doubting = Some(given_up);
        if rule::needs_doubt() {
            self.commands
                .push(Command::RecordDoubt(range, DoubtCause::GivenUp, detail));
        } else {
            self.on_doubt_recorded(range, DoubtCause::GivenUp);
        }
    }

    /// Rule P6: checkpoints exactly behind what was begun, partition by partition; only then is the READ node deleted.
    fn drain_range(&mut self, range: RangeId, now: Moment) {
        let queue = &self.ranges[usize::from(range.0)];
        if !queue.is_drained() {
            return;
        }
        let unwritten: Vec<_> = queue
            .acks
            .iter()
            .filter(|(partition, acks)| {
                let task = self.partitions.get(partition).filter(|task| !task.forsaken);
                task.is_some_and(|task| !rule::is_checkpointed(acks, task.checkpoint.of(range)))
            })
            .map(|(partition, _)| *partition)
            .collect();
        for &partition in &unwritten {
            self.write_checkpoint(partition, now);
        }
        if unwritten.is_empty() {
            self.range(range).lock = LockState::Releasing;
            self.commands.push(Command::ReleaseRange(range));
        }
    }

    fn drain_partition(&mut self, partition: Partition, now: Moment) {
        let task = &self.partitions[&partition];
        match task.state {
            PartitionState::Counting
                if now >= task.write_due
                    || (now >= task.raise_due && task.wants_higher_ceiling()) =>
            {
                self.write_checkpoint(partition, now);
            }
            PartitionState::Draining { give_up } => {
                let ranges = self.ranges_of(partition);
                if now >= give_up {
                    for &range in &ranges {
                        self.give_up(range, Some(partition));
                    }
                }
                let is_drained = |range: &RangeId| {
                    self.ranges[usize::from(range.0)].acks[&partition].is_drained()
                };
                if ranges.iter().all(is_drained) {
                    self.hand_over(partition, &ranges, now);
                }
            }
            PartitionState::Acquiring | PartitionState::Counting | PartitionState::Releasing => {}
        }
    }

    /// Writes the last checkpoint and ceiling. Once they are in ZooKeeper, discards what was not begun and releases the
    /// lock.
    fn hand_over(&mut self, partition: Partition, ranges: &[RangeId], now: Moment) {
        let task = &self.partitions[&partition];
        if task.writing.is_some() || task.is_refused(now) {
            return;
        }
        let suspended = self.suspensions.contains_key(&partition);
        let last = self.checkpoint(partition);
        let ceiling = rule::last_ceiling(&last, task.found_ceiling, self.range_bits);
        let (written, last_written) = ((&task.checkpoint, task.ceiling), (&last, ceiling));
        if !task.forsaken && !rule::may_hand_over(written, last_written, suspended) {
            self.write(partition, last, ceiling, now);
            return;
        }
        for &range in ranges {
            self.discard(range, partition);
        }
        if let Some(task) = self.partitions.get_mut(&partition) {
            task.state = PartitionState::Releasing;
        }
        self.commands.push(Command::ReleasePartition(partition));
    }

    /// Writes the checkpoint, and the ceiling above all that has been delivered, unless nothing needs either.
    fn write_checkpoint(&mut self, partition: Partition, now: Moment) {
        let checkpoint = self.checkpoint(partition);
        let Some(task) = self.partitions.get_mut(&partition) else {
            return;
        };
        if task.writing.is_some() || task.forsaken || task.is_refused(now) {
            return;
        }
        task.write_due = now.plus(self.limits.checkpoint_interval);
        if task.checkpoint == checkpoint && !task.wants_higher_ceiling() {
            return;
        }
        let ceiling = task.raised_ceiling(checkpoint.highest(self.range_bits));
        self.write(partition, checkpoint, ceiling, now);
    }

    fn write(
        &mut self,
        partition: Partition,
        checkpoint: Checkpoint,
        ceiling: Ceiling,
        now: Moment,
    ) {
        let Some(task) = self.partitions.get_mut(&partition) else {
            return;
        };
        task.write_due = now.plus(self.limits.checkpoint_interval);
        task.raise_due = now.plus(self.limits.ceiling_interval);
        for range in self.range_bits.ranges() {
            let advances = checkpoint.of(range) >= task.checkpoint.of(range);
            if !advances {
                let detail = format!("its checkpoint in partition {partition} would go back");
                let doubt = Command::RecordDoubt(range, DoubtCause::Invariant, detail);
                self.commands.push(doubt);
            }
            if !check_invariant!(
                CheckpointNeverAhead,
                advances,
                "the checkpoint of range {range} in partition {partition} would go back"
            ) {
                self.range(range).halted = true;
                return;
            }
        }
        task.writing = Some((checkpoint.clone(), ceiling));
        self.commands
            .push(Command::WriteCheckpoint(partition, checkpoint, ceiling));
    }

    /// Rule P5: for every range the first unacknowledged event.
    fn checkpoint(&self, partition: Partition) -> Checkpoint {
        let task = &self.partitions[&partition];
        Checkpoint::from_ranges(self.range_bits, |range| {
            let acks = self.ranges[usize::from(range.0)].acks.get(&partition);
            rule::checkpoint(acks, task.ingested_end, task.resumed.of(range))
        })
    }

    fn commit(&mut self) {
        if !std::mem::take(&mut self.commit_due) {
            return;
        }
        let offsets = self
            .partitions
            .iter()
            .filter(|(_, task)| task.holds_lock())
            .map(|(partition, task)| (*partition, task.checkpoint.lowest(self.range_bits)))
            .collect();
        self.commands.push(Command::Commit(Offsets(offsets)));
    }

    /// Gives up what must be finished and could not be applied in time: it becomes suspect, and is acknowledged once a
    /// doubt of its range is recorded. The restoration that asked for the range repairs it. Without `only`, in all partitions.
    fn give_up(&mut self, range: RangeId, only: Option<Partition>) {
        let queue = &mut self.ranges[usize::from(range.0)];
        let acks = &queue.acks;
        let mut given_up: Vec<(CounterRef, Vec<Contribution>)> = queue
            .counters
            .iter_mut()
            .map(|(counter, buffer)| {
                let removed = buffer.remove(|contribution| {
                    only.is_some_and(|only| only != contribution.partition)
                        || !acks[&contribution.partition].must_finish(contribution.turn)
                });
                (counter.clone(), removed)
            })
            .filter(|(_, removed)| !removed.is_empty())
            .collect();
        if !given_up.is_empty() {
            queue.dequeue_empty();
        }
        given_up.sort_by(|a, b| a.0.cmp(&b.0));
        for (counter, contributions) in given_up {
            let cells = contributions.iter().map(|one| one.cells().count()).sum();
            tracing::warn!(
                %range, key = %counter.key.0, cells,
                "increments could not be applied in time, given up as suspect"
            );
            metrics::suspects(cells);
            self.usage.remove_contributions(contributions.len());
            let queue = &mut self.ranges[usize::from(range.0)];
            for contribution in &contributions {
                let acks = queue.acks.get_mut(&contribution.partition);
                acks.expect("a partition is released only when nothing of it waits")
                    .give_up(contribution.turn);
            }
            queue.undoubted.extend(contributions);
            self.attention.insert(range);
            self.remove_idle(range, &counter);
        }
        self.record_given_up(range);
    }

    /// Discards events that were not begun: the partition's next owner begins them.
    fn discard(&mut self, range: RangeId, partition: Partition) {
        let queue = &mut self.ranges[usize::from(range.0)];
        let mut changed = Vec::new();
        for (counter, buffer) in &mut queue.counters {
            let removed = buffer.remove(|contribution| contribution.partition != partition);
            if !removed.is_empty() {
                self.usage.remove_contributions(removed.len());
                changed.push(counter.clone());
            }
        }
        if let Some(acks) = queue.acks.remove(&partition) {
            self.usage.remove_events(acks.events());
        }
        if !changed.is_empty() {
            queue.dequeue_empty();
        }
        for counter in changed {
            self.remove_idle(range, &counter);
        }
    }

    fn ranges_of(&self, partition: Partition) -> Vec<RangeId> {
        let ranges = self.range_bits.ranges().zip(&self.ranges);
        ranges
            .filter(|(_, queue)| queue.acks.contains_key(&partition))
            .map(|(range, _)| range)
            .collect()
    }

    /// The checkpoint of each locked partition and the offset up to which it was delivered, for the metrics.
    pub(crate) fn positions(&self) -> Vec<(Partition, Offset, Offset)> {
        self.partitions
            .iter()
            .filter(|(_, task)| task.holds_lock())
            .map(|(partition, task)| {
                let checkpoint = task.checkpoint.lowest(self.range_bits);
                (*partition, checkpoint, task.delivered_end())
            })
            .collect()
    }
}

/// Which events these contributions are of, for people.
fn describe(contributions: &[Contribution], acks: &BTreeMap<Partition, AckTracker>) -> String {
    let mut spans = BTreeMap::<Partition, (Offset, Offset)>::new();
    for contribution in contributions {
        let Some(acks) = acks.get(&contribution.partition) else {
            continue;
        };
        let (first, last) = acks.offsets(contribution.turn);
        let span = spans.entry(contribution.partition).or_insert((first, last));
        *span = (span.0.min(first), span.1.max(last));
    }
    let spans = spans.iter().map(|(partition, (first, last))| {
        format!("partition {partition}, offsets {first} to {last}")
    });
    spans.collect::<Vec<_>>().join("; ")
}
