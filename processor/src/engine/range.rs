//! One range: its shared lock, the contributions that wait in it, and their acknowledgements.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use stitch_common::clock::Moment;
use stitch_common::offset::Partition;
use stitch_common::range::RangeId;

use super::acks::AckTracker;
use super::buffer::{Contribution, CounterBuffer, CounterRef};
use super::turn::Turns;
use super::{BatchRequest, rule};

/// The queue of one range: what is to be sent in it, in flight, or in doubt.
#[derive(Debug, Default)]
pub(super) struct RangeQueue {
    pub(super) lock: LockState,
    pub(super) turns: Turns,
    /// Unacknowledged events, by partition.
    pub(super) acks: BTreeMap<Partition, AckTracker>,
    /// Waiting contributions. A counter with neither contributions nor a batch is not kept. Never iterated without
    /// sorting.
    pub(super) counters: HashMap<CounterRef, CounterBuffer>,
    /// Counters with contributions of the present turn of which a batch can be sent, in the order in which they came.
    pub(super) sendable: VecDeque<CounterRef>,
    /// Counters of which all that waits is collected for the next turn.
    pub(super) collected: VecDeque<CounterRef>,
    /// Batches in flight.
    pub(super) in_flight: usize,
    /// Contributions of unknown outcome that need an in-doubt marker.
    pub(super) unmarked: Vec<Contribution>,
    /// Contributions of unknown outcome that the marker being written will acknowledge.
    pub(super) marking: Option<Vec<Contribution>>,
    /// Doubts of events that a former owner may have applied, which are being recorded: nothing is begun before.
    pub(super) takeovers: usize,
    /// Contributions that were given up and need a doubt.
    pub(super) undoubted: Vec<Contribution>,
    /// Contributions that the doubt being recorded will acknowledge.
    pub(super) doubting: Option<Vec<Contribution>>,
    pub(super) backoff: Option<Backoff>,
    /// Something of the range was not applied: what follows is sent by itself, until some of that is applied.
    pub(super) alone: bool,
    /// Counters of which Cassandra refuses even a single cell.
    pub(super) refused: BTreeMap<CounterRef, Refused>,
    /// An invariant is broken in the range, so nothing is sent in it any more.
    pub(super) halted: bool,
    /// Whether the range is in the engine's queue of those that send.
    pub(super) in_turn: bool,
    /// Whether the range is in the engine's queue of those that wait for their turn.
    pub(super) awaits_turn: bool,
}

/// The state of a range's shared lock in this member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LockState {
    /// Neither held nor wanted.
    #[default]
    Idle,
    /// In the queue; the range's events are blocked.
    Queued,
    /// Held: increments may be sent.
    Held,
    /// Held, and to be released: what was begun is finished, nothing else is begun.
    Yielding {
        /// When increments that could not be applied are given up.
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

    /// Whether it is to be released.
    #[must_use]
    pub const fn is_yielding(self) -> bool {
        matches!(self, Self::Yielding { .. })
    }
}

/// A pause of one range, because Cassandra does not apply its increments now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) until: Moment,
    pause: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);

    /// The pause after another batch that was not applied: twice as long as the one before. What is known during a pause was
    /// sent before it, and does not make it longer: else the batches of one request would be as many failures.
    pub(super) fn after(previous: Option<Self>, now: Moment) -> Self {
        if let Some(previous) = previous.filter(|previous| now < previous.until) {
            return previous;
        }
        let pause = previous.map_or(Self::FIRST, |backoff| {
            (backoff.pause * 2).min(Self::LONGEST)
        });
        Self {
            until: now.plus(pause),
            pause,
        }
    }
}

/// A counter of which Cassandra refuses even a single cell. None of it was applied, so it is sent again after a pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    until: Moment,
    pause: Duration,
    /// Whether it waits for the end of its pause.
    waits: bool,
}

impl Refused {
    const FIRST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(60);

    /// The pause after another refusal: twice as long as the one before.
    fn after(previous: Option<Self>, now: Moment) -> Self {
        let pause = previous.map_or(Self::FIRST, |refused| {
            (refused.pause * 2).min(Self::LONGEST)
        });
        Self {
            until: now.plus(pause),
            pause,
            waits: true,
        }
    }
}

impl RangeQueue {
    /// Cassandra refuses even a single cell of this counter. Returns whether it is the first one of the range.
    pub(super) fn refuse(&mut self, counter: &CounterRef, now: Moment) -> bool {
        let first = self.refused.is_empty();
        let refused = Refused::after(self.refused.get(counter).copied(), now);
        self.refused.insert(counter.clone(), refused);
        first
    }

    /// Cassandra has applied increments of this counter. Returns whether it was the last one that it refused.
    pub(super) fn accept(&mut self, counter: &CounterRef) -> bool {
        self.refused.remove(counter).is_some() && self.refused.is_empty()
    }

