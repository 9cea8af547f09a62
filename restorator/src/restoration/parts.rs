//! A range, part by part. All of it is one part, unless what is wrong in it, or changes, does not fit into memory: then each
//! part is judged, corrected, locked and verified on its own. A range is verified if all of its parts are; the doubts that
//! this answers are those from before the cut of the first one.

use std::collections::VecDeque;
use std::time::Duration;

use stitch_common::ports::Backends;
use stitch_common::range::RangeId;
use stitch_expected::log_follower::LogFollower;

use super::verify::VerifiedRange;
use super::{Before, LOCKED_CELL_BYTES, RangeResult, added_partition};
use crate::context::RestoreContext;
use crate::doubts::KnownDoubts;
use crate::error::Error;
use crate::journal::Journal;
use crate::lease_keeper::Interruption;
use crate::plan::audit_findings::AuditFindings;
use crate::plan::judge::{TEXTS_BYTES, WRONG_CELL_BYTES};
use crate::plan::range_part::RangePart;
use crate::unverified::Unverified;

/// What is recorded of a range.
#[derive(Debug)]
pub(crate) struct RangeSummary {
    pub(crate) range: RangeId,
    /// The doubts that the verification of all parts answers; otherwise why the first unverified part is not.
    pub(crate) outcome: Result<KnownDoubts, Unverified>,
    /// The number of cells that were corrected.
    pub(crate) corrected: u64,
    /// The longest time that a part was locked.
    pub(crate) locked: Duration,
}

/// A range of which parts are still to be restored. One whose session was lost is left like this to the next member.
#[derive(Debug)]
pub(crate) struct UnfinishedRange {
    range: RangeId,
    /// `None` before the first one is begun.
    parts: Option<VecDeque<RangePart>>,
    /// Of the part that begins again.
    before: Before,
    /// Of the parts that have ended.
    outcome: Option<Result<KnownDoubts, Unverified>>,
    corrected: u64,
    locked: Duration,
    sessions_lost: u32,
}

/// How often a range begins again because a session, or its lease, was lost. Each time what was sent is waited out first.
const SESSIONS_LOST_MAX: u32 = 3;

impl UnfinishedRange {
    /// All of a range.
    pub(crate) fn new(range: RangeId) -> Self {
        Self {
            range,
            parts: None,
            before: Before::default(),
            outcome: None,
            corrected: 0,
            locked: Duration::ZERO,
            sessions_lost: 0,
        }
    }

    pub(crate) const fn range(&self) -> RangeId {
        self.range
    }

    /// Whether any part was begun. Then the findings of the audit are of no use any more.
    pub(crate) const fn is_begun(&self) -> bool {
        self.parts.is_some()
    }

    fn finish(self) -> RangeSummary {
        RangeSummary {
            range: self.range,
            outcome: self.outcome.expect("a range has at least one part"),
            corrected: self.corrected,
            locked: self.locked,
        }
    }
}

/// Restores the parts that are left of a range, and passes the result of each to `each`. `findings` are those of this range
/// alone, if none of it was begun.
///
/// # Errors
/// The session was lost, and the range is to begin again where it was.
pub(crate) async fn range<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    journal: &Journal,
    mut left: UnfinishedRange,
    findings: Option<AuditFindings>,
    each: impl Fn(RangeResult),
) -> Result<RangeSummary, UnfinishedRange> {
    let range = left.range;
    let first = |findings: &AuditFindings| VecDeque::from(first_parts(context, range, findings));
    let begun = left.parts.take();
    let mut parts = begun
        .or_else(|| findings.as_ref().map(first))
        .unwrap_or_default();
    let mut findings = findings.filter(|_| parts.len() == 1);
    while let Some(part) = parts.pop_front() {
        let findings = findings.take().unwrap_or_else(|| {
            let mut totals = follower.totals_mut();
            totals.of_mut(range).judge_part(part.tokens());
            AuditFindings::unjudged(context.memory, range)
        });
        let waited = context.wait_while_paused().await;
        let interrupted = context.lease.interruption().map(Error::Interrupted);
        let mut result = match waited.and(interrupted.map_or(Ok(()), Err)) {
            Ok(()) => {
                let before = std::mem::take(&mut left.before);
                super::run(context, follower, journal, range, findings, before).await
            }
            Err(why) => {
                let Before { sent, aside } = std::mem::take(&mut left.before);
                RangeResult {
                    aside,
                    ..RangeResult::not_started(range, findings, why)
                }
                .with(sent)
            }
        };
        let halves = is_exhausted(&result).then(|| part.halves()).flatten();
        let is_left = is_lost(context, &result) && left.sessions_lost < SESSIONS_LOST_MAX;
        if let Some(halves) = halves {
            tracing::info!(%range, "restored part by part: it does not fit into memory");
            halves
                .into_iter()
                .rev()
                .for_each(|half| parts.push_front(half));
            result.begins_again = true;
        } else if is_paused(&result) || is_left || is_taken_up(context, &result).await {
            // Its lock is gone; when it goes on everything is judged again.
            parts.push_front(part);
            left.before = result.before();
            result.begins_again = true;
        }
        // Otherwise the next attempt has them, too.
        if left.before.sent.corrected.is_empty() {
            left.corrected += u64::try_from(result.corrected.len()).unwrap_or(u64::MAX);
        }
        left.locked = left.locked.max(result.locked.unwrap_or_default());
        let goes_on = result.begins_again || goes_on(&result.outcome);
        if !result.begins_again {
            left.outcome = Some(with_part(left.outcome, &result.outcome));
        }
        each(result);
        if is_left {
            tracing::warn!(%range, "begins again: the session with zookeeper, or its lease, was lost");
            left.sessions_lost += 1;
            left.parts = Some(parts);
            return Err(left);
        }
        if !goes_on {
            break;
        }
    }
    Ok(left.finish())
}

