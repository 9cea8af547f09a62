//! Dispatch (rules P2, P3, P4): sends batches under a shared lock and a valid lease, and judges each outcome once.

use stitch_common::cell::Counter;
use stitch_common::check_invariant;
use stitch_common::clock::Moment;
use stitch_common::lease::{Lease, Permit};
use stitch_common::offset::Partition;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::CounterBatch;
use stitch_common::range::RangeId;
use stitch_protocol::doubt::DoubtCause;

use super::acks::{AckTracker, TurnNumber};
use super::buffer::{Batch, Contribution, CounterBuffer, CounterRef};
use super::partition::PartitionTask;
use super::range::Backoff;
use super::{BatchId, BatchRequest, Command, Engine, rule};
use crate::metrics;

/// A batch that was sent and has no outcome yet.
#[derive(Debug)]
pub(super) struct InFlight {
    range: RangeId,
    counter: CounterRef,
    contributions: Vec<Contribution>,
    cells: usize,
    request: BatchRequest,
}

impl Engine {
    /// Sends batches, range by range, up to the limit of requests in flight.
    pub(super) fn dispatch(&mut self, now: Moment, lease: &Lease) {
        let mut pausing = Vec::new();
        while self.in_flight.len() < self.limits.requests_in_flight_max
            && let Some(permit) = lease.permit(now)
            && let Some((range, begins_turn)) = self.next_range()
        {
            let queue = self.range(range);
            if queue.backoff.is_some_and(|backoff| now < backoff.until) {
                pausing.push(range);
                continue;
            }
            if !queue.may_send() || begins_turn && !rule::may_begin_turn(queue.lock) {
                continue;
            }
            if begins_turn {
                queue.begin_turn();
            }
            if let Some(counter) = queue.sendable.pop_front() {
                let batch = self.fold(range, &counter);
                if batch.contributions.is_empty() {
                    self.postpone(range, counter);
                } else {
                    self.send(range, counter, batch, permit);
                }
            }
            self.wake(range);
        }
        for range in pausing {
            self.wake(range);
        }
    }

    /// Nothing of the counter may be begun now. What no turn has reached yet waits for the next one; for the rest its range
    /// or its partition has to be acquired again.
    fn postpone(&mut self, range: RangeId, counter: CounterRef) {
        let queue = &mut self.ranges[usize::from(range.0)];
        let turns = &queue.turns;
        if let Some(buffer) = queue.counters.get_mut(&counter)
            && buffer.has(|contribution| !turns.has_reached(contribution.turn))
        {
            buffer.queued = true;
            queue.collected.push_back(counter);
        } else {
            self.remove_idle(range, &counter);
        }
    }

    /// Folds the counter's contributions of the present turn that may be begun: all of them, or, where the range yields or
    /// the partition drains, those that must be finished (rule P6).
    fn fold(&mut self, range: RangeId, counter: &CounterRef) -> Batch {
        let partitions = &self.partitions;
        let queue = &mut self.ranges[usize::from(range.0)];
        let (lock, acks, turns) = (queue.lock, &queue.acks, &queue.turns);
        let buffer = queue
            .counters
            .get_mut(counter)
            .expect("a queued counter has a buffer");
        buffer.queued = false;
        buffer.fold(|contribution| {
            let partition = contribution.partition;
            let state = partitions
                .get(&partition)
                .and_then(PartitionTask::sending_state);
            turns.has_reached(contribution.turn)
                && rule::may_begin(lock, state, || {
                    acks.get(&partition)
                        .is_some_and(|acks| acks.must_finish(contribution.turn))
                })
        })
    }

