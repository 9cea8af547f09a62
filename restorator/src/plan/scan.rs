//! Scans ranges of the table, several intervals at a time, and judges every cell.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use stitch_common::cell::Counter;
use stitch_common::ports::Store;
use stitch_common::range::{RangeId, TokenInterval};

use crate::cells::{Waiting, with_retries};
use crate::context::RestoreContext;
use crate::error::Error;
use crate::plan::audit_findings::AuditFindings;
use crate::plan::judge::Verdicts;
use crate::plan::merge::{Join, Wanted};
use crate::plan::range_part::divide;
use stitch_common::ports::Backends;
use stitch_common::wait::yield_now;
use stitch_expected::log_follower::LogFollower;
use stitch_expected::memory_pool::MemoryReservation;
use stitch_expected::parts::{self, LookupBase};

/// Concurrent scans: enough to keep a node busy while pages are merged.
pub(crate) const SCANS_IN_FLIGHT: usize = 8;
/// The least number of intervals: few ranges are divided further.
const INTERVALS_MIN: u64 = 32;

/// Judges every cell of these ranges for the first time. Their cuts must not advance meanwhile.
pub(crate) async fn first<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    ranges: &[RangeId],
) -> Result<AuditFindings, Error> {
    for range in ranges {
        follower.totals_mut().of_mut(*range).note_passed();
    }
    let mut findings = AuditFindings::new(context.memory, ranges.iter().copied());
    let rows = |rows| context.progress.advance(rows);
    scan_counting(context, follower, ranges, &mut findings, &rows).await?;
    Ok(findings)
}

/// Judges every cell of these ranges. Their cuts must not advance meanwhile.
pub(crate) async fn scan<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    ranges: &[RangeId],
    findings: &mut AuditFindings,
) -> Result<(), Error> {
    scan_counting(context, follower, ranges, findings, &|_| {}).await
}

/// Scans, and passes the number of rows of each page to `rows`.
async fn scan_counting<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    ranges: &[RangeId],
    findings: &mut AuditFindings,
    rows: &dyn Fn(u64),
) -> Result<(), Error> {
    // Verdicts take memory from the first page on, long before a scan ends.
    let growing = RefCell::new(context.memory.reservation());
    let scans = intervals(context, &parts(context, follower, ranges)).into_iter();
    let scans = scans.map(|(range, interval)| {
        let growing = &growing;
        async move {
            let verdicts = one_interval(context, follower, interval, growing, rows).await?;
            Ok::<_, Error>((range, verdicts))
        }
    });
    let mut verdicts_by_range = BTreeMap::<RangeId, Verdicts>::new();
    let mut scans = stream::iter(scans).buffer_unordered(SCANS_IN_FLIGHT);
    while let Some((range, verdicts)) = scans.try_next().await? {
        verdicts_by_range.entry(range).or_default().extend(verdicts);
    }
    drop(scans);
    drop(growing);
    findings.change(|known| known.append(&mut verdicts_by_range))?;
    Ok(())
}

/// The parts of these ranges that are being judged.
fn parts<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    ranges: &[RangeId],
) -> Vec<(RangeId, TokenInterval)> {
    let (bits, totals) = (context.definitions().range_bits, follower.totals());
    let part = |range| {
        let part = totals.of(range).part();
        part.unwrap_or_else(|| bits.interval(range))
    };
    ranges.iter().map(|range| (*range, part(*range))).collect()
}

/// The intervals of these parts of ranges that are scanned at the same time. No counter is in two of them.
pub(crate) fn intervals<B: Backends>(
    context: &RestoreContext<'_, B>,
    parts: &[(RangeId, TokenInterval)],
) -> Vec<(RangeId, TokenInterval)> {
    if let (Some(name), Some(key)) = (&context.scope.counter, &context.scope.key) {
        let token = Counter::new(name.0.clone(), key.0.clone()).token();
        let only = TokenInterval {
            first: token,
            last: token,
        };
        let with_token = parts.iter().filter(|(_, part)| part.contains(token));
        return with_token.map(|(range, _)| (*range, only)).collect();
    }
    let parts_in_all = u64::try_from(parts.len()).unwrap_or(u64::MAX).max(1);
    let pieces = INTERVALS_MIN.div_ceil(parts_in_all);
    let intervals = parts.iter().flat_map(|(range, part)| {
        let pieces = divide(*part, pieces).into_iter();
        pieces.map(move |interval| (*range, interval))
    });
    intervals.collect()
}

async fn one_interval<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    interval: TokenInterval,
    growing: &RefCell<MemoryReservation>,
    scanned: &dyn Fn(u64),
) -> Result<Verdicts, Error> {
    let wanted = Wanted {
        definitions: context.definitions(),
        scope: context.scope,
    };
    let base = context.base.get();
    let (names, expected) = {
        let totals = follower.totals();
        let base = LookupBase::Store(base.as_deref());
        let expected = parts::cells(&base, &totals, &interval.into());
        (totals.names().clone(), expected)
    };
    let mut join = Join::new(wanted, &names, expected);
    let mut foreign = Verdicts::default();
    let mut after = None;
    let mut grown = 0;
    loop {
        let read = || context.store.scan(interval, context.level(), after.clone());
        let page = with_retries(context, Waiting::WithoutLock, read).await?;
        let rows = u64::try_from(page.cells.len()).unwrap_or(u64::MAX);
        join.rows(&page.cells).await?;
        for (name, rows) in page.foreign {
            foreign.note_unnamed(&name, rows);
        }
        scanned(rows);
        after = page.next;
        growing.borrow_mut().try_grow(join.bytes() - grown)?;
        grown = join.bytes();
        if after.is_none() {
            let mut verdicts = join.finish().await?;
            verdicts.extend(foreign);
            growing.borrow_mut().try_grow(verdicts.bytes() - grown)?;
            return Ok(verdicts);
        }
        yield_now().await;
    }
}
