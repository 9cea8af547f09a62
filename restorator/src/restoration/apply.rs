//! R6: each difference is sent once. What is certainly not applied may be sent again; what is unknown never is.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use stitch_common::cell::{Cell, CellSlot, Counter};
use stitch_common::check_invariant;
use stitch_common::clock::Clock;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::{CounterBatch, Store};

use super::acquire::Held;
use super::cut::Cut;
use super::delta::Delta;
use crate::context::RestoreContext;
use crate::error::Error;
use crate::failpoint;
use crate::plan::judge::Drift;
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// Every difference was applied.
#[derive(Debug)]
pub(crate) struct Applied {
    corrections: Vec<(Cell, Drift)>,
}

impl Applied {
    /// What was corrected.
    pub(crate) fn corrections(&self) -> &[(Cell, Drift)] {
        &self.corrections
    }
}

/// What came of sending.
#[derive(Debug)]
pub(crate) enum Sent {
    /// All of it is applied.
    Applied(Applied),
    /// Of some it is not known, and never will be: a calm, and then everything is read again.
    Unknown,
}

/// What became of one batch.
enum Batch {
    Applied,
    Unknown,
    Failed(Unverified),
}

/// Writes the differences down, then sends each once.
///
/// # Errors
/// Nothing is on its way any more, or the claim says that something is unsettled.
pub(crate) async fn once<B: Backends>(
    held: &mut Held<'_, B>,
    cut: &Cut,
    delta: Delta,
) -> Result<Sent, Unverified> {
    let context = held.context();
    let corrections = delta.corrections();
    if corrections.is_empty() {
        return Ok(Sent::Applied(Applied {
            corrections: Vec::new(),
        }));
    }
    let settled = check_invariant!(
        I5,
        !held.claim.in_doubt,
        "range {} has corrections of unknown outcome on their way",
        held.range()
    );
    if !settled {
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
        .wait("seeing that the range is still locked", verified)
        .await?;
    let batches = delta.batches();
    let in_flight = context.config.restorator.requests_in_flight_max.max(1);
    // Not bounded from outside: to drop a request would make its outcome unknown. Each ends by the store's own timeout.
    let sending = batches.iter().map(|batch| send(context, batch));
    let ended: Vec<Batch> = stream::iter(sending).buffered(in_flight).collect().await;
    failpoint::pass("r6-applied");
    let may_have_changed = batches.iter().zip(&ended).filter(|(_, end)| match end {
        Batch::Applied | Batch::Unknown => true,
        Batch::Failed(_) => false,
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
    let unknown = ended.iter().any(|batch| matches!(batch, Batch::Unknown));
    held.claim.in_doubt |= unknown;
    for batch in ended {
        if let Batch::Failed(why) = batch {
            return Err(why);
        }
    }
    if unknown {
        return Ok(Sent::Unknown);
    }
    Ok(Sent::Applied(Applied {
        corrections: delta.into_corrections(),
    }))
}

/// After a calm, nothing that was sent is unsettled any more.
///
/// # Errors
/// No calm came.
pub(crate) async fn wait_out<B: Backends>(held: &mut Held<'_, B>) -> Result<(), Unverified> {
    let note = "the outcome of some corrections is unknown: awaiting a calm, then everything is read again";
    held.context().progress.note(note);
    if rule::quiescence_comes_after_an_unknown_outcome() {
        held.bound.calm().await?;
    }
    held.claim.in_doubt = false;
    Ok(())
}

async fn send<B: Backends>(context: &RestoreContext<'_, B>, batch: &CounterBatch) -> Batch {
    const TRIES: u32 = 5;
    const PAUSE: Duration = Duration::from_millis(200);
    let mut last = Cause(String::new());
    for _ in 0..TRIES {
        if let Some(why) = context.lease.interruption() {
            return Batch::Failed(Error::Interrupted(why).into());
        }
        let Some(permit) = context.lease.permit(context.clock) else {
            return Batch::Failed(Unverified::LeaseLost);
        };
        match context.store.increment(permit, batch).await {
            Outcome::Applied => return Batch::Applied,
            Outcome::Unknown(cause) if !rule::unknown_corrections_are_not_resent() => last = cause,
            Outcome::Unknown(cause) => {
                tracing::warn!(counter = %batch.counter, %cause, "outcome of a correction unknown");
                return Batch::Unknown;
            }
            Outcome::Refused(cause) => return Batch::Failed(Unverified::CorrectionRejected(cause)),
            Outcome::NotApplied(cause) => last = cause,
        }
        context.clock.sleep(PAUSE).await;
    }
    Batch::Failed(Unverified::CorrectionRejected(last))
}
