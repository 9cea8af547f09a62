//! What waits to be sent: the parts of events, by counter, and how they are coalesced into one batch.
//!
//! A part keeps its event's time and amount rather than cells, so that many parts fold into few cells at the last
//! moment, and so that a yield can still tell the events apart.

use std::collections::VecDeque;

use stitch_common::cell::{Amount, CellSlot, EventTime, Granularity, Key};
use stitch_common::event::slot;
use stitch_common::offset::Partition;

use super::acks::EventSeq;

/// A counter within the definitions of this process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CounterRef {
    /// The position of its definition.
    pub(crate) definition: usize,
    /// Its key.
    pub(crate) key: Key,
}

/// What one event adds to one counter, or to some of its granularities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contribution {
    pub(crate) partition: Partition,
    pub(crate) place: EventSeq,
    pub(crate) time: EventTime,
    pub(crate) amount: Amount,
    pub(crate) granularities: Granularities,
}

/// A set of granularities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granularities(u8);

impl Granularities {
    pub(crate) fn of(granularities: &[Granularity]) -> Self {
        Self(
            granularities
                .iter()
                .fold(0, |set, &one| set | Self::bit(one)),
        )
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Granularity> {
        Granularity::EVERY
            .into_iter()
            .filter(move |&one| self.0 & Self::bit(one) != 0)
    }

    /// The first `count` of them, and the others.
    fn split(self, count: usize) -> (Self, Self) {
        let first = self
            .iter()
            .take(count)
            .fold(0, |set, one| set | Self::bit(one));
        (Self(first), Self(self.0 & !first))
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn bit(granularity: Granularity) -> u8 {
        1 << (granularity as u8)
    }
}

/// The parts that wait for one counter.
#[derive(Debug)]
pub(crate) struct CounterBuffer {
    parts: VecDeque<Contribution>,
    /// Whether a batch of it is on its way. One at a time: a counter's batches would only wait for each other in
    /// Cassandra, and what arrives meanwhile is coalesced.
    pub(crate) in_flight: bool,
    /// Whether it stands in its range's queue.
    pub(crate) queued: bool,
    cells_max: usize,
}

/// Parts that were folded into the cells of one batch.
#[derive(Debug)]
pub(crate) struct Folded {
    /// The parts, in their order.
    pub(crate) parts: Vec<Contribution>,
    /// What they add up to; cells whose sum is 0 are left out.
    pub(crate) amounts: Vec<(CellSlot, Amount)>,
    /// Parts of which only some granularities are in `parts`; the rest waits.
    pub(crate) divided: Option<(Partition, EventSeq)>,
}

impl CounterBuffer {
    /// A counter for which nothing waits, and whose batches have at most `cells_max` cells.
    pub(crate) const fn new(cells_max: usize) -> Self {
        Self {
            parts: VecDeque::new(),
            in_flight: false,
            queued: false,
            cells_max,
        }
    }

    pub(crate) fn push(&mut self, part: Contribution) {
        self.parts.push_back(part);
    }

    /// Parts that came back: they were first, and are first again.
    pub(crate) fn put_back(&mut self, parts: Vec<Contribution>) {
        for part in parts.into_iter().rev() {
            self.parts.push_front(part);
        }
    }

    /// Keeps the parts that `keep` says and returns the others.
    pub(crate) fn remove(
        &mut self,
        mut keep: impl FnMut(&Contribution) -> bool,
    ) -> Vec<Contribution> {
        let (kept, removed) = std::mem::take(&mut self.parts)
            .into_iter()
            .partition(|p| keep(p));
        self.parts = VecDeque::from(kept);
        let removed: Vec<Contribution> = removed;
        removed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// A batch of `cells` cells was refused for good: smaller ones from now on. `false` if it had but one cell.
    pub(crate) const fn refuse(&mut self, cells: usize) -> bool {
        self.cells_max = cells / 2;
        self.cells_max > 0
    }

    /// Takes the first parts that `may_begin` allows and that fit into one batch.
    pub(crate) fn fold(&mut self, mut may_begin: impl FnMut(&Contribution) -> bool) -> Folded {
        let mut folded = Folded {
            parts: Vec::new(),
            amounts: Vec::new(),
            divided: None,
        };
        let mut kept = VecDeque::new();
        while let Some(part) = self.parts.pop_front() {
            if !may_begin(&part) {
                kept.push_back(part);
                continue;
            }
            let room = self.cells_max.saturating_sub(folded.amounts.len());
            let new = new_cells(&folded.amounts, &part);
            if new <= room {
                add(&mut folded.amounts, &part);
                folded.parts.push(part);
                continue;
            }
            let rest = if folded.parts.is_empty() {
                let (now, later) = part.granularities.split(self.cells_max);
                let first = Contribution {
                    granularities: now,
                    ..part
                };
                add(&mut folded.amounts, &first);
                folded.parts.push(first);
                folded.divided = Some((part.partition, part.place));
                Contribution {
                    granularities: later,
                    ..part
                }
            } else {
                part
            };
            self.parts.push_front(rest);
            break;
        }
        while let Some(part) = kept.pop_back() {
            self.parts.push_front(part);
        }
        folded.amounts.retain(|(_, amount)| !amount.is_zero());
        folded
    }
}

fn cells(part: &Contribution) -> impl Iterator<Item = CellSlot> {
    let time = part.time;
    part.granularities
        .iter()
        .map(move |granularity| slot(granularity, time))
}

/// How many cells of `part` are not among `amounts`. Looks from the end: events of one time stand together.
fn new_cells(amounts: &[(CellSlot, Amount)], part: &Contribution) -> usize {
    cells(part)
        .filter(|cell| !amounts.iter().rev().any(|(known, _)| known == cell))
        .count()
}

fn add(amounts: &mut Vec<(CellSlot, Amount)>, part: &Contribution) {
    debug_assert!(!part.granularities.is_empty());
    for cell in cells(part) {
        match amounts.iter_mut().rev().find(|(known, _)| *known == cell) {
            Some((_, sum)) => *sum = sum.plus(part.amount),
            None => amounts.push((cell, part.amount)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::acks::AckTracker;
    use stitch_common::offset::Offset;

    const HOUR_MS: i64 = 3_600_000;

    fn part(place: EventSeq, hour: i64, amount: i64) -> Contribution {
        Contribution {
            partition: Partition(0),
            place,
            time: EventTime::from_ms(hour * HOUR_MS).unwrap(),
            amount: Amount(amount),
            granularities: Granularities::of(&[Granularity::Hour, Granularity::All]),
        }
    }

    fn places(count: i64) -> Vec<EventSeq> {
        let mut track = AckTracker::default();
        (0..count)
            .map(|offset| track.ingest(Offset(offset), 1))
            .collect()
    }

    fn pending(cells_max: usize, parts: &[Contribution]) -> CounterBuffer {
        let mut pending = CounterBuffer::new(cells_max);
        parts.iter().for_each(|&part| pending.push(part));
        pending
    }

    #[test]
    fn many_events_fold_into_few_cells() {
        let p = places(3);
        let mut pending = pending(10, &[part(p[0], 1, 5), part(p[1], 1, 7), part(p[2], 2, -1)]);
        let folded = pending.fold(|_| true);
        assert_eq!(folded.parts.len(), 3);
        let sums: Vec<_> = folded
            .amounts
            .iter()
            .map(|(s, a)| (s.granularity.name(), s.bucket.0 / HOUR_MS, a.0))
            .collect();
        assert_eq!(sums, [("all", 0, 11), ("hour", 1, 12), ("hour", 2, -1)]);
        assert!(pending.is_empty());
    }

    #[test]
    fn a_sum_of_zero_writes_nothing_and_its_events_are_answered() {
        let p = places(2);
        let folded = pending(10, &[part(p[0], 1, 5), part(p[1], 1, -5)]).fold(|_| true);
        assert_eq!((folded.parts.len(), folded.amounts.len()), (2, 0));
    }

    #[test]
    fn a_batch_is_bounded_in_cells_and_the_rest_waits_in_order() {
        let p = places(3);
        let mut pending = pending(3, &[part(p[0], 1, 1), part(p[1], 2, 1), part(p[2], 3, 1)]);
        assert_eq!(pending.fold(|_| true).parts.len(), 2);
        let rest = pending.fold(|_| true);
        assert_eq!(rest.parts[0].place, p[2]);
    }

    #[test]
    fn a_refused_batch_is_halved_down_to_one_cell_and_then_given_up() {
        let p = places(1);
        let mut pending = pending(40, &[part(p[0], 1, 9)]);
        let folded = pending.fold(|_| true);
        assert!(pending.refuse(folded.amounts.len()));
        pending.put_back(folded.parts);
        let first = pending.fold(|_| true);
        assert_eq!(
            (first.amounts.len(), first.divided),
            (1, Some((Partition(0), p[0])))
        );
        let second = pending.fold(|_| true);
        assert_eq!((second.amounts.len(), second.divided), (1, None));
        assert_ne!(first.amounts[0].0, second.amounts[0].0);
        assert!(!pending.refuse(1));
    }

    #[test]
    fn what_may_not_be_begun_keeps_its_place() {
        let p = places(3);
        let mut pending = pending(10, &[part(p[0], 1, 1), part(p[1], 1, 1), part(p[2], 1, 1)]);
        let folded = pending.fold(|part| part.place == p[1]);
        assert_eq!(folded.parts.len(), 1);
        let left: Vec<_> = pending
            .fold(|_| true)
            .parts
            .iter()
            .map(|part| part.place)
            .collect();
        assert_eq!(left, [p[0], p[2]]);
    }
}
