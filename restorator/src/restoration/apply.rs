//! R6: sends each correction once. A correction that was certainly not applied may be sent again; one of unknown outcome
//! never is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use stitch_common::cell::{Amount, Cell};
use stitch_common::check_invariant;
use stitch_common::clock::Clock;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::{CounterBatch, Store};

use super::acquire::LockedRange;
use super::current::CurrentDrift;
use super::cut::Cut;
use super::delta::{self, Delta};
use crate::context::RestoreContext;
use crate::error::Error;
use crate::failpoint;
use crate::journal::{CorrectionId, CorrectionOutcome};
use crate::limits::Extent;
use crate::plan::judge::Drift;
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// The corrections, all of them acknowledged.
#[derive(Debug)]
pub(crate) struct AppliedCorrections {
    corrections: Vec<(Cell, Drift)>,
    /// The number of the first in the journal; `None` if there are none.
    first: Option<CorrectionId>,
}

impl AppliedCorrections {
    pub(crate) fn corrections(&self) -> &[(Cell, Drift)] {
        &self.corrections
    }

    /// Notes in the journal that these cells did not change.
    pub(super) fn note_ignored<B: Backends>(&self, held: &LockedRange<'_, B>, cells: &[&Cell]) {
        let cells: BTreeSet<&Cell> = cells.iter().copied().collect();
        let numbered = self.corrections.iter().enumerate();
        let ignored = numbered.filter(|(_, (cell, _))| cells.contains(cell));
        let ignored = ignored.filter_map(|(index, (_, drift))| {
            let id = self.first?.plus(index);
            Some((id, CorrectionOutcome::Ignored, drift.correction()))
        });
        note_outcomes(held, ignored);
    }
}

/// A correction that was sent together with others, of which some have an unknown outcome.
#[derive(Debug)]
pub(crate) struct UnreadCorrection {
    id: CorrectionId,
    cell: Cell,
    drift: Drift,
    outcome: CorrectionOutcome,
}

/// The outcome of all corrections together.
#[derive(Debug)]
pub(crate) enum ApplyOutcome {
    Applied(AppliedCorrections),
    /// The outcome of some is unknown, and will remain so: they have to be waited out, and all cells read again.
    Unknown,
}

/// The outcome of one batch.
enum BatchOutcome {
    Applied,
    Unknown,
    NotApplied(Unverified),
    NotSent(Unverified),
}

impl BatchOutcome {
    const fn of_correction(&self) -> CorrectionOutcome {
        match self {
            Self::Applied => CorrectionOutcome::Applied,
            Self::Unknown => CorrectionOutcome::Unknown,
            Self::NotApplied(_) => CorrectionOutcome::NotApplied,
            Self::NotSent(_) => CorrectionOutcome::NotSent,
        }
    }
}

/// Writes the corrections to the journal, then sends each once.
///
/// # Errors
/// No correction is in flight any more, or the claim says that some are in doubt.
pub(crate) async fn once<B: Backends>(
    held: &mut LockedRange<'_, B>,
    cut: &Cut,
    delta: Delta,
) -> Result<ApplyOutcome, Unverified> {
    if delta.corrections().is_empty() {
        return Ok(ApplyOutcome::Applied(AppliedCorrections {
            corrections: Vec::new(),
            first: None,
        }));
    }
    let none_in_doubt = check_invariant!(
        SentOnce,
        !held.claim.in_doubt,
        "range {} has corrections in doubt",
        held.range()
    );
    let journaled = if none_in_doubt {
        journal(held, cut, &delta).await
    } else {
        Err(Unverified::Unknown)
    };
    let first = match journaled {
        Ok(first) => first,
        Err(why) => {
            refund(held, delta.charged());
            return Err(why);
        }
    };
    let batches = delta.batches();
    let context = held.context();
    let in_flight = context.config.restorator.requests_in_flight_max.max(1);
    // Not bounded from outside: dropping a request would make its outcome unknown. The store's own timeout ends each.
    let sending = batches.iter().map(|batch| send(context, batch));
    let outcomes: Vec<BatchOutcome> = stream::iter(sending).buffered(in_flight).collect().await;
    failpoint::pass("r6-applied");
    note(held, &delta, first, &batches, &outcomes);
    let is_unknown = held.claim.in_doubt;
    for outcome in outcomes {
        if let BatchOutcome::NotApplied(why) | BatchOutcome::NotSent(why) = outcome {
            return Err(why);
        }
    }
    if is_unknown {
        return Ok(ApplyOutcome::Unknown);
    }
    Ok(ApplyOutcome::Applied(AppliedCorrections {
        corrections: delta.into_corrections(),
        first: Some(first),
    }))
}