/// The outcome of the parts before, and of this one.
fn with_part(
    before: Option<Result<KnownDoubts, Unverified>>,
    part: &Result<VerifiedRange, Unverified>,
) -> Result<KnownDoubts, Unverified> {
    match (before, part) {
        (None, Ok(verified)) => Ok(verified.doubts().clone()),
        (Some(Ok(doubts)), Ok(_)) => Ok(doubts),
        (Some(Err(why)), _) => Err(why),
        (None | Some(Ok(_)), Err(why)) => Err(why.clone()),
    }
}

/// The parts of a range: more than one if it is known that not all of it fits.
fn first_parts<B: Backends>(
    context: &RestoreContext<'_, B>,
    range: RangeId,
    findings: &AuditFindings,
) -> Vec<RangePart> {
    let whole = RangePart::whole(context.definitions().range_bits, range);
    let verdicts = findings.of(range);
    if !verdicts.is_forgotten() {
        return vec![whole];
    }
    let fit = context.memory.available() / 2 / (LOCKED_CELL_BYTES + WRONG_CELL_BYTES + TEXTS_BYTES);
    let fit = u64::try_from(fit).unwrap_or(u64::MAX).max(1);
    whole.divide(verdicts.wrong_count() / fit + 1)
}

const fn is_exhausted(result: &RangeResult) -> bool {
    matches!(
        result.outcome,
        Err(Unverified::Error(Error::ResourcesExhausted(_)))
    )
}

const fn is_paused(result: &RangeResult) -> bool {
    matches!(
        result.outcome,
        Err(Unverified::Error(Error::Interrupted(Interruption::Paused)))
    )
}

/// Whether it lacked nothing but the checkpoint of a new partition, which is there now.
async fn is_taken_up<B: Backends>(context: &RestoreContext<'_, B>, result: &RangeResult) -> bool {
    if let Err(Unverified::NoCheckpoint(partition)) = &result.outcome {
        added_partition::is_taken_up(context, *partition).await
    } else {
        false
    }
}

/// Whether nothing but the end of the session, or of its lease, ended the part. What it has sent is in doubt by a marker or by
/// a dead member, so it is waited out before the part begins again.
fn is_lost<B: Backends>(context: &RestoreContext<'_, B>, result: &RangeResult) -> bool {
    let by_itself = matches!(
        result.outcome,
        Err(Unverified::LeaseLost | Unverified::Error(Error::Interrupted(Interruption::Lost)))
    );
    let by_a_request = matches!(
        result.outcome,
        Err(Unverified::Error(
            Error::Coordination(_) | Error::Bound { .. } | Error::NotQuiescent { .. }
        ))
    );
    (by_itself || (by_a_request && context.is_session_lost())) && !context.is_ended()
}

/// Whether the next part is restored: what is wrong with this one concerns its cells alone.
const fn goes_on<T>(outcome: &Result<T, Unverified>) -> bool {
    matches!(
        outcome,
        Ok(_) | Err(Unverified::IgnoresIncrements(_) | Unverified::KeepsChanging(_))
    )
}
