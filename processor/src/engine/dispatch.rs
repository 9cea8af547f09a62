//! Sending (rules P2, P3, P4): batches leave under a shared lock and a valid lease, and each outcome is judged once.

use stitch_common::cell::Counter;
use stitch_common::check_invariant;
use stitch_common::clock::Moment;
use stitch_common::lease::Lease;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::CounterBatch;
use stitch_common::range::RangeId;

use super::acks::AckTracker;
use super::buffer::{Contribution, CounterRef, Folded};
use super::range::Backoff;
use super::rule;
use super::{BatchId, Command, Engine};
use crate::metrics;

/// A batch on its way.
#[derive(Debug)]
pub(crate) struct InFlight {
    range: RangeId,
    counter: CounterRef,
    parts: Vec<Contribution>,
    cells: usize,
}

impl Engine {
    /// Sends what may be sent, range by range in turn, until enough is on its way.
    pub(super) fn dispatch(&mut self, now: Moment, lease: &Lease) {
        let mut waiting = Vec::new();
        while self.in_flight.len() < self.limits.requests_in_flight_max
            && let Some(permit) = lease.permit(now)
            && let Some(range) = self.ready.pop_front()
        {
            let state = self.range(range);
            state.set_ready(false);
            if state.trouble.is_some_and(|trouble| now < trouble.until) {
                waiting.push(range);
                continue;
            }
            let Some(counter) = state.may_send().then(|| state.queue.pop_front()).flatten() else {
                continue;
            };
            let folded = self.fold(range, &counter);
            if folded.parts.is_empty() {
                self.tidy(range, &counter);
            } else {
                self.begin(range, counter, folded, permit);
            }
            if !self.range(range).queue.is_empty() {
                self.wake(range);
            }
        }
        // They come first again when their pause is over.
        for range in waiting {
            self.range(range).set_ready(true);
            self.ready.push_back(range);
        }
    }

    /// Folds the counter's parts that may be begun: all of them, or, where the range yields or the partition is handed
    /// over, those that must be finished (rule P6).
    fn fold(&mut self, range: RangeId, counter: &CounterRef) -> Folded {
        let partitions = &self.partitions;
        let state = &mut self.ranges[usize::from(range.0)];
        let (lock, tracks) = (state.lock, &state.tracks);
        let pending = state
            .pending
            .get_mut(counter)
            .expect("what is queued is pending");
        pending.queued = false;
        pending.fold(|part| {
            let stage = partitions.get(&part.partition).map(|known| known.stage);
            rule::may_begin(lock, stage, || {
                tracks
                    .get(&part.partition)
                    .is_some_and(|t| t.must_finish(part.place))
            })
        })
    }

    fn begin(
        &mut self,
        range: RangeId,
        counter: CounterRef,
        folded: Folded,
        permit: stitch_common::lease::Permit,
    ) {
        if let Some((partition, place)) = folded.divided {
            self.held.bytes += Self::weight(&counter);
            self.track(range, partition).divided(place);
        }
        for part in &folded.parts {
            let held = self
                .partitions
                .get(&part.partition)
                .is_some_and(|p| p.holds_lock());
            check_invariant!(
                SingleSender,
                held,
                "partition {} is not locked",
                part.partition
            );
            self.track(range, part.partition).sent(part.place);
        }
        if folded.amounts.is_empty() {
            // It adds up to nothing, which needs no request.
            self.answer(range, &counter, &folded.parts, AckTracker::applied);
            self.requeue(range, counter);
            return;
        }
        self.batches += 1;
        let id = BatchId(self.batches);
        let state = self.range(range);
        check_invariant!(
            ExclusiveAccess,
            state.holds_lock(),
            "range {range} is not locked"
        );
        state.in_flight += 1;
        state
            .pending
            .get_mut(&counter)
            .expect("it was just folded")
            .in_flight = true;
        let name = self.definitions[counter.definition].0.clone();
        let batch = CounterBatch {
            counter: Counter {
                name,
                key: counter.key.clone(),
            },
            amounts: folded.amounts,
        };
        let cells = batch.amounts.len();
        self.in_flight.insert(
            id,
            InFlight {
                range,
                counter,
                parts: folded.parts,
                cells,
            },
        );
        self.commands.push(Command::Send { id, permit, batch });
    }

