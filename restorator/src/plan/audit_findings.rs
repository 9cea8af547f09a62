//! The findings of an audit, and the memory that they take.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use stitch_common::range::RangeId;

use crate::plan::judge::Verdicts;
use stitch_expected::memory_pool::{MemoryPool, MemoryReservation, ResourcesExhausted};

/// Verdicts by range.
#[derive(Debug)]
pub(crate) struct AuditFindings {
    ranges: BTreeMap<RangeId, Verdicts>,
    reservation: MemoryReservation,
}

impl AuditFindings {
    /// Empty findings for these ranges.
    pub(crate) fn new(memory: &MemoryPool, ranges: impl IntoIterator<Item = RangeId>) -> Self {
        let ranges = ranges.into_iter().map(|range| (range, Verdicts::default()));
        Self {
            ranges: ranges.collect(),
            reservation: memory.reservation(),
        }
    }

    /// Findings of a range of which no cell has been judged.
    pub(crate) fn unjudged(memory: &MemoryPool, range: RangeId) -> Self {
        Self {
            ranges: BTreeMap::from([(range, Verdicts::unjudged())]),
            reservation: memory.reservation(),
        }
    }

    pub(crate) fn ranges(&self) -> Vec<RangeId> {
        self.ranges.keys().copied().collect()
    }

    /// The verdicts of `range`.
    ///
    /// # Panics
    /// If it is not one of these ranges.
    pub(crate) fn of(&self, range: RangeId) -> &Verdicts {
        self.ranges.get(&range).expect("one of these ranges")
    }

    /// Changes the verdicts, and resizes the reservation for them.
    pub(crate) fn change(
        &mut self,
        how: impl FnOnce(&mut BTreeMap<RangeId, Verdicts>),
    ) -> Result<(), ResourcesExhausted> {
        how(&mut self.ranges);
        self.reservation.try_resize(self.bytes())
    }

    /// About how many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.ranges.values().map(Verdicts::bytes).sum()
    }

    /// Keeps only the number of wrong cells.
    pub(crate) fn forget(&mut self) {
        self.ranges.values_mut().for_each(Verdicts::forget);
        self.reservation.shrink_to(self.bytes());
    }

    /// Moves the findings of `range` out of these.
    pub(crate) fn take(&mut self, range: RangeId) -> Self {
        let verdicts = self.ranges.remove(&range).unwrap_or_default();
        let reservation = self.reservation.split(verdicts.bytes());
        Self {
            ranges: BTreeMap::from([(range, verdicts)]),
            reservation,
        }
    }

    /// Adds the ranges of `other`, or parts of ranges.
    pub(crate) fn append(&mut self, other: Self) {
        for (range, verdicts) in other.ranges {
            match self.ranges.entry(range) {
                Entry::Vacant(entry) => {
                    entry.insert(verdicts);
                }
                Entry::Occupied(mut entry) => entry.get_mut().extend(verdicts),
            }
        }
        self.reservation.merge(other.reservation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world::all;
    use stitch_common::cell::Count;

    fn findings(
        memory: &MemoryPool,
        range: RangeId,
        wrong: i64,
    ) -> Result<AuditFindings, ResourcesExhausted> {
        let mut findings = AuditFindings::new(memory, [range]);
        findings.change(|ranges| {
            for n in 0..wrong {
                let verdicts = ranges.entry(range).or_default();
                verdicts.judge(all(&n.to_string()), Count(1), Count(0));
            }
        })?;
        Ok(findings)
    }

    #[test]
    fn findings_take_memory_until_they_are_forgotten_or_dropped() {
        let memory = MemoryPool::new(100_000);
        let (a, b) = (RangeId(0), RangeId(1));
        let mut both = findings(&memory, a, 100).unwrap();
        both.append(findings(&memory, b, 200).unwrap());
        assert_eq!(memory.available(), 100_000 - both.bytes());
        let only_a = both.take(a);
        assert_eq!(only_a.ranges(), [a]);
        assert_eq!(memory.available(), 100_000 - both.bytes() - only_a.bytes());
        both.forget();
        assert_eq!(both.of(b).wrong_count(), 200);
        assert_eq!(memory.available(), 100_000 - only_a.bytes());
        drop(only_a);
        assert_eq!(memory.available(), 100_000);
        assert!(findings(&memory, a, 1000).is_err(), "more than there is");
        assert_eq!(memory.available(), 100_000);
    }
}