/// Writes the corrections to the journal, and makes sure that the range is still locked.
async fn journal<B: Backends>(
    held: &mut LockedRange<'_, B>,
    cut: &Cut,
    delta: &Delta,
) -> Result<CorrectionId, Unverified> {
    let context = held.context();
    let (when, corrections) = (context.clock.wall(), delta.corrections());
    let journal = held.journal;
    let first = journal.corrections(when, held.range(), cut.offsets(), corrections)?;
    failpoint::pass("r6-journaled");
    let verified = held.claim.lock.verify(context.session);
    let verified = held
        .bound
        .wait("verifying that the range is still locked", verified)
        .await;
    if let Err(why) = verified {
        let not_sent = corrections.iter().enumerate().map(|(index, (_, drift))| {
            let id = first.plus(index);
            (id, CorrectionOutcome::NotSent, drift.correction())
        });
        note_outcomes(held, not_sent);
        return Err(why);
    }
    Ok(first)
}

/// Notes what became of each correction: in the journal, in the claim, and in what is charged to the limits.
fn note<B: Backends>(
    held: &mut LockedRange<'_, B>,
    delta: &Delta,
    first: CorrectionId,
    batches: &[CounterBatch],
    outcomes: &[BatchOutcome],
) {
    // The batches have the corrections in their order.
    let outcomes = batches.iter().zip(outcomes).flat_map(|(batch, outcome)| {
        std::iter::repeat_n(outcome.of_correction(), batch.amounts.len())
    });
    let outcomes: Vec<_> = outcomes.collect();
    let corrections = || delta.corrections().iter().zip(&outcomes);
    let numbered = corrections().enumerate();
    let lines = numbered
        .map(|(index, ((_, drift), outcome))| (first.plus(index), *outcome, drift.correction()));
    note_outcomes(held, lines);
    let may_have_changed = corrections().filter(|(_, outcome)| match outcome {
        CorrectionOutcome::Applied | CorrectionOutcome::Unknown => true,
        CorrectionOutcome::NotApplied | CorrectionOutcome::NotSent | CorrectionOutcome::Ignored => {
            false
        }
    });
    let sent = may_have_changed.map(|((cell, drift), _)| (cell, *drift));
    let charged = delta::charge(&held.claim.corrected, sent.clone());
    refund(held, delta.charged().minus(charged));
    for (cell, drift) in sent {
        held.claim.corrected.entry(cell.clone()).or_insert(drift);
    }
    held.claim.in_doubt |= outcomes.contains(&CorrectionOutcome::Unknown);
    if held.claim.in_doubt {
        let unread = corrections().enumerate();
        let unread = unread.map(|(index, ((cell, drift), outcome))| UnreadCorrection {
            id: first.plus(index),
            cell: cell.clone(),
            drift: *drift,
            outcome: *outcome,
        });
        held.claim.unread.extend(unread);
    }
}

