//! Letting go (rules P5 to P8): marks, progress, yields, hand-overs and the clean stop.
//!
//! They have one pattern: nothing new is begun; what was begun is finished, marked or given up; progress is written
//! exactly behind it; only then the lock goes.

use std::collections::BTreeSet;

use stitch_common::check_invariant;
use stitch_common::checkpoint::Checkpoint;
use stitch_common::clock::Moment;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::range::RangeId;

use super::acks::AckTracker;
use super::buffer::{Contribution, CounterRef};
use super::partition::PartitionState;
use super::range::LockState;
use super::rule;
use super::{Command, Engine};
use crate::metrics;

impl Engine {
    /// The range's shared lock is held.
    pub(crate) fn granted(&mut self, range: RangeId) {
        let state = &mut self.ranges[usize::from(range.0)];
        for (partition, track) in &state.tracks {
            let Some(known) = self.partitions.get(partition) else {
                continue;
            };
            check_invariant!(
                ResumeAtCut,
                track.progress(known.taken_in) >= known.written.of(range),
                "range {range} would resume partition {partition} below its progress"
            );
        }
        state.lock = LockState::Held;
        state.queue_all();
        self.wake(range);
    }

    /// Somebody asks for the range with a later exclusive node.
    pub(crate) fn yield_asked(&mut self, range: RangeId, now: Moment) {
        let give_up = now.plus(self.limits.drain_timeout);
        let state = self.range(range);
        if rule::yields_when_asked(state.lock) {
            state.lock = LockState::Yielding { give_up };
            state.queue_all();
            state.set_ready(false);
            self.ready.retain(|waiting| *waiting != range);
            self.wake(range);
            self.attention.insert(range);
        }
    }

    /// The range's READ node is gone. What is parked queues for a new one, behind whoever asked.
    pub(crate) fn released(&mut self, range: RangeId) {
        let stopping = self.stopping;
        let state = self.range(range);
        state.lock = LockState::Idle;
        if !stopping && state.pending.values().any(|pending| !pending.is_empty()) {
            state.lock = LockState::Queued;
            self.commands.push(Command::Acquire(range));
        }
    }

    /// The partition is to go to another process, or has gone already.
    pub(crate) fn revoked(&mut self, partition: Partition, now: Moment) {
        let give_up = now.plus(self.limits.hand_over_timeout);
        let Some(known) = self.partitions.get_mut(&partition) else {
            return;
        };
        known.assigned_again = false;
        match known.stage {
            PartitionState::Acquiring => {
                known.stage = PartitionState::Releasing;
                self.commands.push(Command::GiveBack(partition));
            }
            PartitionState::Counting => {
                known.stage = PartitionState::Draining { give_up };
                let staged = std::mem::take(&mut known.staged);
                self.held.bytes -= staged.iter().map(|one| one.bytes).sum::<usize>();
                self.commands.push(Command::Stop(partition));
                for range in self.ranges_of(partition) {
                    self.range(range).queue_all();
                    self.wake(range);
                }
            }
            PartitionState::Draining { .. } | PartitionState::Releasing => {}
        }
    }

    /// The partition's lock is released, or was given up before it was held.
    pub(crate) fn given_back(&mut self, partition: Partition, now: Moment) {
        let again = self
            .partitions
            .remove(&partition)
            .is_some_and(|known| known.assigned_again);
        if again {
            self.assigned(partition, now);
        }
    }

    /// Begin nothing new and let go of everything; see [`Engine::is_finished`].
    pub(crate) fn stop(&mut self, now: Moment) {
        self.stopping = true;
        let all: Vec<_> = self.partitions.keys().copied().collect();
        for partition in all {
            self.revoked(partition, now);
        }
    }

    /// The progress that was being written is in ZooKeeper.
    pub(crate) fn progress_written(&mut self, partition: Partition) {
        if let Some(known) = self.partitions.get_mut(&partition)
            && let Some(written) = known.writing.take()
        {
            known.written = written;
            self.commit_due = true;
        }
    }

