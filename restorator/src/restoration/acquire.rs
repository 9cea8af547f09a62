//! R2: the exclusive lock of the range, and a quiescence barrier if anything can still be in flight after the grant.

use std::collections::BTreeMap;

use stitch_common::cell::Cell;
use stitch_common::clock::{Clock, Moment};
use stitch_common::range::RangeId;
use stitch_protocol::contender::Kind;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::revocation::{self, RevocationRequest};

use super::apply::UnreadCorrection;
use super::bound::Bound;
use crate::context::RestoreContext;
use crate::failpoint;
use crate::journal::Journal;
use crate::plan::judge::Drift;
use crate::quiescence::InDoubt;
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;
use stitch_totals::log_follower::LogFollower;

/// What the restoration of a range has in ZooKeeper, and has sent to the store. [`release`](super::release) releases it,
/// however the restoration ends.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(super) range: RangeId,
    pub(super) lock: RangeLock,
    pub(super) request: Option<RevocationRequest>,
    pub(super) queued: Option<Moment>,
    pub(super) granted: Option<Moment>,
    /// A correction of unknown outcome was sent, and not yet waited out.
    pub(super) in_doubt: bool,
    /// The corrections sent together with it, until their cells are read again.
    pub(super) unread: Vec<UnreadCorrection>,
    /// What was corrected in the range, under this lock and those before.
    pub(super) corrected: BTreeMap<Cell, Drift>,
    /// Whether every cell that may be wrong was read under the lock.
    pub(super) all_read: bool,
}

impl Claim {
    /// A claim on a range in which these cells were `corrected` before.
    pub(crate) fn new<B: Backends>(
        context: &RestoreContext<'_, B>,
        range: RangeId,
        corrected: BTreeMap<Cell, Drift>,
    ) -> Self {
        Self {
            range,
            lock: RangeLock::new(context.session, range, Kind::Exclusive),
            request: None,
            queued: None,
            granted: None,
            in_doubt: false,
            unread: Vec::new(),
            corrected,
            all_read: false,
        }
    }
}

/// The locked range: no other process has a request in it that could still change the store (I1).
pub(crate) struct LockedRange<'a, B: Backends> {
    context: &'a RestoreContext<'a, B>,
    pub(super) follower: &'a LogFollower,
    pub(super) journal: &'a Journal,
    pub(super) claim: &'a mut Claim,
    pub(super) bound: Bound<'a, B>,
}

impl<'a, B: Backends> LockedRange<'a, B> {
    pub(crate) const fn context(&self) -> &'a RestoreContext<'a, B> {
        self.context
    }

    pub(crate) const fn range(&self) -> RangeId {
        self.claim.range
    }
}

/// Creates the WRIT node, then the revocation request, and waits until every earlier node is gone and, if anything is in
/// doubt, for the quiescence barrier.
///
/// # Errors
/// Fails at the bound at the latest. The claim has what is to be released.
pub(crate) async fn range<'a, B: Backends>(
    context: &'a RestoreContext<'a, B>,
    follower: &'a LogFollower,
    journal: &'a Journal,
    claim: &'a mut Claim,
) -> Result<LockedRange<'a, B>, Unverified> {
    let mut bound = Bound::new(context);
    claim.queued = Some(context.clock.now());
    let queued = claim.lock.enqueue(context.session);
    bound.wait("queueing for the range's lock", queued).await?;
    failpoint::pass("r2-queued");
    // The request is created after the node that it is for: a holder that sees the request also sees the node.
    let request = revocation::ask(context.session, &claim.lock);
    claim.request = Some(
        bound
            .wait("requesting that the range's holders yield", request)
            .await?,
    );
    failpoint::pass("r2-asked");
    let granted = claim.lock.wait_granted(context.session);
    bound
        .wait("waiting until the range's holders have yielded", granted)
        .await?;
    claim.granted = Some(context.clock.now());
    failpoint::pass("r2-granted");
    // Read after the grant: a holder that yields with an unknown outcome creates a marker before it deletes its node.
    let in_doubt = InDoubt::read(context, [claim.range]);
    let in_doubt = bound
        .wait("reading in-doubt markers and dead members", in_doubt)
        .await?;
    if rule::quiescence_comes_after_the_grant() {
        bound.wait_out(in_doubt).await?;
    }
    Ok(LockedRange {
        context,
        follower,
        journal,
        claim,
        bound,
    })
}
