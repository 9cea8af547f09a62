//! One range: its shared lock, what waits in it, and what troubles it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use stitch_common::clock::Moment;
use stitch_common::offset::Partition;
use stitch_common::outcome::Cause;

use super::acks::AckTracker;
use super::buffer::{Contribution, CounterBuffer, CounterRef};
use super::rule;

/// What a processor knows of one range.
#[derive(Debug, Default)]
pub(crate) struct RangeState {
    pub(super) lock: LockState,
    /// By partition, what is not answered.
    pub(super) tracks: BTreeMap<Partition, AckTracker>,
    /// Parts that wait; a counter without parts and without a batch is not kept. Never iterated without sorting.
    pub(super) pending: HashMap<CounterRef, CounterBuffer>,
    /// Counters of `pending` that can be sent next, in the order in which they came.
    pub(super) queue: VecDeque<CounterRef>,
    /// Batches on their way.
    pub(super) in_flight: usize,
    /// Parts of unknown outcome for which no mark has been begun yet.
    pub(super) unmarked: Vec<Contribution>,
    /// Parts of unknown outcome that the mark on its way will answer.
    pub(super) marking: Option<Vec<Contribution>>,
    pub(super) trouble: Option<Backoff>,
    /// Why the store refuses this range's increments for good.
    pub(super) stopped: Option<Cause>,
    ready: bool,
}

/// The range's shared lock, as this member has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LockState {
    /// Neither held nor wanted.
    #[default]
    Idle,
    /// In the queue; the range's events are parked.
    Queued,
    /// Held: increments may be sent.
    Held,
    /// Held, and to be given back: what was begun is finished, nothing else is begun.
    Yielding {
        /// When what could not be applied is given up.
        give_up: Moment,
    },
    /// The READ node is being deleted.
    Releasing,
}

impl LockState {
    /// Whether increments may be sent (rule P2).
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Held | Self::Yielding { .. })
    }

    /// Whether it is to be given back.
    #[must_use]
    pub const fn is_yielding(self) -> bool {
        matches!(self, Self::Yielding { .. })
    }
}

/// The store does not take this range's increments now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(super) until: Moment,
    pause: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);

    /// After another request that was not applied: a pause, longer each time.
    pub(super) fn after(before: Option<Self>, now: Moment) -> Self {
        let pause = before.map_or(Self::FIRST, |trouble| {
            (trouble.pause * 2).min(Self::LONGEST)
        });
        Self {
            until: now.plus(pause),
            pause,
        }
    }
}

impl RangeState {
    pub(super) const fn holds_lock(&self) -> bool {
        self.lock.is_held()
    }

    pub(super) fn may_send(&self) -> bool {
        rule::may_send(self.lock) && self.stopped.is_none()
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.ready
    }

    pub(super) const fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
    }

    /// Events that are not answered, over all partitions.
    pub(super) fn events(&self) -> usize {
        self.tracks.values().map(AckTracker::len).sum()
    }

    /// Nothing on its way: neither a batch nor a mark.
    pub(super) const fn is_at_rest(&self) -> bool {
        self.in_flight == 0 && self.unmarked.is_empty() && self.marking.is_none()
    }

    /// Nothing begun is unanswered: the range could be given back once progress says so.
    pub(super) fn is_settled(&self) -> bool {
        rule::is_settled(self.is_at_rest(), self.tracks.values())
    }

    /// Whether [`super::drain`] has to look at it.
    pub(super) const fn needs_attention(&self) -> bool {
        let yields = self.lock.is_yielding();
        yields || self.trouble.is_some() || !self.unmarked.is_empty() || self.marking.is_some()
    }

    /// When something is due in it.
    pub(super) fn wakeups(&self) -> impl Iterator<Item = Moment> + use<> {
        let give_up = match self.lock {
            LockState::Yielding { give_up } => Some(give_up),
            LockState::Idle | LockState::Queued | LockState::Held | LockState::Releasing => None,
        };
        give_up
            .into_iter()
            .chain(self.trouble.map(|trouble| trouble.until))
    }

    /// Puts every counter that waits back into the queue, in an order that does not hang on hashing.
    pub(super) fn queue_all(&mut self) {
        let mut waiting: Vec<CounterRef> = self
            .pending
            .iter()
            .filter(|(_, pending)| !pending.queued && !pending.in_flight && !pending.is_empty())
            .map(|(counter, _)| counter.clone())
            .collect();
        waiting.sort();
        for counter in waiting {
            self.queue(counter);
        }
    }

    /// Puts a counter into the queue, unless it stands there, has a batch on its way or nothing to send.
    pub(super) fn queue(&mut self, counter: CounterRef) {
        if let Some(pending) = self.pending.get_mut(&counter)
            && !pending.queued
            && !pending.in_flight
            && !pending.is_empty()
        {
            pending.queued = true;
            self.queue.push_back(counter);
        }
    }

    /// Forgets a counter for which nothing waits and nothing is on its way, and tells whether it did.
    pub(super) fn tidy(&mut self, counter: &CounterRef) -> bool {
        let idle =
            |pending: &CounterBuffer| pending.is_empty() && !pending.in_flight && !pending.queued;
        self.pending.get(counter).is_some_and(idle) && self.pending.remove(counter).is_some()
    }
}