    fn send(&mut self, range: RangeId, counter: CounterRef, batch: Batch, permit: Permit) {
        if let Some((partition, turn)) = batch.split {
            self.usage.add_contribution();
            self.acks(range, partition).add_contribution(turn);
        }
        let mut may_send = true;
        for contribution in &batch.contributions {
            let partition = contribution.partition;
            let task = self.partitions.get(&partition);
            let is_locked = task.is_some_and(|task| task.holds_lock());
            let ceiling = task
                .map(|task| task.ceiling.acknowledged())
                .unwrap_or_default();
            let (_, offset) = self.acks(range, partition).offsets(contribution.turn);
            if !is_locked || offset >= ceiling {
                let detail = format!(
                    "offset {offset} of partition {partition} was about to be counted without its lock, or above its ceiling"
                );
                self.doubt_protocol(range, detail);
            }
            may_send &= check_invariant!(
                SingleSender,
                is_locked,
                "partition {partition} is not locked"
            );
            may_send &= check_invariant!(
                BelowCeiling,
                offset < ceiling,
                "offset {offset} of partition {partition} is begun above the ceiling at {ceiling}"
            );
            self.acks(range, partition).send(contribution.turn);
        }
        let has_request = !batch.amounts.is_empty();
        let is_locked = self.range(range).holds_lock() || !has_request;
        if !is_locked {
            let detail = "it was about to be counted without its lock".to_owned();
            self.doubt_protocol(range, detail);
        }
        may_send &= check_invariant!(ExclusiveAccess, is_locked, "range {range} is not locked");
        if !may_send {
            self.range(range).halted = true;
            self.take_back(range, &counter, batch.contributions);
            return;
        }
        if !has_request {
            // It adds up to nothing, which needs no request.
            self.acknowledge(range, &batch.contributions, AckTracker::ack);
            self.requeue(range, counter);
            return;
        }
        self.last_batch += 1;
        let id = BatchId(self.last_batch);
        let queue = self.range(range);
        queue.in_flight += 1;
        let request = queue.request(range);
        self.buffer(range, &counter).in_flight = true;
        let name = self.definitions[counter.definition].0.clone();
        let key = counter.key.clone();
        let in_flight = InFlight {
            range,
            counter,
            contributions: batch.contributions,
            cells: batch.amounts.len(),
            request,
        };
        self.in_flight.insert(id, in_flight);
        let batch = CounterBatch {
            counter: Counter { name, key },
            amounts: batch.amounts,
        };
        self.commands
            .push(Command::Send(id, permit, batch, request));
    }

    /// The protocol is broken in the range: whatever follows, its counts may be wrong.
    pub(super) fn doubt_protocol(&mut self, range: RangeId, detail: String) {
        let doubt = Command::RecordDoubt(range, DoubtCause::Invariant, detail);
        self.commands.push(doubt);
    }

    /// Cassandra has acknowledged or refused a batch, or its outcome is unknown.
    pub(crate) fn on_batch_outcome(&mut self, id: BatchId, outcome: Outcome, now: Moment) {
        let Some(in_flight) = self.in_flight.remove(&id) else {
            for range in self.range_bits.ranges() {
                let detail = format!("batch {} had an outcome twice", id.0);
                self.doubt_protocol(range, detail);
            }
            check_invariant!(SentOnce, false, "batch {} had an outcome twice", id.0);
            return;
        };
        let InFlight {
            range,
            counter,
            contributions,
            cells,
            request,
        } = in_flight;
        metrics::request(&outcome, cells);
        if outcome != Outcome::Applied {
            self.attention.insert(range);
        }
        self.buffer(range, &counter).in_flight = false;
        let queue = self.range(range);
        queue.in_flight -= 1;
        queue.alone = outcome != Outcome::Applied || queue.alone && request != BatchRequest::Own;
        let may_send_again = rule::may_send_again(&outcome);
        match outcome {
            Outcome::Applied => {
                queue.backoff = None;
                if queue.accept(&counter) {
                    tracing::info!(%range, "Cassandra accepts this range's increments again");
                }
                self.acknowledge(range, &contributions, AckTracker::ack);
            }
            Outcome::Refused(cause) => {
                if self.buffer(range, &counter).halve(cells) {
                    tracing::info!(%range, cells, %cause, "batch refused, sent in smaller ones");
                } else {
                    self.refuse(range, &counter, &cause, now);
                }
                self.take_back(range, &counter, contributions);
            }
            Outcome::Unauthorized(cause) => {
                self.refuse(range, &counter, &cause, now);
                self.take_back(range, &counter, contributions);
            }
            Outcome::NotApplied(cause) | Outcome::Unknown(cause) if may_send_again => {
                tracing::debug!(%range, %cause, "increments not applied, sent again after a pause");
                queue.backoff = Some(Backoff::after(queue.backoff, now));
                self.take_back(range, &counter, contributions);
            }
            Outcome::NotApplied(cause) | Outcome::Unknown(cause) => {
                tracing::warn!(%range, cells, %cause, "outcome of increments unknown, suspect");
                metrics::suspects(cells);
                queue.backoff = Some(Backoff::after(queue.backoff, now));
                self.doubt(range, contributions);
            }
        }
        self.requeue(range, counter);
    }

