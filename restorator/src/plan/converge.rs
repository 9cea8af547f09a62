//! Closing in (rule R1, repeated): a later base cut, and only the cells with an event that it has passed are read and
//! judged again. So what has to wait for a lock is what is wrong and what never rests, however long the scan took.

use std::collections::{BTreeMap, BTreeSet};

use stitch_common::cell::Cell;
use stitch_common::offset::Offsets;
use stitch_common::ports::EventLog;
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
use stitch_totals::range_totals::Span;
use stitch_totals::scan_key::ScanKey;

/// Moves the cuts of these ranges on and judges their cells by them: those that the cut has passed, or every cell where
/// these are many or the wrong ones were forgotten. After an error the verdicts of these ranges are of no use.
///
/// # Errors
/// A server could not be asked, no calm came, or too much is wrong.
pub async fn converge<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    found: &mut AuditFindings,
) -> Result<(), Error> {
    let ranges = found.ranges();
    let (cut, in_doubt) = BaseCut::and_in_doubt(context, ranges.iter().copied()).await?;
    in_doubt.wait_out_before_reading(context).await?;
    let (mut passed, mut whole) = (Vec::new(), Vec::new());
    let mut share = context.memory.share();
    for &range in &ranges {
        move_cut(context, follower, range, &cut.of(range)).await?;
        let cells = follower.totals_mut().of_mut(range).take_passed();
        let is_most = is_most(cells.len(), follower.totals().of(range).cells());
        if is_most || found.of(range).is_forgotten() {
            whole.push(range);
        } else {
            share.add(cells.len() * size_of::<(RangeId, Cell)>())?;
            passed.extend(cells.into_iter().map(|cell| (range, cell)));
        }
    }
    scan::scan(context, follower, &whole, found).await?;
    for some in passed.chunks(CELLS_AT_ONCE) {
        judge(context, follower, found, some).await?;
    }
    if rule::end_is_queried_after_reading() {
        reach_end(context, follower, &cut).await?;
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

/// Moves the cut of `range` on, and waits until its totals are complete.
///
/// # Errors
/// The cut went back, or the log could not be read.
pub async fn move_cut<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    range: RangeId,
    cut: &Offsets,
) -> Result<(), Error> {
    let again = follower.totals_mut().of_mut(range).advance(cut)?;
    let reader = context.log_reader();
    let read = reader.read::<Error>(&again, |partition, records| {
        let span: Span = again[&partition];
        follower.totals_mut().retake(range, span, records);
        Ok(())
    });
    read.await?;
    follower.reach(cut).await?;
    Ok(())
}

/// Asks Kafka for the end of every partition now, and waits until everything below has been read. Whatever can have
/// changed a cell that was read before this call has an event among it. Returns the ends.
///
/// # Errors
/// Kafka could not be asked, or the log not be read.
pub async fn reach_end<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    cut: &BaseCut,
) -> Result<Offsets, Error> {
    let mut partitions: BTreeSet<_> = context.log.partitions().await?.into_iter().collect();
    partitions.extend(cut.partitions());
    let partitions: Vec<_> = partitions.into_iter().collect();
    let bounds = context.log.bounds(&partitions).await?;
    let ends = bounds
        .into_iter()
        .map(|(partition, bounds)| (partition, bounds.end));
    let ends = Offsets(ends.collect());
    follower.reach(&ends).await?;
    Ok(ends)
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
