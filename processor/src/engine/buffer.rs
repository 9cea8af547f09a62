//! Contributions that wait to be sent, by counter, and how they are coalesced into one batch.
//!
//! Events of one turn, partition, counter and shortest bucket are one contribution from the start. It keeps a time and an
//! amount rather than cells: those of several turns and partitions fold into few cells at the last moment, and a range that
//! yields, or a partition that is handed over, can still distinguish them.

use std::collections::VecDeque;

use stitch_common::cell::{Amount, CellSlot, EventTime, Granularity, Key};
use stitch_common::event::slot;
use stitch_common::offset::Partition;

use super::acks::TurnNumber;

/// A counter within the definitions of this process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CounterRef {
    /// The index of its definition.
    pub(super) definition: usize,
    pub(super) key: Key,
}

/// What events of one turn add to one counter, or to some of its granularities.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contribution {
    pub(super) partition: Partition,
    pub(super) turn: TurnNumber,
    /// When the shortest bucket begins that they fall into.
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

    /// Whether it adds to the same cells, and is begun, finished and given back with the other.
    fn folds_into(&self, other: &Self) -> bool {
        (self.partition, self.turn, self.time) == (other.partition, other.turn, other.time)
            && self.granularities == other.granularities
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

    /// When the shortest of their buckets begins that `time` falls into. Buckets nest, so `time` may stand for all events of
    /// that bucket.
    pub(super) fn shortest_bucket(self, time: EventTime) -> EventTime {
        let shortest = Granularity::BY_LENGTH
            .into_iter()
            .find(|&one| self.0 & Self::bit(one) != 0);
        let begin = shortest.map(|shortest| shortest.bucket(time).0);
        let begin = begin.and_then(EventTime::from_ms);
        begin.expect("a counter has granularities, and a bucket begins in the years 1 to 9999")
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
    /// The turn of a contribution of which only some granularities are in this batch; the rest waits.
    pub(super) split: Option<(Partition, TurnNumber)>,
}

impl CounterBuffer {
    /// An empty buffer whose batches have at most `cells_max` cells.
    pub(super) fn new(cells_max: usize) -> Self {
        Self {
            // Most counters have one contribution at a time.
            contributions: VecDeque::with_capacity(1),
            in_flight: false,
            queued: false,
            cells_max,
        }
    }

    /// Adds a contribution of a turn that nothing was taken of. Returns `false` if it folds into another one.
    pub(super) fn push(&mut self, contribution: Contribution) -> bool {
        /// How many contributions are looked at. Events of one time and partition follow each other.
        const NEAR: usize = 32;
        let mut near = self.contributions.iter_mut().rev().take(NEAR);
        let same = near.find(|other| contribution.folds_into(other));
        if let Some(other) = same {
            other.amount = other.amount.plus(contribution.amount);
            return false;
        }
        self.contributions.push_back(contribution);
        true
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
                batch.split = Some((contribution.partition, contribution.turn));
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

    const HOUR_MS: i64 = 3_600_000;
    const HOUR_AND_ALL: [Granularity; 2] = [Granularity::Hour, Granularity::All];

    fn contribution(turn: u64, partition: i32, hour: i64, amount: i64) -> Contribution {
        Contribution {
            partition: Partition(partition),
            turn: TurnNumber(turn),
            time: EventTime::from_ms(hour * HOUR_MS).unwrap(),
            amount: Amount(amount),
            granularities: Granularities::of(HOUR_AND_ALL),
        }
    }

    /// A buffer with one contribution, in a turn of its own, for each hour and amount.
    fn buffer<const N: usize>(cells_max: usize, events: [(i64, i64); N]) -> CounterBuffer {
        let mut buffer = CounterBuffer::new(cells_max);
        for (turn, (hour, amount)) in (0..).zip(events) {
            assert!(buffer.push(contribution(turn, 0, hour, amount)));
        }
        buffer
    }

    fn turns(batch: &Batch) -> Vec<u64> {
        batch.contributions.iter().map(|one| one.turn.0).collect()
    }

    #[test]
    fn many_contributions_fold_into_few_cells() {
        let mut buffer = buffer(10, [(1, 5), (1, 7), (2, -1)]);
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
    fn events_of_one_turn_partition_and_bucket_are_one_contribution() {
        let mut buffer = CounterBuffer::new(10);
        assert!(buffer.push(contribution(3, 0, 1, 5)));
        assert!(buffer.push(contribution(3, 1, 1, 1)), "another partition");
        assert!(buffer.push(contribution(3, 0, 2, 1)), "another hour");
        assert!(!buffer.push(contribution(3, 0, 1, 7)));
        assert!(buffer.push(contribution(4, 0, 1, 1)), "another turn");
        let amounts = buffer.fold(|_| true).contributions;
        let amounts: Vec<_> = amounts.iter().map(|one| one.amount.0).collect();
        assert_eq!(amounts, [12, 1, 1, 1]);
    }

    #[test]
    fn what_is_left_of_a_divided_contribution_takes_no_other() {
        let mut buffer = CounterBuffer::new(1);
        assert!(buffer.push(contribution(3, 0, 1, 5)));
        assert_eq!(buffer.fold(|_| true).amounts.len(), 1);
        assert!(buffer.push(contribution(3, 0, 1, 7)));
    }

    #[test]
    fn one_time_stands_for_all_of_the_shortest_bucket() {
        let at = |ms| EventTime::from_ms(ms).unwrap();
        let times = [
            -1,
            0,
            59_999,
            1_000 * HOUR_MS + 123,
            EventTime::MIN_MS,
            EventTime::MAX_MS,
        ];
        for set in 1..128_u8 {
            let set = Granularities(set);
            for time in times.map(at) {
                let begin = set.shortest_bucket(time);
                for granularity in set.iter() {
                    assert_eq!(slot(granularity, begin), slot(granularity, time));
                }
                assert_eq!(set.shortest_bucket(begin), begin);
            }
        }
    }

    #[test]
    fn a_sum_of_zero_writes_nothing_and_its_events_are_acknowledged() {
        let mut buffer = buffer(10, [(1, 5), (1, -5)]);
        let batch = buffer.fold(|_| true);
        assert_eq!((batch.contributions.len(), batch.amounts.len()), (2, 0));
    }

    #[test]
    fn a_batch_is_bounded_in_cells_and_the_rest_waits_in_order() {
        let mut buffer = buffer(3, [(1, 1), (2, 1), (3, 1)]);
        assert_eq!(turns(&buffer.fold(|_| true)), [0, 1]);
        assert_eq!(turns(&buffer.fold(|_| true)), [2]);
    }

    #[test]
    fn a_refused_batch_is_halved_down_to_one_cell_and_no_further() {
        let mut buffer = buffer(40, [(1, 9)]);
        let batch = buffer.fold(|_| true);
        assert!(buffer.halve(batch.amounts.len()));
        buffer.put_back(batch.contributions);
        let first = buffer.fold(|_| true);
        assert_eq!(first.amounts.len(), 1);
        assert_eq!(first.split, Some((Partition(0), TurnNumber(0))));
        let second = buffer.fold(|_| true);
        assert_eq!((second.amounts.len(), second.split), (1, None));
        assert_ne!(first.amounts[0].0, second.amounts[0].0);
        assert!(!buffer.halve(1));
    }

    #[test]
    fn contributions_that_may_not_be_begun_keep_their_order() {
        let mut buffer = buffer(10, [(1, 1), (1, 1), (1, 1)]);
        let batch = buffer.fold(|one| one.turn == TurnNumber(1));
        assert_eq!(turns(&batch), [1]);
        assert_eq!(turns(&buffer.fold(|_| true)), [0, 2]);
    }
}