    /// Enqueues the refused counters whose pause is over at `now`; all of them without `now`.
    pub(super) fn retry_refused(&mut self, now: Option<Moment>) {
        let is_due = |refused: &Refused| now.is_none_or(|now| now >= refused.until);
        let due: Vec<_> = self
            .refused
            .iter_mut()
            .filter(|(_, refused)| refused.waits && is_due(refused))
            .map(|(counter, refused)| {
                refused.waits = false;
                counter.clone()
            })
            .collect();
        for counter in due {
            self.enqueue(counter);
        }
    }

    pub(super) const fn holds_lock(&self) -> bool {
        self.lock.is_held()
    }

    pub(super) fn may_send(&self) -> bool {
        rule::may_send(self.lock) && self.takeovers == 0 && !self.halted
    }

    /// The request of the next batch: one of its own after the first doubt, because several counters in one request have
    /// one outcome.
    pub(super) fn request(&self, range: RangeId) -> BatchRequest {
        if self.alone || self.is_refused() {
            BatchRequest::Own
        } else {
            BatchRequest::Shared(range)
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Unacknowledged events, over all partitions.
    pub(super) fn events(&self) -> usize {
        self.acks.values().map(AckTracker::events).sum()
    }

    /// Unacknowledged contributions, over all partitions.
    pub(super) fn contributions(&self) -> usize {
        self.acks.values().map(AckTracker::contributions).sum()
    }

    /// Whether neither a batch nor a marker nor a doubt is in flight or due.
    pub(super) const fn is_quiet(&self) -> bool {
        self.in_flight == 0 && !self.has_unrecorded()
    }

    /// Whether a marker or a doubt is being written, or due.
    const fn has_unrecorded(&self) -> bool {
        let unmarked = !self.unmarked.is_empty() || self.marking.is_some();
        unmarked || !self.undoubted.is_empty() || self.doubting.is_some()
    }

    /// Whether everything begun is acknowledged: the lock could be released once the checkpoint says so.
    pub(super) fn is_drained(&self) -> bool {
        rule::is_drained(self.is_quiet(), self.acks.values())
    }

    /// Whether [`super::drain`] has to look at it.
    pub(super) fn needs_attention(&self) -> bool {
        self.lock.is_yielding()
            || self.backoff.is_some()
            || self.is_refused()
            || self.has_unrecorded()
    }

    /// When something is due in it.
    pub(super) fn wakeups(&self) -> impl Iterator<Item = Moment> + use<> {
        let give_up = match self.lock {
            LockState::Yielding { give_up } => Some(give_up),
            LockState::Idle | LockState::Queued | LockState::Held | LockState::Releasing => None,
        };
        let refused = self.refused.values().filter(|refused| refused.waits);
        give_up
            .into_iter()
            .chain(self.backoff.map(|backoff| backoff.until))
            .chain(refused.map(|refused| refused.until).min())
    }

    /// Enqueues every counter that can be sent, in an order that does not depend on hashing.
    pub(super) fn enqueue_all(&mut self) {
        let mut waiting: Vec<CounterRef> = self
            .counters
            .iter()
            .filter(|(_, buffer)| buffer.is_sendable())
            .map(|(counter, _)| counter.clone())
            .collect();
        waiting.sort();
        for counter in waiting {
            self.enqueue(counter);
        }
    }

    /// Enqueues a counter for the present turn or the next one, unless it is queued already, has a batch in flight or
    /// nothing to send, or was refused a moment ago.
    pub(super) fn enqueue(&mut self, counter: CounterRef) {
        if self
            .refused
            .get(&counter)
            .is_some_and(|refused| refused.waits)
        {
            return;
        }
        if let Some(buffer) = self.counters.get_mut(&counter)
            && buffer.is_sendable()
        {
            buffer.queued = true;
            if buffer.has(|contribution| self.turns.has_reached(contribution.turn)) {
                self.sendable.push_back(counter);
            } else {
                self.collected.push_back(counter);
            }
        }
    }

    /// Takes counters out of the queues whose contributions were removed.
    pub(super) fn dequeue_empty(&mut self) {
        let counters = &mut self.counters;
        for queue in [&mut self.sendable, &mut self.collected] {
            queue.retain(|counter| {
                let Some(buffer) = counters.get_mut(counter) else {
                    return false;
                };
                buffer.queued = !buffer.is_empty();
                buffer.queued
            });
        }
    }

    /// Removes a counter with nothing waiting and nothing in flight, and returns whether it did.
    pub(super) fn remove_idle(&mut self, counter: &CounterRef) -> bool {
        let idle = self
            .counters
            .get(counter)
            .is_some_and(CounterBuffer::is_idle);
        if idle {
            self.refused.remove(counter);
        }
        idle && self.counters.remove(counter).is_some()
    }
}
