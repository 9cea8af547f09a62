//! Converging (rule R1, repeated): reads a later base cut, and judges again only the cells with an event that it has passed.
//! So only cells that are wrong or change all the time have to wait for a lock, however long the scan took.

use std::collections::BTreeMap;

use stitch_common::cell::{Amount, Cell};
use stitch_common::range::RangeId;

use crate::cells::{self, Waiting};
use crate::context::RestoreContext;
use crate::error::Error;
use crate::expected::{expected, expected_cells};
use crate::plan::audit_findings::AuditFindings;
use crate::plan::base_cut::BaseCut;
use crate::plan::{ceilings, scan};
use stitch_common::ports::Backends;
use stitch_expected::log_follower::LogFollower;

/// Advances the cuts of these ranges, and judges the cells with events that the cuts have passed, or every cell of a range
/// where these are many, or they or the wrong cells were forgotten. The caller holds the cuts.
///
/// # Errors
/// The verdicts of these ranges are of no use.
pub(crate) async fn converge<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    findings: &mut AuditFindings,
) -> Result<(), Error> {
    let later = later_cut(context, &findings.ranges()).await?;
    judge_at(context, follower, &later, findings).await?;
    ceilings::follow(context, follower, &findings.ranges(), &later).await
}

/// Reads a later base cut for these ranges, and waits out what may still change the store below it. Nothing has changed
/// if it fails.
pub(crate) async fn later_cut<B: Backends>(
    context: &RestoreContext<'_, B>,
    ranges: &[RangeId],
) -> Result<BaseCut, Error> {
    let (cut, in_doubt) = BaseCut::read_with_in_doubt(context, ranges.iter().copied()).await?;
    in_doubt.wait_out_before_reading(context).await?;
    Ok(cut)
}

/// Judges the cells that this cut has passed. Ceilings are still to be read.
///
/// # Errors
/// The verdicts of these ranges are of no use.
pub(crate) async fn judge_at<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    cut: &BaseCut,
    findings: &mut AuditFindings,
) -> Result<(), Error> {
    let ranges = findings.ranges();
    let (mut passed, mut scanned) = (Vec::new(), Vec::new());
    let mut reservation = context.memory.reservation();
    for &range in &ranges {
        follower.advance::<Error>(range, &cut.of(range)).await?;
        let Some(cells) = follower.totals_mut().of_mut(range).take_passed() else {
            scanned.push(range);
            continue;
        };
        let is_most = is_most(cells.len(), expected_cells(context, follower, range));
        if is_most || findings.of(range).is_forgotten() {
            scanned.push(range);
        } else {
            reservation.try_grow(cells.len() * size_of::<(Cell, (RangeId, Amount))>())?;
            let cells = cells.into_iter();
            passed.extend(cells.map(|(cell, amount)| (cell, (range, amount))));
        }
    }
    scan::scan(context, follower, &scanned, findings).await?;
    for cells in passed.chunks(CELLS_AT_ONCE) {
        judge(context, follower, findings, cells).await?;
    }
    Ok(())
}

/// How many cells are read and judged at once: reading takes much more memory than the cell itself.
const CELLS_AT_ONCE: usize = 10_000;

/// Whether a scan of the whole range is faster than reading the passed cells one by one: a scan reads about ten times as
/// many cells in the same time.
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
    findings: &mut AuditFindings,
    passed: &[(Cell, (RangeId, Amount))],
) -> Result<(), Error> {
    let ranges: BTreeMap<&Cell, (RangeId, Amount)> =
        passed.iter().map(|(cell, of)| (cell, *of)).collect();
    let read = cells::read(context, Waiting::WithoutLock, ranges.keys().copied()).await?;
    let expected = expected(context, follower, ranges.keys().copied().cloned()).await?;
    findings.change(|verdicts| {
        for (cell, current) in read {
            let (range, amount) = ranges[&cell];
            let expected = expected[&cell];
            let verdicts = verdicts.entry(range).or_default();
            verdicts.note_passed([(&cell.counter.name, amount, expected)]);
            verdicts.judge(cell, expected, current);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_with_many_passed_cells_are_scanned() {
        assert!(!is_most(1000, 1000), "few, though all of them");
        assert!(is_most(1001, 10_000));
        assert!(!is_most(1001, 100_000));
        assert!(is_most(50_000, 100_000));
    }
}
