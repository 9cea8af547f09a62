//! R2: the exclusive lock of the range, and a quiescence barrier if anything can still be in flight after the grant.

use stitch_common::clock::{Clock, Moment};
use stitch_common::range::RangeId;
use stitch_protocol::contender::Kind;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::revocation::{self, RevocationRequest};

use super::bound::Bound;
use super::sent::SentCorrections;
use crate::context::RestoreContext;
use crate::failpoint;
use crate::quiescence::InDoubt;
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;
use stitch_expected::log_follower::LogFollower;

/// What the restoration of a range has in ZooKeeper, and has sent to the store. [`release`](super::release) releases it,
/// however the restoration ends.
pub(crate) struct Claim<'a, B: Backends> {
    pub(super) range: RangeId,
    pub(super) lock: RangeLock,
    pub(super) request: Option<RevocationRequest>,
    pub(super) queued: Option<Moment>,
    pub(super) granted: Option<Moment>,
    pub(super) sent: SentCorrections<'a, B>,
    /// Whether every cell that may be wrong was read under the lock.
    pub(super) all_read: bool,
}

impl<'a, B: Backends> Claim<'a, B> {
    /// A claim on the range of these corrections, of which none is in doubt.
    pub(crate) fn new(context: &RestoreContext<'_, B>, sent: SentCorrections<'a, B>) -> Self {
        let range = sent.range();
        Self {
            range,
            lock: RangeLock::new(context.session, range, Kind::Exclusive),
            request: None,
            queued: None,
            granted: None,
            sent,
            all_read: false,
        }
    }

    pub(crate) const fn range(&self) -> RangeId {
        self.range
    }

    pub(crate) const fn sent_mut(&mut self) -> &mut SentCorrections<'a, B> {
        &mut self.sent
    }

    /// Notes that every cell that may be wrong was read under the lock.
    pub(crate) const fn note_all_read(&mut self) {
        self.all_read = true;
    }
}

/// The locked range: no other process has a request in it that could still change the store (I1).
pub(crate) struct LockedRange<'a, 's, B: Backends> {
    context: &'a RestoreContext<'a, B>,
    pub(super) follower: &'a LogFollower,
    pub(super) claim: &'a mut Claim<'s, B>,
    pub(super) bound: Bound<'a, B>,
}

impl<'a, B: Backends> LockedRange<'a, '_, B> {
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
pub(crate) async fn range<'a, 's, B: Backends>(
    context: &'a RestoreContext<'a, B>,
    follower: &'a LogFollower,
    claim: &'a mut Claim<'s, B>,
) -> Result<LockedRange<'a, 's, B>, Unverified> {
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
        claim,
        bound,
    })
}
