//! Closing in (rule R1, repeated): a later base cut, and only the cells with an event that it has passed are read and
//! judged again. So what has to wait for a lock is what is wrong and what never rests, however long the scan took.

use std::collections::BTreeMap;

use stitch_common::cell::Cell;
use stitch_common::range::RangeId;

use crate::cells;
use crate::context::RestoreContext;
use crate::error::Error;
use crate::plan::audit_findings::AuditFindings;
use crate::plan::base_cut::BaseCut;
use crate::plan::scan;
use crate::rule;
use stitch_common::ports::Backends;
use stitch_totals::log_follower::LogFollower;
use stitch_totals::scan_key::ScanKey;

/// Moves the cuts of these ranges on and judges their cells by them: those that the cut has passed, or every cell where
/// these are many or the wrong ones were forgotten. After an error the verdicts of these ranges are of no use.
///
/// # Errors
/// A server could not be asked, no calm came, or too much is wrong.
pub(crate) async fn converge<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    found: &mut AuditFindings,
) -> Result<(), Error> {
    let ranges = found.ranges();
    let (cut, in_doubt) = BaseCut::and_in_doubt(context, ranges.iter().copied()).await?;
    in_doubt.wait_out_before_reading(context).await?;
    let (mut passed, mut whole) = (Vec::new(), Vec::new());
    let mut reservation = context.memory.reservation();
    for &range in &ranges {
        let reader = context.log_reader();
        follower
            .advance::<_, _, Error>(&reader, range, &cut.of(range))
            .await?;
        let cells = follower.totals_mut().of_mut(range).take_passed();
        let is_most = is_most(cells.len(), follower.totals().of(range).cells());
        if is_most || found.of(range).is_forgotten() {
            whole.push(range);
        } else {
            reservation.try_grow(cells.len() * size_of::<(RangeId, Cell)>())?;
            passed.extend(cells.into_iter().map(|cell| (range, cell)));
        }
    }
    scan::scan(context, follower, &whole, found).await?;
    for some in passed.chunks(CELLS_AT_ONCE) {
        judge(context, follower, found, some).await?;
    }
    if rule::end_is_queried_after_reading() {
        follower.reach_end(context.log, &cut.partitions()).await?;
    }
    Ok(())
}

/// How many chosen cells are read and judged before the next: what reading takes beside a cell is much.
const CELLS_AT_ONCE: usize = 10_000;

/// Whether a range's cells are read faster by a scan of all than one by one: a scan reads some ten times as many cells
/// in the same time.
fn is_most(passed: usize, cells: u64) -> bool {
    const FEW: usize = 1000;
    const TIMES: u64 = 10;
    let times = u64::try_from(passed)
        .unwrap_or(u64::MAX)
        .saturating_mul(TIMES);
    passed > FEW && times > cells
}

async fn judge<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    found: &mut AuditFindings,
    passed: &[(RangeId, Cell)],
) -> Result<(), Error> {
    let ranges: BTreeMap<&Cell, RangeId> =
        passed.iter().map(|(range, cell)| (cell, *range)).collect();
    let read = cells::read(context, ranges.keys().copied()).await?;
    let totals = follower.totals();
    found.change(|verdicts| {
        for (cell, current) in read {
            let range = ranges[&cell];
            let place = ScanKey::of(cell.counter.clone());
            let expected = totals.of(range).expected(&place, cell.slot);
            let verdicts = verdicts.entry(range).or_default();
            verdicts.judge(cell, expected, current);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_cells_are_scanned_and_few_are_read_one_by_one() {
        assert!(!is_most(1000, 1000), "few, though all of them");
        assert!(is_most(1001, 10_000));
        assert!(!is_most(1001, 100_000));
        assert!(is_most(50_000, 100_000));
    }
}
