//! R8: whatever was claimed is given back, however the restoration ended; with anything unsettled, a mark first.

use stitch_common::clock::Clock;
use stitch_common::coordination::{Error, marks, requests};

use super::acquire::Claim;
use super::verify::Verified;
use super::{Restored, Task};
use crate::failpoint;
use crate::plan::found::Found;
use crate::site::World;
use crate::unproven::Unproven;
use crate::wait::within;

/// Marks what is unsettled, then deletes the WRIT node. Bounded by a session timeout: what cannot be deleted by then
/// goes with the session.
pub async fn range<W: World>(
    task: &Task<'_, W>,
    mut claim: Claim,
    outcome: Result<Verified, Unproven>,
    found: Found,
) -> Restored {
    let site = task.site;
    let session_timeout = stitch_common::ports::Session::timeout(site.coordinator.session());
    let given_back = within(site.clock, session_timeout, give_back(task, &mut claim)).await;
    match &given_back {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::warn!(%error, range = %claim.range, "range not given back"),
        None => tracing::warn!(range = %claim.range, "range not given back in time"),
    }
    let now = site.clock.now();
    let waited = claim
        .queued
        .map(|queued| claim.granted.unwrap_or(now).since(queued));
    let locked = claim.granted.map(|granted| now.since(granted));
    failpoint::pass("r8-released");
    if !matches!(given_back, Some(Ok(()))) {
        // The node goes with the session, which ends with this process.
        claim.lock.abandon();
    }
    Restored {
        range: claim.range,
        outcome,
        corrected: claim.corrected,
        found,
        waited: waited.unwrap_or_default(),
        locked,
    }
}

async fn give_back<W: World>(task: &Task<'_, W>, claim: &mut Claim) -> Result<(), Error> {
    let site = task.site;
    if claim.unsettled {
        // Until the mark is there, the member itself has to stay behind as a tombstone.
        site.standing.leave_unsettled();
        marks::create(site.coordinator, claim.range).await?;
        site.standing.settled_by_mark();
        claim.unsettled = false;
    }
    claim.lock.release(site.coordinator).await?;
    if let Some(request) = claim.request {
        requests::withdraw(site.coordinator, request).await?;
    }
    Ok(())
}
