//! Contributions that wait to be sent, by counter, and how they are coalesced into one batch.
//!
//! A contribution keeps its event's time and amount rather than cells: many fold into few cells at the last moment, and
//! a range that yields can still distinguish the events.

use std::collections::VecDeque;

use stitch_common::cell::{Amount, CellSlot, EventTime, Granularity, Key};
use stitch_common::event::slot;
use stitch_common::offset::Partition;

use super::acks::EventSeq;

/// A counter within the definitions of this process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CounterRef {
    /// The index of its definition.
    pub(super) definition: usize,
    pub(super) key: Key,
}

/// What one event adds to one counter, or to some of its granularities.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contribution {
    pub(super) partition: Partition,
    pub(super) seq: EventSeq,
    pub(super) time: EventTime,
    pub(super) amount: Amount,
    pub(super) granularities: Granularities,
}

impl Contribution {
    pub(super) fn cells(&self) -> impl Iterator<Item = CellSlot> + use<> {
        let time = self.time;
        self.granularities
            .iter()
            .map(move |granularity| slot(granularity, time))
    }
}

/// A set of granularities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granularities(u8);

impl Granularities {
    pub(super) fn of(granularities: impl IntoIterator<Item = Granularity>) -> Self {
        Self(
            granularities
                .into_iter()
                .fold(0, |set, one| set | Self::bit(one)),
        )
    }

    fn iter(self) -> impl Iterator<Item = Granularity> {
        Granularity::EVERY
            .into_iter()
            .filter(move |&one| self.0 & Self::bit(one) != 0)
    }

    /// Splits off the first `count` granularities.
    fn split(self, count: usize) -> (Self, Self) {
        let first = Self::of(self.iter().take(count));
        (first, Self(self.0 & !first.0))
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn bit(granularity: Granularity) -> u8 {
        1 << (granularity as u8)
    }
}

/// The contributions that wait for one counter.
#[derive(Debug)]
pub(super) struct CounterBuffer {
    contributions: VecDeque<Contribution>,
    /// Whether a batch of the counter is in flight. One at a time: a counter's batches would only wait for each other
    /// in Cassandra, and what arrives meanwhile is coalesced.
    pub(super) in_flight: bool,
    /// Whether the counter is in one of its range's queues.
    pub(super) queued: bool,
    cells_max: usize,
}

/// Contributions folded into the cells of one batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// The contributions, in their order.
    pub(super) contributions: Vec<Contribution>,
    /// Their sums by cell; cells whose sum is 0 are left out.
    pub(super) amounts: Vec<(CellSlot, Amount)>,
    /// The event of a contribution of which only some granularities are in this batch; the rest waits.
    pub(super) split: Option<(Partition, EventSeq)>,
}

impl CounterBuffer {
    /// An empty buffer whose batches have at most `cells_max` cells.
    pub(super) const fn new(cells_max: usize) -> Self {
        Self {
            contributions: VecDeque::new(),
            in_flight: false,
            queued: false,
            cells_max,
        }
    }

    pub(super) fn push(&mut self, contribution: Contribution) {
        self.contributions.push_back(contribution);
    }

    /// Puts contributions back that were taken first: they are first again.
    pub(super) fn put_back(&mut self, contributions: Vec<Contribution>) {
        for contribution in contributions.into_iter().rev() {
            self.contributions.push_front(contribution);
        }
    }

    /// Removes and returns the contributions that `keep` refuses.
    pub(super) fn remove(
        &mut self,
        mut keep: impl FnMut(&Contribution) -> bool,
    ) -> Vec<Contribution> {
        let (kept, removed) = std::mem::take(&mut self.contributions)
            .into_iter()
            .partition(|one| keep(one));
        self.contributions = kept;
        Vec::from(removed)
    }

    /// Whether one of the contributions is as asked.
    pub(super) fn has(&self, is: impl FnMut(&Contribution) -> bool) -> bool {
        self.contributions.iter().any(is)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.contributions.is_empty()
    }

    /// Whether a batch could be sent, and the counter is not queued for it yet.
    pub(super) fn is_sendable(&self) -> bool {
        !self.queued && !self.in_flight && !self.is_empty()
    }

    /// Whether nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        !self.queued && !self.in_flight && self.is_empty()
    }

    /// Halves the size of batches after one of `cells` was refused. Returns `false` if it had only one cell.
    pub(super) const fn halve(&mut self, cells: usize) -> bool {
        let divisible = cells > 1;
        self.cells_max = if divisible { cells / 2 } else { 1 };
        divisible
    }

    /// Takes the first contributions that `may_begin` allows and that fit into one batch.
    pub(super) fn fold(&mut self, mut may_begin: impl FnMut(&Contribution) -> bool) -> Batch {
        let mut batch = Batch {
            contributions: Vec::new(),
            amounts: Vec::new(),
            split: None,
        };
        let mut kept = VecDeque::new();
        while let Some(contribution) = self.contributions.pop_front() {
            if !may_begin(&contribution) {
                kept.push_back(contribution);
                continue;
            }
            let room = self.cells_max.saturating_sub(batch.amounts.len());
            if batch.new_cells(&contribution) <= room {
                batch.add(contribution);
                continue;
            }
            let mut rest = contribution;
            if batch.contributions.is_empty() {
                let (now, later) = contribution.granularities.split(self.cells_max);
                rest.granularities = later;
                batch.split = Some((contribution.partition, contribution.seq));
                batch.add(Contribution {
                    granularities: now,
                    ..contribution
                });
            }
            self.contributions.push_front(rest);
            break;
        }
        while let Some(contribution) = kept.pop_back() {
            self.contributions.push_front(contribution);
        }
        batch.amounts.retain(|(_, amount)| !amount.is_zero());
        batch
    }
}