    /// The store has answered, or will not answer any more.
    pub(crate) fn answered(&mut self, id: BatchId, outcome: Outcome, now: Moment) {
        let Some(InFlight {
            range,
            counter,
            parts,
            cells,
        }) = self.in_flight.remove(&id)
        else {
            check_invariant!(SentOnce, false, "batch {} was answered twice", id.0);
            return;
        };
        metrics::request(&outcome, cells);
        if outcome != Outcome::Applied {
            self.attention.insert(range);
        }
        let state = self.range(range);
        state.in_flight -= 1;
        if let Some(pending) = state.pending.get_mut(&counter) {
            pending.in_flight = false;
        }
        let send_again = rule::may_send_again(&outcome);
        match outcome {
            Outcome::Applied => {
                state.trouble = None;
                self.answer(range, &counter, &parts, AckTracker::applied);
            }
            Outcome::Refused(cause) => self.refused(range, &counter, parts, cells, cause),
            Outcome::NotApplied(cause) | Outcome::Unknown(cause) if send_again => {
                tracing::debug!(%range, %cause, "increments not applied, sent again after a pause");
                state.trouble = Some(Backoff::after(state.trouble, now));
                self.came_back(range, &counter, parts);
            }
            Outcome::NotApplied(cause) | Outcome::Unknown(cause) => {
                tracing::warn!(%range, cells, %cause, "outcome of increments unknown, suspect");
                metrics::suspects(cells);
                state.trouble = Some(Backoff::after(state.trouble, now));
                for part in &parts {
                    self.track(range, part.partition).unknown(part.place);
                }
                let state = self.range(range);
                match &mut state.marking {
                    Some(marking) if rule::joins_marker_in_flight() => marking.extend(&parts),
                    Some(_) | None => state.unmarked.extend(&parts),
                }
                self.held.bytes -= Self::weight(&counter) * parts.len();
            }
        }
        self.requeue(range, counter);
    }

    /// The mark that was being made is in ZooKeeper.
    pub(crate) fn marked(&mut self, range: RangeId) {
        let parts = self.range(range).marking.take().unwrap_or_default();
        for part in parts {
            self.change(range, part.partition, |track| track.marked(part.place));
        }
    }

    fn refused(
        &mut self,
        range: RangeId,
        counter: &CounterRef,
        parts: Vec<Contribution>,
        cells: usize,
        cause: Cause,
    ) {
        let state = self.range(range);
        let pending = state
            .pending
            .get_mut(counter)
            .expect("it had a batch on its way");
        if pending.refuse(cells) {
            tracing::info!(%range, cells, %cause, "batch refused, sent in smaller ones");
        } else if state.stopped.is_none() {
            tracing::error!(
                %range,
                key = %counter.key.0,
                %cause,
                "Cassandra refuses this range's increments for good: its events wait, the others \
                 are counted; remove the cause, then restart the processor"
            );
            state.stopped = Some(cause);
        }
        self.came_back(range, counter, parts);
    }

    fn came_back(&mut self, range: RangeId, counter: &CounterRef, parts: Vec<Contribution>) {
        for part in &parts {
            self.track(range, part.partition).came_back(part.place);
        }
        let state = self.range(range);
        state
            .pending
            .get_mut(counter)
            .expect("it had a batch on its way")
            .put_back(parts);
    }

    /// Answers parts in their tracks.
    pub(super) fn answer(
        &mut self,
        range: RangeId,
        counter: &CounterRef,
        parts: &[Contribution],
        how: impl Fn(&mut AckTracker, super::acks::EventSeq),
    ) {
        self.held.bytes -= Self::weight(counter) * parts.len();
        for part in parts {
            self.change(range, part.partition, |track| how(track, part.place));
        }
    }

    fn requeue(&mut self, range: RangeId, counter: CounterRef) {
        self.range(range).queue(counter.clone());
        self.tidy(range, &counter);
        if !self.range(range).queue.is_empty() {
            self.wake(range);
        }
    }

    fn change(
        &mut self,
        range: RangeId,
        partition: stitch_common::offset::Partition,
        how: impl FnOnce(&mut AckTracker),
    ) {
        let track = self.track(range, partition);
        let before = track.len();
        how(track);
        let left = before - track.len();
        self.held.events -= left;
    }

    fn track(
        &mut self,
        range: RangeId,
        partition: stitch_common::offset::Partition,
    ) -> &mut AckTracker {
        let track = self.range(range).tracks.get_mut(&partition);
        track.expect("a partition is given back only when nothing of it is on its way")
    }
}
