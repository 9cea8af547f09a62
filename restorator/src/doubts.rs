//! Doubts of ranges, as a restoration handles them: recorded where wrong cells are found or a range is left unverified,
//! read before each cut, and removed, as they were read, once the range is verified. Then it is also taken off the pending
//! backfills of added counters.

use std::time::Duration;

use futures_util::future::try_join_all;
use stitch_common::ports::Backends;
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;
use stitch_common::user_error::UserError;
use stitch_common::wait::within;
use stitch_protocol::backfill;
use stitch_protocol::doubt::{self, Doubt, DoubtCause, DoubtRemoval};
use stitch_protocol::snapshot;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::limits::Exceeded;
use crate::plan::audit_findings::AuditFindings;
use crate::quiescence::InDoubt;
use crate::restoration::parts::RangeSummary;
use crate::rule;
use crate::unverified::Unverified;

/// The doubts of a range as they were before a cut (R3): a verification at that cut answers these, and none that is
/// recorded later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownDoubts(Vec<Doubt>);

/// How long recording or removing doubts may take after a range is released.
const BOUND: Duration = Duration::from_secs(10);

impl KnownDoubts {
    /// Reads the doubts of a range.
    ///
    /// # Errors
    /// ZooKeeper failed.
    pub(crate) async fn read<B: Backends>(
        context: &RestoreContext<'_, B>,
        range: RangeId,
    ) -> Result<Self, Error> {
        Ok(Self(doubt::list_range(context.session, range).await?))
    }
}

/// Whether a verified range is shown to be right as a whole, whatever was doubted: every cell of it is in scope, every
/// replica was asked, and nothing was declared dead.
pub(crate) fn are_answered<B: Backends>(context: &RestoreContext<'_, B>) -> bool {
    let covered = context.scope.covers_ranges() || !rule::narrow_scopes_answer_no_doubt();
    covered && context.exceptions().is_none()
}

/// The scope without the ranges that are certain; none if all are. What was in doubt is waited out first: then a dead member
/// concerns no range any more, and of a marker a doubt remains.
///
/// # Errors
/// There was no quiescence, or ZooKeeper failed.
pub(crate) async fn doubtful_scope<B: Backends>(
    context: &RestoreContext<'_, B>,
) -> Result<Option<Scope>, UserError> {
    let in_doubt = InDoubt::read(context, context.scope.ranges()).await?;
    in_doubt.wait_out(context).await?;
    let bits = context.definitions().range_bits;
    let snapshot = snapshot::light(context.session, bits).await?;
    let ranges = context.scope.ranges();
    let mut scope = context.scope.clone();
    scope.ranges = ranges
        .filter(|range| !snapshot.uncertainty.is_certain(*range))
        .collect();
    let is_any = scope.ranges.bounds().is_some();
    Ok(is_any.then_some(scope))
}

/// Records, before anything is corrected, that the audit has found wrong cells: whatever becomes of this process, readers
/// hear of it until a restoration has verified these ranges. A scope that is narrower than a range cannot remove such a
/// doubt, so it records one only if what it found is not corrected. Nothing that follows depends on it, so it does not fail.
pub(crate) async fn record_found<B: Backends>(
    context: &RestoreContext<'_, B>,
    findings: &AuditFindings,
    refused: Option<&Exceeded>,
) {
    if refused.is_none() && !context.scope.covers_ranges() {
        return;
    }
    let why = refused.map_or_else(String::new, |exceeded| {
        format!(", not corrected: {exceeded}")
    });
    let found = context.scope.ranges().filter_map(|range| {
        let wrong = findings.of(range).wrong_count();
        (wrong > 0).then(|| (range, format!("{wrong} wrong cells found{why}")))
    });
    record_each(context, found.collect()).await;
}

/// Records doubts of ranges that a restoration leaves as they are, with what is known of each: cells that are known to be wrong,
/// or may be. Nothing that follows depends on it, so it does not fail.
pub(crate) async fn record_each<B: Backends>(
    context: &RestoreContext<'_, B>,
    ranges: Vec<(RangeId, String)>,
) {
    let records = ranges.iter().map(|(range, detail)| {
        doubt::record(context.session, *range, DoubtCause::Unverified, detail)
    });
    match within(context.clock, BOUND, try_join_all(records)).await {
        Some(Ok(_)) => {}
        Some(Err(error)) => {
            tracing::warn!(%error, "wrong cells were found, and not every doubt is recorded")
        }
        None => tracing::warn!("wrong cells were found, and not every doubt is recorded in time"),
    }
}

/// Removes the doubts that the outcome of a range answers, or records one. Returns what the operator should know if readers
/// hear something else of the range than its outcome.
pub(crate) async fn settle<B: Backends>(
    context: &RestoreContext<'_, B>,
    result: &RangeSummary,
) -> Option<String> {
    let (range, work) = (result.range, settle_range(context, result));
    let why = match within(context.clock, BOUND, work).await {
        Some(Ok(renewed)) if renewed.is_empty() => return None,
        Some(Ok(renewed)) => format!("{} was recorded again meanwhile", renewed.join(" and ")),
        Some(Err(error)) => error.to_string(),
        None => "ZooKeeper did not answer in time".to_owned(),
    };
    tracing::warn!(%range, why, "the doubts of the range are not up to date");
    Some(if result.outcome.is_ok() {
        format!(
            "range {range} is verified, and stays doubtful: {why}; `stitch-restorator run --now --doubtful` removes its doubts"
        )
    } else {
        format!("range {range} is not verified, and no doubt says so: {why}; run it again")
    })
}

/// The causes of doubts that were recorded again since they were read: they remain.
async fn settle_range<B: Backends>(
    context: &RestoreContext<'_, B>,
    result: &RangeSummary,
) -> Result<Vec<String>, Error> {
    if result.outcome.is_ok() {
        complete_backfills(context, result.range).await?;
    }
    let (cause, detail) = match &result.outcome {
        Ok(KnownDoubts(doubts)) if are_answered(context) => {
            let mut renewed = Vec::new();
            for known in doubts {
                if doubt::remove(context.session, known).await? == DoubtRemoval::Renewed {
                    renewed.push(known.cause.to_string());
                }
            }
            return Ok(renewed);
        }
        Ok(_) => return Ok(Vec::new()),
        Err(why @ Unverified::Passed(_)) => (DoubtCause::Invariant, why.to_string()),
        Err(why) => (DoubtCause::Unverified, why.to_string()),
    };
    doubt::record(context.session, result.range, cause, &detail).await?;
    Ok(Vec::new())
}

/// Takes a verified range off the pending backfills of the counters that were restored in it: every cell of a counter has to be
/// in scope, and nothing declared dead or read below `ALL`, but other counters need not be.
async fn complete_backfills<B: Backends>(
    context: &RestoreContext<'_, B>,
    range: RangeId,
) -> Result<(), Error> {
    let scope = context.scope;
    if scope.key.is_some() || context.exceptions().is_some() {
        return Ok(());
    }
    let bits = context.definitions().range_bits;
    for pending in backfill::list(context.session, bits).await? {
        if scope.has_definition(&pending.counter) {
            backfill::complete(context.session, &pending.counter, range, bits).await?;
        }
    }
    Ok(())
}
