//! Turns: ranges send one after the other, each all that was collected in it when its turn began.
//!
//! While a range waits for its turn, its contributions are collected, and those of one counter fold into one batch: the
//! longer the backlog makes it wait, the more. Without a backlog nothing else is to be sent, so its turn comes at once.
//!
//! Nothing is begun that the present turn has not reached. So a stop, a hand-over, a yield or a kill finds few ranges in
//! which something is begun, and the checkpoint of every other range is exactly behind what it has sent: what is
//! collected is given back as if it had never been delivered (rule P6).

use std::collections::BTreeMap;

use stitch_common::offset::Partition;
use stitch_common::range::RangeId;

use super::Engine;
use super::acks::AckTracker;
use super::buffer::Contribution;
use super::range::RangeQueue;

/// Which contributions the range's turns have reached.
pub(super) fn reached(
    acks: &BTreeMap<Partition, AckTracker>,
) -> impl Fn(&Contribution) -> bool + use<'_> {
    |contribution| {
        acks.get(&contribution.partition)
            .is_some_and(|acks| acks.is_of_turn(contribution.seq))
    }
}

impl RangeQueue {
    /// Begins the next turn with what is collected: all of it, or, if that adds to more than `counters_max` counters, only
    /// so many events, in equal shares of each partition's: however they are spread, they add to no more counters.
    pub(super) fn begin_turn(&mut self, counters_max: usize) {
        let events: u64 = self.acks.values().map(AckTracker::collected).sum();
        let all = self.collected.len() <= counters_max;
        let reached = if all {
            events
        } else {
            events.min(counters_max as u64)
        };
        for acks in self.acks.values_mut().filter(|acks| acks.collected() > 0) {
            acks.extend_turn((acks.collected() * reached).div_ceil(events));
        }
        for counter in std::mem::take(&mut self.collected) {
            if let Some(buffer) = self.counters.get_mut(&counter) {
                buffer.queued = false;
            }
            self.enqueue(counter);
        }
    }
}

impl Engine {
    /// The range that sends next, and whether its turn is yet to begin: another one only when those whose turn it is have
    /// nothing more to send.
    pub(super) fn next_range(&mut self) -> Option<(RangeId, bool)> {
        if let Some(range) = self.in_turn.pop_front() {
            self.range(range).in_turn = false;
            return Some((range, false));
        }
        let range = self.awaiting_turn.pop_front()?;
        self.range(range).awaits_turn = false;
        Some((range, true))
    }

    /// Enqueues the range among those that send, or wait for their turn, unless it is there or has nothing to send. One
    /// that yields comes first: a restoration waits for it, and it is finished soon.
    pub(super) fn wake(&mut self, range: RangeId) {
        let queue = &mut self.ranges[usize::from(range.0)];
        if !queue.sendable.is_empty() && !queue.in_turn {
            queue.in_turn = true;
            if queue.lock.is_yielding() {
                self.in_turn.push_front(range);
            } else {
                self.in_turn.push_back(range);
            }
        }
        if !queue.collected.is_empty() && !queue.awaits_turn {
            queue.awaits_turn = true;
            self.awaiting_turn.push_back(range);
        }
    }

    /// Has the range come first, whose turn it may be already.
    pub(super) fn wake_first(&mut self, range: RangeId) {
        self.range(range).in_turn = false;
        self.in_turn.retain(|other| *other != range);
        self.wake(range);
    }
}