    /// The group did not take the last commit: what is written by now is committed again.
    pub(crate) const fn commit_failed(&mut self) {
        self.commit_due = true;
    }

    /// Lets go of what can be let go of at `now`.
    pub(super) fn settle(&mut self, now: Moment) {
        for range in self.attention.clone() {
            self.marker(range);
            let state = self.range(range);
            match state.lock {
                LockState::Yielding { give_up } => {
                    if now >= give_up {
                        self.give_up(range, None);
                    }
                    self.settle_yield(range, now);
                }
                LockState::Idle | LockState::Queued | LockState::Held | LockState::Releasing => {}
            }
            if !self.range(range).needs_attention() {
                self.attention.remove(&range);
            }
        }
        let partitions: Vec<_> = self.partitions.keys().copied().collect();
        for partition in partitions {
            self.settle_partition(partition, now);
        }
        self.commit();
    }

    /// One mark stands for every unknown part that came before it was begun; what becomes unknown meanwhile gets
    /// another.
    fn marker(&mut self, range: RangeId) {
        let state = self.range(range);
        if state.marking.is_none() && !state.unmarked.is_empty() {
            state.marking = Some(std::mem::take(&mut state.unmarked));
            if !rule::needs_marker() {
                return self.marked(range);
            }
            self.commands.push(Command::Marker(range));
        }
    }

    /// Rule P6: progress exactly behind what was begun, partition by partition; only then the READ node goes.
    fn settle_yield(&mut self, range: RangeId, now: Moment) {
        let state = self.range(range);
        if !state.is_settled() {
            return;
        }
        let partitions = &self.partitions;
        let tracks = self.ranges[usize::from(range.0)].tracks.iter();
        let untold: Vec<_> = tracks
            .filter(|(partition, track)| {
                let known = partitions.get(partition);
                known.is_some_and(|known| !rule::is_told(track, known.written.of(range)))
            })
            .map(|(partition, _)| *partition)
            .collect();
        for &partition in &untold {
            self.write_progress(partition, now);
        }
        if untold.is_empty() {
            self.range(range).lock = LockState::Releasing;
            self.commands.push(Command::Release(range));
        }
    }

    fn settle_partition(&mut self, partition: Partition, now: Moment) {
        let Some(known) = self.partitions.get(&partition) else {
            return;
        };
        match known.stage {
            PartitionState::Counting if now >= known.write_due => {
                self.write_progress(partition, now)
            }
            PartitionState::Draining { give_up } => {
                let ranges = self.ranges_of(partition);
                if now >= give_up {
                    for &range in &ranges {
                        self.give_up(range, Some(partition));
                    }
                }
                let settled = |range: &RangeId| {
                    self.ranges[usize::from(range.0)].tracks[&partition].is_settled()
                };
                if ranges.iter().all(settled) {
                    self.hand_over(partition, &ranges, now);
                }
            }
            PartitionState::Acquiring | PartitionState::Counting | PartitionState::Releasing => {}
        }
    }

    /// Writes the last progress; once that stands, forgets what was not begun and gives the lock back.
    fn hand_over(&mut self, partition: Partition, ranges: &[RangeId], now: Moment) {
        let known = &self.partitions[&partition];
        if known.writing.is_some() {
            return;
        }
        if !rule::may_hand_over(&known.written, &self.progress(partition)) {
            self.write_progress(partition, now);
            return;
        }
        for &range in ranges {
            self.forget(range, partition);
        }
        if let Some(known) = self.partitions.get_mut(&partition) {
            known.stage = PartitionState::Releasing;
        }
        self.commands.push(Command::GiveBack(partition));
    }

