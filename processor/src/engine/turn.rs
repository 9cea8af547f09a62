//! Turns: ranges send one after the other, each all that was collected in it when its turn began.
//!
//! While a range waits for its turn, its events are collected, and those of one counter fold into one batch: the longer the
//! backlog makes it wait, the more. Without a backlog nothing else is to be sent, so its turn comes at once.
//!
//! Nothing is begun that the present turn has not reached. So a stop, a hand-over, a yield or a kill finds few ranges in
//! which something is begun, and the checkpoint of every other range is exactly behind what it has sent: what is
//! collected is given back as if it had never been delivered (rule P6).

use stitch_common::range::RangeId;

use super::Engine;
use super::acks::TurnNumber;
use super::range::RangeQueue;

/// The turns of one range.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The one for which events are collected.
    collecting: TurnNumber,
    /// How many contributions are collected for it.
    contributions: usize,
    /// The first one that was not reached yet. Several may be collected from it on: each is bounded.
    unreached: TurnNumber,
}

impl Turns {
    /// The turn that sends the next event. It is another one than before if that has `contributions_max` contributions: what
    /// is begun of a turn must be finished, however short the time for it is.
    pub(super) const fn of_next_event(&mut self, contributions_max: usize) -> TurnNumber {
        if self.contributions >= contributions_max {
            self.close();
        }
        self.collecting
    }

    /// Another contribution is collected.
    pub(super) const fn add_contribution(&mut self) {
        self.contributions += 1;
    }

    /// Whether this turn is the present one, or an earlier one.
    pub(super) fn has_reached(&self, turn: TurnNumber) -> bool {
        turn < self.unreached
    }

    fn begin(&mut self) {
        if self.unreached == self.collecting {
            self.close();
        }
        self.unreached = self.unreached.next();
    }

    const fn close(&mut self) {
        self.collecting = self.collecting.next();
        self.contributions = 0;
    }
}

impl RangeQueue {
    /// Begins the next turn with what is collected for it.
    pub(super) fn begin_turn(&mut self) {
        self.turns.begin();
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
