//! R2: the exclusive lock of the range, and a calm if, after the grant, anything can still be on its way.

use std::collections::BTreeMap;

use stitch_common::cell::Cell;
use stitch_common::clock::{Clock, Moment};
use stitch_common::range::RangeId;
use stitch_protocol::contender::Kind;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::revocation::{self, RevocationRequest};

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

/// What a range's restoration has in ZooKeeper and has sent to the store: what [`release`](super::release) gives back
/// however the restoration ends.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(super) range: RangeId,
    pub(super) lock: RangeLock,
    pub(super) request: Option<RevocationRequest>,
    pub(super) queued: Option<Moment>,
    pub(super) granted: Option<Moment>,
    /// A correction of unknown outcome was sent, and no calm has come since.
    pub(super) in_doubt: bool,
    pub(super) corrected: BTreeMap<Cell, Drift>,
}

impl Claim {
    /// A claim to `range` for which nothing has been done yet.
    pub(crate) fn new<B: Backends>(context: &RestoreContext<'_, B>, range: RangeId) -> Self {
        Self {
            range,
            lock: RangeLock::new(context.session, range, Kind::Exclusive),
            request: None,
            queued: None,
            granted: None,
            in_doubt: false,
            corrected: BTreeMap::new(),
        }
    }
}

/// The range is held, and nobody but this process has a request in it that could still change the store (I1).
pub(crate) struct Held<'a, B: Backends> {
    context: &'a RestoreContext<'a, B>,
    pub(super) follower: &'a LogFollower,
    pub(super) journal: &'a Journal,
    pub(super) claim: &'a mut Claim,
    pub(super) bound: Bound<'a, B>,
}

impl<'a, B: Backends> Held<'a, B> {
    /// What the restoration works with.
    pub(crate) const fn context(&self) -> &'a RestoreContext<'a, B> {
        self.context
    }

    /// Which range.
    pub(crate) const fn range(&self) -> RangeId {
        self.claim.range
    }
}

/// Creates the WRIT node, then the request, waits for every earlier node to go, and for a calm if need be.
///
/// # Errors
/// At the bound, or when something could not be done. The claim says what has to be given back.
pub(crate) async fn range<'a, B: Backends>(
    context: &'a RestoreContext<'a, B>,
    follower: &'a LogFollower,
    journal: &'a Journal,
    claim: &'a mut Claim,
) -> Result<Held<'a, B>, Unverified> {
    let mut bound = Bound::new(context);
    claim.queued = Some(context.clock.now());
    let queued = claim.lock.queue(context.session);
    bound
        .wait("taking a place in the queue of the range's lock", queued)
        .await?;
    failpoint::pass("r2-queued");
    // The request stands after the node that it is for, so whoever sees it sees that, too.
    let asked = revocation::ask(context.session, &claim.lock);
    claim.request = Some(
        bound
            .wait("asking the range's holders to yield", asked)
            .await?,
    );
    failpoint::pass("r2-asked");
    let granted = claim.lock.wait_granted(context.session);
    bound
        .wait("waiting until the range's holders have yielded", granted)
        .await?;
    claim.granted = Some(context.clock.now());
    failpoint::pass("r2-granted");
    // After the grant: who yielded with something unknown has marked it before its node went.
    let in_doubt = InDoubt::read(context, [claim.range]);
    let in_doubt = bound.wait("reading marks and tombstones", in_doubt).await?;
    if rule::quiescence_comes_after_the_grant() {
        bound.wait_out(in_doubt).await?;
    }
    Ok(Held {
        context,
        follower,
        journal,
        claim,
        bound,
    })
}