/// Notes what became of corrections that have been waited out: what the cells hold now shows it. Returns the cells that
/// an acknowledged correction did not change.
pub(crate) fn resolve<B: Backends>(
    held: &mut LockedRange<'_, B>,
    current: &CurrentDrift,
) -> BTreeMap<Cell, Drift> {
    let unread = std::mem::take(&mut held.claim.unread);
    let (mut resolved, mut ignored) = (Vec::new(), BTreeMap::new());
    if unread.is_empty() {
        return ignored;
    }
    let wrong: BTreeMap<&Cell, Drift> = current.wrong().iter().map(|(c, d)| (c, *d)).collect();
    for UnreadCorrection {
        id,
        cell,
        drift,
        outcome,
    } in unread
    {
        let now = wrong.get(&cell);
        let is_unchanged = now.is_some_and(|now| now.current == drift.current);
        let outcome = match outcome {
            CorrectionOutcome::Unknown if now.is_none() => CorrectionOutcome::Applied,
            CorrectionOutcome::Unknown if is_unchanged => {
                let change = u128::from(drift.size());
                refund(held, Extent { cells: 0, change });
                CorrectionOutcome::NotApplied
            }
            CorrectionOutcome::Applied if is_unchanged => {
                ignored.insert(cell, drift);
                CorrectionOutcome::Ignored
            }
            // Known, or something else writes to the cell.
            CorrectionOutcome::Unknown
            | CorrectionOutcome::Applied
            | CorrectionOutcome::NotApplied
            | CorrectionOutcome::NotSent
            | CorrectionOutcome::Ignored => continue,
        };
        resolved.push((id, outcome, drift.correction()));
    }
    note_outcomes(held, resolved);
    ignored
}

fn refund<B: Backends>(held: &LockedRange<'_, B>, charged: Extent) {
    let spent = &held.context().spent;
    spent.set(spent.get().minus(charged));
}

fn note_outcomes<B: Backends>(
    held: &LockedRange<'_, B>,
    outcomes: impl IntoIterator<Item = (CorrectionId, CorrectionOutcome, Amount)>,
) {
    let context = held.context();
    if let Err(error) = held.journal.outcomes(context.clock.wall(), outcomes) {
        // The counts do not depend on it, so the range goes on.
        let note = format!(
            "{error}: {}; what became of some corrections is not written there",
            error.cause
        );
        context.progress.note(&note);
    }
}

/// Waits out corrections of unknown outcome. After the barrier none is in doubt any more.
pub(crate) async fn wait_out<B: Backends>(held: &mut LockedRange<'_, B>) -> Result<(), Unverified> {
    let note = "the outcome of some corrections is unknown: awaiting quiescence, then all cells are read again";
    held.context().progress.note(note);
    if rule::quiescence_comes_after_an_unknown_outcome() {
        held.bound.await_quiescence().await?;
    }
    held.claim.in_doubt = false;
    Ok(())
}

async fn send<B: Backends>(context: &RestoreContext<'_, B>, batch: &CounterBatch) -> BatchOutcome {
    const TRIES: u32 = 5;
    const PAUSE: Duration = Duration::from_millis(200);
    let mut last = None;
    for _ in 0..TRIES {
        let interruption = context.lease.interruption();
        let permit = context.lease.permit(context.clock);
        let permit = match (interruption, permit) {
            (None, Some(permit)) => permit,
            (interruption, _) => {
                let why = match interruption {
                    Some(why) => Error::Interrupted(why).into(),
                    None => Unverified::LeaseLost,
                };
                return match last {
                    None => BatchOutcome::NotSent(why),
                    Some(_) => BatchOutcome::NotApplied(why),
                };
            }
        };
        match context.store.increment(permit, batch).await {
            Outcome::Applied => return BatchOutcome::Applied,
            Outcome::Unknown(cause) if !rule::unknown_corrections_are_not_resent() => {
                last = Some(cause);
            }
            Outcome::Unknown(cause) => {
                tracing::warn!(counter = %batch.counter, %cause, "outcome of a correction unknown");
                return BatchOutcome::Unknown;
            }
            Outcome::Refused(cause) | Outcome::Unauthorized(cause) => {
                return BatchOutcome::NotApplied(Unverified::CorrectionRejected(cause));
            }
            Outcome::NotApplied(cause) => last = Some(cause),
        }
        context.clock.sleep(PAUSE).await;
    }
    let last = last.unwrap_or_else(|| Cause(String::new()));
    BatchOutcome::NotApplied(Unverified::CorrectionRejected(last))
}
