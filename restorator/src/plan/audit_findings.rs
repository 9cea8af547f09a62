//! What was found of several ranges, and the memory that it takes.

use std::collections::BTreeMap;

use stitch_common::range::RangeId;

use crate::plan::judge::Verdicts;
use stitch_totals::memory_pool::{MemoryPool, MemoryReservation, TooLarge};

/// Verdicts by range. Those of a range without any are as if nothing were wrong there.
#[derive(Debug)]
pub(crate) struct AuditFindings {
    ranges: BTreeMap<RangeId, Verdicts>,
    reservation: MemoryReservation,
}

impl AuditFindings {
    /// Nothing yet of these ranges.
    pub(crate) fn new(memory: &MemoryPool, ranges: impl IntoIterator<Item = RangeId>) -> Self {
        let ranges = ranges.into_iter().map(|range| (range, Verdicts::default()));
        Self {
            ranges: ranges.collect(),
            reservation: memory.reservation(),
        }
    }

    /// The ranges, in order.
    #[must_use]
    pub(crate) fn ranges(&self) -> Vec<RangeId> {
        self.ranges.keys().copied().collect()
    }

    /// What is known of `range`.
    ///
    /// # Panics
    /// If it is not one of these ranges.
    #[must_use]
    pub(crate) fn of(&self, range: RangeId) -> &Verdicts {
        self.ranges.get(&range).expect("one of these ranges")
    }

    /// Changes verdicts, by range.
    ///
    /// # Errors
    /// They take more memory than there is.
    pub(crate) fn change(
        &mut self,
        how: impl FnOnce(&mut BTreeMap<RangeId, Verdicts>),
    ) -> Result<(), TooLarge> {
        how(&mut self.ranges);
        self.reservation.try_resize(self.bytes())
    }

    /// About how much memory they take.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.ranges.values().map(Verdicts::bytes).sum()
    }

    /// Keeps of the wrong cells only how many they are.
    pub(crate) fn forget(&mut self) {
        self.ranges.values_mut().for_each(Verdicts::forget);
        self.reservation.shrink_to(self.bytes());
    }

    /// What is known of `range` alone; it is not among these any more.
    pub(crate) fn take(&mut self, range: RangeId) -> Self {
        let verdicts = self.ranges.remove(&range).unwrap_or_default();
        let reservation = self.reservation.split(verdicts.bytes());
        Self {
            ranges: BTreeMap::from([(range, verdicts)]),
            reservation,
        }
    }

    /// Puts the ranges of both together.
    pub(crate) fn append(&mut self, other: Self) {
        self.ranges.extend(other.ranges);
        self.reservation.merge(other.reservation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world::all;
    use stitch_common::cell::Count;

    fn found(memory: &MemoryPool, range: RangeId, wrong: i64) -> Result<AuditFindings, TooLarge> {
        let mut found = AuditFindings::new(memory, [range]);
        found.change(|ranges| {
            for n in 0..wrong {
                let verdicts = ranges.entry(range).or_default();
                verdicts.judge(all(&n.to_string()), Count(1), Count(0));
            }
        })?;
        Ok(found)
    }

    #[test]
    fn what_is_found_takes_memory_until_it_is_forgotten_or_dropped() {
        let memory = MemoryPool::new(100_000);
        let (a, b) = (RangeId(0), RangeId(1));
        let mut both = found(&memory, a, 100).unwrap();
        both.append(found(&memory, b, 200).unwrap());
        assert_eq!(memory.available(), 100_000 - both.bytes());
        let only_a = both.take(a);
        assert_eq!(only_a.ranges(), [a]);
        assert_eq!(memory.available(), 100_000 - both.bytes() - only_a.bytes());
        both.forget();
        assert_eq!(both.of(b).wrong_number(), 200);
        assert_eq!(memory.available(), 100_000 - only_a.bytes());
        drop(only_a);
        assert_eq!(memory.available(), 100_000);
        assert!(found(&memory, a, 1000).is_err(), "more than there is");
        assert_eq!(memory.available(), 100_000);
    }
}