    fn write_progress(&mut self, partition: Partition, now: Moment) {
        let progress = self.progress(partition);
        let interval = self.limits.checkpoint_interval;
        let bits = self.bits;
        let Some(known) = self.partitions.get_mut(&partition) else {
            return;
        };
        if known.writing.is_some() {
            return;
        }
        known.write_due = now.plus(interval);
        if known.written == progress {
            return;
        }
        for range in bits.ranges() {
            check_invariant!(
                CheckpointNeverAhead,
                progress.of(range) >= known.written.of(range),
                "progress of range {range} in partition {partition} would go back"
            );
        }
        known.writing = Some(progress.clone());
        self.commands
            .push(Command::WriteProgress(partition, progress));
    }

    /// Rule P5: for every range the first event that is not answered.
    fn progress(&self, partition: Partition) -> Checkpoint {
        let known = &self.partitions[&partition];
        Checkpoint::from_ranges(self.bits, |range| {
            let track = self.ranges[usize::from(range.0)].tracks.get(&partition);
            rule::answered(track, known.taken_in, known.resumed.of(range))
        })
    }

    fn commit(&mut self) {
        if !std::mem::take(&mut self.commit_due) {
            return;
        }
        let offsets = self
            .partitions
            .iter()
            .filter(|(_, known)| known.holds_lock())
            .map(|(partition, known)| (*partition, known.written.lowest(self.bits)))
            .collect();
        self.commands.push(Command::Commit(Offsets(offsets)));
    }

    /// What must be finished and could not be applied becomes suspect: whoever asked will repair it.
    fn give_up(&mut self, range: RangeId, only: Option<Partition>) {
        let state = &mut self.ranges[usize::from(range.0)];
        let tracks = &state.tracks;
        let mut given_up: Vec<(CounterRef, Vec<Contribution>)> = state
            .pending
            .iter_mut()
            .map(|(counter, pending)| {
                let parts = pending.remove(|part| {
                    only.is_some_and(|only| only != part.partition)
                        || !tracks[&part.partition].must_finish(part.place)
                });
                (counter.clone(), parts)
            })
            .filter(|(_, parts)| !parts.is_empty())
            .collect();
        given_up.sort_by(|a, b| a.0.cmp(&b.0));
        for (counter, parts) in given_up {
            let cells = parts
                .iter()
                .map(|part| part.granularities.iter().count())
                .sum();
            tracing::warn!(
                %range, key = %counter.key.0, cells,
                "increments could not be applied in time, given up as suspect"
            );
            metrics::suspects(cells);
            self.answer(range, &counter, &parts, AckTracker::given_up);
            self.tidy(range, &counter);
        }
    }

    /// Forgets events that were not begun: their next owner begins them.
    fn forget(&mut self, range: RangeId, partition: Partition) {
        let state = &mut self.ranges[usize::from(range.0)];
        let mut weight = 0;
        let mut touched = BTreeSet::new();
        for (counter, pending) in &mut state.pending {
            let parts = pending.remove(|part| part.partition != partition);
            if !parts.is_empty() {
                weight += Self::weight(counter) * parts.len();
                touched.insert(counter.clone());
            }
        }
        let events = state
            .tracks
            .remove(&partition)
            .map_or(0, |track| track.len());
        self.held.bytes -= weight;
        self.held.events -= events;
        for counter in touched {
            self.tidy(range, &counter);
        }
    }

    fn ranges_of(&self, partition: Partition) -> Vec<RangeId> {
        let has = |range: &RangeId| {
            self.ranges[usize::from(range.0)]
                .tracks
                .contains_key(&partition)
        };
        self.bits.ranges().filter(has).collect()
    }

    /// Where each partition that is held stands in ZooKeeper and how far it was taken in, for the metrics.
    pub(crate) fn positions(&self) -> Vec<(Partition, Offset, Offset)> {
        let held = self
            .partitions
            .iter()
            .filter(|(_, known)| known.holds_lock());
        held.map(|(partition, known)| (*partition, known.written.lowest(self.bits), known.taken_in))
            .collect()
    }
}
