//! R8: releases what was claimed, however the restoration ended. If corrections are in doubt, a marker is created first.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_protocol::{Error, in_doubt, revocation};

use super::acquire::Claim;
use super::sent::SentBefore;
use crate::context::RestoreContext;
use crate::failpoint;
use crate::rule;
use stitch_common::ports::{Backends, Session};
use stitch_common::wait::within;

/// What remains of a claim after its release.
#[derive(Debug)]
pub(crate) struct ReleasedClaim {
    /// What was corrected in the range, or may have been.
    pub(super) sent: SentBefore,
    /// Whether every cell that may be wrong was read under the lock.
    pub(super) all_read: bool,
    pub(super) waited: Duration,
    /// How long the lock was held; `None` if it was never granted.
    pub(super) locked: Option<Duration>,
}

/// Creates an in-doubt marker if need be, then deletes the WRIT node. Bounded by a session timeout. A node that cannot be
/// deleted by then would lock the range for as long as the others are restored, so the session is given up: its end
/// deletes the node, and the work goes on as a new member.
pub(crate) async fn range<B: Backends>(
    context: &RestoreContext<'_, B>,
    mut claim: Claim<'_, B>,
) -> ReleasedClaim {
    let session_timeout = context.session.zookeeper().timeout();
    let released = within(context.clock, session_timeout, release(context, &mut claim)).await;
    match &released {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::warn!(%error, range = %claim.range, "range not released"),
        None => tracing::warn!(range = %claim.range, "range not released in time"),
    }
    let now = context.clock.now();
    let waited = claim
        .queued
        .map(|queued| claim.granted.unwrap_or(now).since(queued));
    let locked = claim.granted.map(|granted| now.since(granted));
    failpoint::pass("r8-released");
    if !matches!(released, Some(Ok(()))) {
        claim.lock.abandon();
        context.lease.give_up_session();
    }
    ReleasedClaim {
        sent: claim.sent.into_sent(),
        all_read: claim.all_read,
        waited: waited.unwrap_or_default(),
        locked,
    }
}

async fn release<B: Backends>(
    context: &RestoreContext<'_, B>,
    claim: &mut Claim<'_, B>,
) -> Result<(), Error> {
    if claim.sent.is_in_doubt() && rule::marker_comes_before_the_release() {
        // Until the marker exists, the member node itself has to remain as a dead member.
        context.lease.note_in_doubt();
        in_doubt::create(context.session, claim.range).await?;
        context.lease.note_marker();
        claim.sent.note_waited_out();
    }
    claim.lock.release(context.session).await?;
    if let Some(request) = claim.request {
        revocation::withdraw(context.session, request).await?;
    }
    Ok(())
}