impl Batch {
    /// How many cells of `contribution` the batch does not have. Looks from the end: events of one time follow each
    /// other.
    fn new_cells(&self, contribution: &Contribution) -> usize {
        contribution
            .cells()
            .filter(|cell| !self.amounts.iter().rev().any(|(other, _)| other == cell))
            .count()
    }

    fn add(&mut self, contribution: Contribution) {
        debug_assert!(!contribution.granularities.is_empty());
        for cell in contribution.cells() {
            match self
                .amounts
                .iter_mut()
                .rev()
                .find(|(other, _)| *other == cell)
            {
                Some((_, sum)) => *sum = sum.plus(contribution.amount),
                None => self.amounts.push((cell, contribution.amount)),
            }
        }
        self.contributions.push(contribution);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::acks::AckTracker;
    use stitch_common::offset::Offset;

    const HOUR_MS: i64 = 3_600_000;

    /// A buffer with one contribution for each hour and amount, and the numbers of their events.
    fn buffer<const N: usize>(
        cells_max: usize,
        events: [(i64, i64); N],
    ) -> (CounterBuffer, [EventSeq; N]) {
        let (mut buffer, mut acks) = (CounterBuffer::new(cells_max), AckTracker::default());
        let mut offsets = (0..).map(Offset);
        let seqs = events.map(|(hour, amount)| {
            let seq = acks.ingest(offsets.next().unwrap(), 1);
            buffer.push(Contribution {
                partition: Partition(0),
                seq,
                time: EventTime::from_ms(hour * HOUR_MS).unwrap(),
                amount: Amount(amount),
                granularities: Granularities::of([Granularity::Hour, Granularity::All]),
            });
            seq
        });
        (buffer, seqs)
    }

    #[test]
    fn many_events_fold_into_few_cells() {
        let (mut buffer, _) = buffer(10, [(1, 5), (1, 7), (2, -1)]);
        let batch = buffer.fold(|_| true);
        assert_eq!(batch.contributions.len(), 3);
        let sum = |(cell, sum): &(CellSlot, Amount)| {
            (cell.granularity.name(), cell.bucket.0 / HOUR_MS, sum.0)
        };
        let sums: Vec<_> = batch.amounts.iter().map(sum).collect();
        assert_eq!(sums, [("all", 0, 11), ("hour", 1, 12), ("hour", 2, -1)]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_sum_of_zero_writes_nothing_and_its_events_are_acknowledged() {
        let (mut buffer, _) = buffer(10, [(1, 5), (1, -5)]);
        let batch = buffer.fold(|_| true);
        assert_eq!((batch.contributions.len(), batch.amounts.len()), (2, 0));
    }

    #[test]
    fn a_batch_is_bounded_in_cells_and_the_rest_waits_in_order() {
        let (mut buffer, seqs) = buffer(3, [(1, 1), (2, 1), (3, 1)]);
        assert_eq!(buffer.fold(|_| true).contributions.len(), 2);
        assert_eq!(buffer.fold(|_| true).contributions[0].seq, seqs[2]);
    }

    #[test]
    fn a_refused_batch_is_halved_down_to_one_cell_and_no_further() {
        let (mut buffer, seqs) = buffer(40, [(1, 9)]);
        let batch = buffer.fold(|_| true);
        assert!(buffer.halve(batch.amounts.len()));
        buffer.put_back(batch.contributions);
        let first = buffer.fold(|_| true);
        assert_eq!(first.amounts.len(), 1);
        assert_eq!(first.split, Some((Partition(0), seqs[0])));
        let second = buffer.fold(|_| true);
        assert_eq!((second.amounts.len(), second.split), (1, None));
        assert_ne!(first.amounts[0].0, second.amounts[0].0);
        assert!(!buffer.halve(1));
    }

    #[test]
    fn contributions_that_may_not_be_begun_keep_their_order() {
        let (mut buffer, seqs) = buffer(10, [(1, 1), (1, 1), (1, 1)]);
        let batch = buffer.fold(|one| one.seq == seqs[1]);
        assert_eq!(batch.contributions.len(), 1);
        let rest = buffer.fold(|_| true).contributions;
        let rest: Vec<_> = rest.iter().map(|one| one.seq).collect();
        assert_eq!(rest, [seqs[0], seqs[2]]);
    }
}