    /// Cassandra refuses even a single cell of a counter. It was not applied, so it is sent again later; meanwhile others of
    /// the range are tried, after a pause that ends with the first that is applied.
    fn refuse(&mut self, range: RangeId, counter: &CounterRef, cause: &Cause, now: Moment) {
        let queue = self.range(range);
        queue.backoff = Some(Backoff::after(queue.backoff, now));
        if queue.refuse(counter, now) {
            tracing::error!(
                %range,
                key = %counter.key.0,
                %cause,
                "Cassandra refuses increments of this range: their events wait and are tried again within a minute, with \
                 no need to restart; remove the cause. Other ranges are counted, unless half of them stand still"
            );
        }
    }

    /// Puts contributions back that were certainly not applied.
    fn take_back(
        &mut self,
        range: RangeId,
        counter: &CounterRef,
        contributions: Vec<Contribution>,
    ) {
        for contribution in &contributions {
            self.acks(range, contribution.partition)
                .take_back(contribution.turn);
        }
        self.buffer(range, counter).put_back(contributions);
    }

    /// Leaves contributions of unknown outcome to an in-doubt marker, which acknowledges them.
    fn doubt(&mut self, range: RangeId, contributions: Vec<Contribution>) {
        self.usage.remove_contributions(contributions.len());
        for contribution in &contributions {
            self.acks(range, contribution.partition)
                .doubt(contribution.turn);
        }
        let queue = self.range(range);
        match &mut queue.marking {
            Some(marking) if rule::joins_marker_in_flight() => marking.extend(contributions),
            Some(_) | None => queue.unmarked.extend(contributions),
        }
    }

    /// The in-doubt marker that was being written is in ZooKeeper.
    pub(crate) fn on_marker_created(&mut self, range: RangeId) {
        let contributions = self.range(range).marking.take().unwrap_or_default();
        self.acknowledge_each(range, &contributions, AckTracker::ack_recorded);
    }

    /// The doubt that was being recorded is in ZooKeeper.
    pub(crate) fn on_doubt_recorded(&mut self, range: RangeId, cause: DoubtCause) {
        match cause {
            DoubtCause::GivenUp => {
                let contributions = self.range(range).doubting.take().unwrap_or_default();
                self.acknowledge_each(range, &contributions, AckTracker::ack_recorded);
            }
            DoubtCause::Takeover => {
                self.range(range).takeovers -= 1;
                self.wake(range);
            }
            DoubtCause::InDoubt
            | DoubtCause::Unverified
            | DoubtCause::Invariant
            | DoubtCause::LogTruncated
            | DoubtCause::LogRecreated
            | DoubtCause::SumsDiffer => {}
        }
    }

    /// Acknowledges contributions that are neither buffered nor in flight any more.
    pub(super) fn acknowledge(
        &mut self,
        range: RangeId,
        contributions: &[Contribution],
        how: impl Fn(&mut AckTracker, TurnNumber),
    ) {
        self.usage.remove_contributions(contributions.len());
        self.acknowledge_each(range, contributions, how);
    }

    fn acknowledge_each(
        &mut self,
        range: RangeId,
        contributions: &[Contribution],
        how: impl Fn(&mut AckTracker, TurnNumber),
    ) {
        for contribution in contributions {
            let acks = self.acks(range, contribution.partition);
            let before = acks.events();
            how(acks, contribution.turn);
            let removed = before - acks.events();
            self.usage.remove_events(removed);
        }
    }

    fn requeue(&mut self, range: RangeId, counter: CounterRef) {
        self.range(range).enqueue(counter.clone());
        self.remove_idle(range, &counter);
        self.wake(range);
    }

    fn buffer(&mut self, range: RangeId, counter: &CounterRef) -> &mut CounterBuffer {
        let buffer = self.range(range).counters.get_mut(counter);
        buffer.expect("a counter keeps its buffer while anything waits or is in flight")
    }

    fn acks(&mut self, range: RangeId, partition: Partition) -> &mut AckTracker {
        let acks = self.range(range).acks.get_mut(&partition);
        acks.expect("a partition is released only when nothing of it is in flight")
    }
}
