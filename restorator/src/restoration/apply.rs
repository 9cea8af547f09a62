//! R6 under the lock: each correction is sent once, while the range is still locked and its bound has not passed.

use super::acquire::LockedRange;
use super::cut::Cut;
use super::delta::Delta;
use super::sent::SendOutcome;
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// Writes the corrections to the journal, then sends each once.
///
/// # Errors
/// No correction is in flight any more, or the claim says that some are in doubt.
pub(crate) async fn once<B: Backends>(
    held: &mut LockedRange<'_, '_, B>,
    cut: &Cut,
    delta: Delta,
) -> Result<SendOutcome, Unverified> {
    let session = held.context().session;
    let LockedRange { claim, bound, .. } = held;
    let verified = claim.lock.verify(session);
    let ready = bound.wait("verifying that the range is still locked", verified);
    let until = bound.until();
    claim
        .sent
        .send(cut.offsets(), delta, Some(until), ready)
        .await
}

/// Waits out corrections of unknown outcome. After the barrier none is in doubt any more.
pub(crate) async fn wait_out<B: Backends>(
    held: &mut LockedRange<'_, '_, B>,
) -> Result<(), Unverified> {
    let note = "the outcome of some corrections is unknown: awaiting quiescence, then all cells are read again";
    held.context().progress.note(note);
    if rule::quiescence_comes_after_an_unknown_outcome() {
        held.bound.await_quiescence().await?;
    }
    held.claim.sent.note_waited_out();
    Ok(())
}
