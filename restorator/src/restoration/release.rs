//! R8: whatever was claimed is given back, however the restoration ended; with anything unsettled, a mark first.

use std::collections::BTreeMap;
use std::time::Duration;

use stitch_common::cell::Cell;
use stitch_common::clock::Clock;
use stitch_protocol::{Error, in_doubt, revocation};

use super::acquire::Claim;
use crate::context::RestoreContext;
use crate::failpoint;
use crate::plan::judge::Drift;
use crate::rule;
use stitch_common::ports::Backends;
use stitch_common::wait::within;

/// What is left of a claim that was given back.
#[derive(Debug)]
pub(crate) struct GivenBack {
    /// What was corrected, or may have been.
    pub(super) corrected: BTreeMap<Cell, Drift>,
    /// How long the lock was waited for.
    pub(super) waited: Duration,
    /// How long it was held; `None` if it was never granted.
    pub(super) locked: Option<Duration>,
}

/// Marks what is unsettled, then deletes the WRIT node. Bounded by a session timeout: what cannot be deleted by then
/// goes with the session.
pub(crate) async fn range<B: Backends>(
    context: &RestoreContext<'_, B>,
    mut claim: Claim,
) -> GivenBack {
    let session_timeout = stitch_common::ports::Session::timeout(context.session.zookeeper());
    let given_back = within(
        context.clock,
        session_timeout,
        give_back(context, &mut claim),
    )
    .await;
    match &given_back {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::warn!(%error, range = %claim.range, "range not given back"),
        None => tracing::warn!(range = %claim.range, "range not given back in time"),
    }
    let now = context.clock.now();
    let waited = claim
        .queued
        .map(|queued| claim.granted.unwrap_or(now).since(queued));
    let locked = claim.granted.map(|granted| now.since(granted));
    failpoint::pass("r8-released");
    if !matches!(given_back, Some(Ok(()))) {
        // The node goes with the session, which ends with this process.
        claim.lock.abandon();
    }
    GivenBack {
        corrected: claim.corrected,
        waited: waited.unwrap_or_default(),
        locked,
    }
}

async fn give_back<B: Backends>(
    context: &RestoreContext<'_, B>,
    claim: &mut Claim,
) -> Result<(), Error> {
    if claim.in_doubt && rule::marker_comes_before_the_release() {
        // Until the mark is there, the member itself has to stay behind as a tombstone.
        context.lease.leave_unsettled();
        in_doubt::create(context.session, claim.range).await?;
        context.lease.settled_by_mark();
        claim.in_doubt = false;
    }
    claim.lock.release(context.session).await?;
    if let Some(request) = claim.request {
        revocation::withdraw(context.session, request).await?;
    }
    Ok(())
}
