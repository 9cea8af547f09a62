//! Set aside: a range that stands still keeps no more than its share of the window, so that the others go on.
//!
//! Its later events are not ingested. The checkpoint stays below the first of them in this range, as it does for every
//! event that is not acknowledged, and passes the others in the other ranges. Once the range moves again its partitions
//! are given back and acquired again at once: each range resumes where its own checkpoint is.

use stitch_common::offset::Partition;
use stitch_common::range::RangeId;

use super::acks::AckTracker;
use super::partition::PartitionState;
use super::suspend::NEVER;
use super::{Engine, rule, usage};

impl Engine {
    /// Whether the next event of this partition in this range is set aside.
    ///
    /// A range that is locked for a restoration is not meant: it moves again soon. Nor is any if half of all ranges stand
    /// still: then the servers do, and reading on would be useless.
    pub(super) fn sets_aside(&self, range: RangeId, partition: Partition) -> bool {
        let queue = &self.ranges[usize::from(range.0)];
        let acks = queue.acks.get(&partition);
        if acks.is_some_and(AckTracker::has_set_aside) {
            return true;
        }
        if queue.backoff.is_none() {
            return false;
        }
        let bytes = usage::range_bytes(queue.contributions(), queue.counters.len());
        let is_full = bytes > self.limits.window_bytes_max / (2 * self.ranges.len());
        let may_be_one_more =
            self.aside.contains(&range) || 2 * self.aside.len() < self.ranges.len();
        is_full && may_be_one_more
    }

    /// Sets the event at `offset` aside.
    pub(super) fn set_aside(
        &mut self,
        range: RangeId,
        partition: Partition,
        offset: stitch_common::offset::Offset,
    ) {
        self.aside.insert(range);
        if rule::remembers_set_aside() {
            let acks = self.range(range).acks.entry(partition).or_default();
            acks.set_aside(offset);
        }
    }

    /// Has the partitions delivered again of which a range that moves again has set events aside.
    pub(super) fn resume_set_aside(&mut self) {
        for range in self.aside.clone() {
            let queue = &self.ranges[usize::from(range.0)];
            let aside: Vec<_> = queue
                .acks
                .iter()
                .filter(|(_, acks)| acks.has_set_aside())
                .map(|(partition, _)| *partition)
                .collect();
            if aside.is_empty() {
                self.aside.remove(&range);
                continue;
            }
            if queue.backoff.is_some() && !queue.counters.is_empty() {
                continue;
            }
            for partition in aside {
                if self.could_drain(partition)
                    && let Some(task) = self.partitions.get_mut(&partition)
                    && task.state == PartitionState::Counting
                {
                    task.assigned_again = true;
                    self.begin_draining(partition, NEVER);
                }
            }
        }
    }

    /// Whether none of the partition's ranges stands still in the middle of an event.
    fn could_drain(&self, partition: Partition) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.all(|queue| {
            let acks = queue.acks.get(&partition);
            queue.backoff.is_none() || acks.is_none_or(AckTracker::is_drained)
        })
    }
}
