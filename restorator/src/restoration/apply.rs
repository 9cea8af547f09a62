//! R6: sends each correction once. A correction that was certainly not applied may be sent again; one of unknown outcome
//! never is.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use stitch_common::cell::{Cell, CellSlot, Counter};
use stitch_common::check_invariant;
use stitch_common::clock::Clock;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::{CounterBatch, Store};

use super::acquire::LockedRange;
use super::cut::Cut;
use super::delta::Delta;
use crate::context::RestoreContext;
use crate::error::Error;
use crate::failpoint;
use crate::plan::judge::Drift;
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// The corrections, all of them applied.
#[derive(Debug)]
pub(crate) struct AppliedCorrections {
    corrections: Vec<(Cell, Drift)>,
}

impl AppliedCorrections {
    pub(crate) fn corrections(&self) -> &[(Cell, Drift)] {
        &self.corrections
    }
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
    Failed(Unverified),
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
    let context = held.context();
    let corrections = delta.corrections();
    if corrections.is_empty() {
        return Ok(ApplyOutcome::Applied(AppliedCorrections {
            corrections: Vec::new(),
        }));
    }
    let none_in_doubt = check_invariant!(
        SentOnce,
        !held.claim.in_doubt,
        "range {} has corrections in doubt",
        held.range()
    );
    if !none_in_doubt {
        return Err(Unverified::Unknown);
    }
    held.journal.write(
        context.clock.wall(),
        held.range(),
        cut.offsets(),
        corrections,
    )?;
    failpoint::pass("r6-journaled");
    let verified = held.claim.lock.verify(context.session);
    held.bound
        .wait("verifying that the range is still locked", verified)
        .await?;
    let batches = delta.batches();
    let in_flight = context.config.restorator.requests_in_flight_max.max(1);
    // Not bounded from outside: dropping a request would make its outcome unknown. The store's own timeout ends each.
    let sending = batches.iter().map(|batch| send(context, batch));
    let outcomes: Vec<BatchOutcome> = stream::iter(sending).buffered(in_flight).collect().await;
    failpoint::pass("r6-applied");
    let may_have_changed = batches
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| match outcome {
            BatchOutcome::Applied | BatchOutcome::Unknown => true,
            BatchOutcome::Failed(_) => false,
        });
    let sent: BTreeSet<(&Counter, CellSlot)> = may_have_changed
        .flat_map(|(batch, _)| {
            batch
                .amounts
                .iter()
                .map(|(slot, _)| (&batch.counter, *slot))
        })
        .collect();
    for (cell, drift) in corrections {
        if sent.contains(&(&cell.counter, cell.slot)) {
            held.claim.corrected.entry(cell.clone()).or_insert(*drift);
        }
    }
    let unknown = outcomes
        .iter()
        .any(|batch| matches!(batch, BatchOutcome::Unknown));
    held.claim.in_doubt |= unknown;
    for outcome in outcomes {
        if let BatchOutcome::Failed(why) = outcome {
            return Err(why);
        }
    }
    if unknown {
        return Ok(ApplyOutcome::Unknown);
    }
    Ok(ApplyOutcome::Applied(AppliedCorrections {
        corrections: delta.into_corrections(),
    }))
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
    let mut last = Cause(String::new());
    for _ in 0..TRIES {
        if let Some(why) = context.lease.interruption() {
            return BatchOutcome::Failed(Error::Interrupted(why).into());
        }
        let Some(permit) = context.lease.permit(context.clock) else {
            return BatchOutcome::Failed(Unverified::LeaseLost);
        };
        match context.store.increment(permit, batch).await {
            Outcome::Applied => return BatchOutcome::Applied,
            Outcome::Unknown(cause) if !rule::unknown_corrections_are_not_resent() => last = cause,
            Outcome::Unknown(cause) => {
                tracing::warn!(counter = %batch.counter, %cause, "outcome of a correction unknown");
                return BatchOutcome::Unknown;
            }
            Outcome::Refused(cause) => {
                return BatchOutcome::Failed(Unverified::CorrectionRejected(cause));
            }
            Outcome::NotApplied(cause) => last = cause,
        }
        context.clock.sleep(PAUSE).await;
    }
    BatchOutcome::Failed(Unverified::CorrectionRejected(last))
}
