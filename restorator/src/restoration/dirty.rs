//! R4: which cells can have changed since they were judged. The ceilings are read after the grant, with the cut, so every
//! event that a processor can have applied before it lost the range lies below them, even if it is beyond the cut.

use std::collections::{BTreeMap, BTreeSet};

use stitch_common::cell::{Amount, Cell, Count, CounterName};

use super::acquire::LockedRange;
use super::cut::Cut;
use super::known_counts::KnownCounts;
use crate::error::Error;
use crate::failpoint;
use crate::plan::ceilings;
use crate::plan::judge::Verdicts;
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;
use stitch_expected::range_totals::RangeTotals;

/// The cells that are read under the lock, and their expected counts.
#[derive(Debug)]
pub(crate) struct DirtyCells {
    expected: BTreeMap<Cell, Count>,
    passed: Vec<(CounterName, Amount, Count)>,
}

impl DirtyCells {
    pub(crate) const fn expected(&self) -> &BTreeMap<Cell, Count> {
        &self.expected
    }

    /// Of the cells that the cut has passed since they were judged: the counter's name, what has passed, and what they should
    /// hold now.
    pub(super) fn passed(&self) -> impl Iterator<Item = (&CounterName, Amount, Count)> + '_ {
        let passed = self.passed.iter();
        passed.map(|(name, amount, now)| (name, *amount, *now))
    }

    /// Leaves these cells out: no correction changes them.
    pub(super) fn set_aside<'a>(&mut self, cells: impl IntoIterator<Item = &'a Cell>) {
        for cell in cells {
            self.expected.remove(cell);
        }
    }
}

/// Follows the log to the ceilings, and advances the totals to the cut.
///
/// # Errors
/// The log does not reach a ceiling, it could not be read, or the bound has passed.
pub(crate) async fn follow<B: Backends>(
    held: &LockedRange<'_, '_, B>,
    cut: &Cut,
    verdicts: &Verdicts,
    known: &KnownCounts<'_>,
) -> Result<DirtyCells, Unverified> {
    let (context, follower, range) = (held.context(), held.follower, held.range());
    if rule::log_is_followed_to_the_ceiling() {
        let ceilings = cut.all().ceilings(range);
        let reached = ceilings::reach(context, follower, &ceilings);
        held.bound
            .wait("following the log to the ceilings", reached)
            .await?;
        follower.totals_mut().of_mut(range).set_ceiling(ceilings);
    }
    let advanced = follower.advance::<Error>(range, cut.offsets());
    held.bound
        .wait("adding up the log to the cut", advanced)
        .await?;
    let passed = follower.totals_mut().of_mut(range).take_passed();
    let passed = passed.expect("they are noted while the cut is held");
    let amounts: BTreeMap<Cell, Amount> = passed.iter().cloned().collect();
    let passed = passed.into_iter().map(|(cell, _)| cell).collect();
    let cells = to_read(follower.totals().of(range), passed, verdicts);
    let looked_up = known.expected::<B>(follower, cells, &amounts);
    let expected = held
        .bound
        .wait("looking up what the cells should hold", looked_up)
        .await?;
    let passed = amounts.into_iter();
    let passed = passed.filter_map(|(cell, amount)| {
        let now = *expected.get(&cell)?;
        Some((cell.counter.name, amount, now))
    });
    let passed = passed.collect();
    failpoint::pass("r4-touched");
    Ok(DirtyCells { expected, passed })
}

/// The cells to read under the lock: those that were judged wrong, those that the cut has passed since they were judged,
/// and those with an event from the cut up to the ceiling. All other cells were judged right, and nothing can have written
/// to them since.
pub fn to_read(totals: &RangeTotals, passed: Vec<Cell>, verdicts: &Verdicts) -> BTreeSet<Cell> {
    let mut cells = BTreeSet::from_iter(passed);
    if rule::wrong_cells_are_read_under_the_lock() {
        cells.extend(verdicts.wrong().keys().cloned());
    }
    if rule::cells_beyond_the_cut_are_dirty() {
        cells.extend(totals.dirty());
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world::all as cell;
    use stitch_common::offset::{Offset, Partition};
    use stitch_testkit::samples::offsets;
    use stitch_totals::scan_key::{PackedSlot, ScanKey};

    fn put(totals: &mut RangeTotals, offset: i64, name: &str) {
        let key = ScanKey::of(cell(name).counter);
        let slots = PackedSlot::pack(cell(name).slot).into_iter();
        totals.add(Partition(0), Offset(offset), &key, slots, Amount(1));
    }

    #[test]
    fn only_wrong_passed_and_dirty_cells_are_read_under_the_lock() {
        let mut totals = RangeTotals::new(offsets(&[(0, 2)]));
        totals.note_passed();
        put(&mut totals, 0, "right");
        put(&mut totals, 1, "wrong");
        totals.take_passed();
        put(&mut totals, 2, "passed");
        put(&mut totals, 3, "later");
        put(&mut totals, 4, "beyond the ceiling");
        totals.set_ceiling(offsets(&[(0, 4)]));
        totals.advance(&offsets(&[(0, 3)])).unwrap();
        let mut verdicts = Verdicts::default();
        verdicts.judge(cell("wrong"), Count(1), Count(0));
        verdicts.judge(cell("phantom"), Count(0), Count(9));
        let passed = totals.take_passed().unwrap().into_iter();
        let passed = passed.map(|(cell, _)| cell);
        let read: Vec<_> = to_read(&totals, passed.collect(), &verdicts)
            .iter()
            .map(|cell| cell.counter.key.0.to_string())
            .collect();
        assert_eq!(read, ["later", "passed", "phantom", "wrong"]);
    }
}
