//! R2: the exclusive lock of the range, and a calm if, after the grant, anything can still be on its way.

use std::collections::BTreeMap;

use stitch_common::cell::Cell;
use stitch_common::clock::{Clock, Moment};
use stitch_common::mutation::{Rule, out};
use stitch_common::range::RangeId;
use stitch_protocol::contender::Kind;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::revocation::{self, RevocationRequest};

use super::Task;
use super::bound::Bound;
use crate::failpoint;
use crate::plan::judge::Drift;
use crate::quiescence::InDoubt;
use crate::site::{Site, World};
use crate::unverified::Unverified;

/// What a range's restoration has in ZooKeeper and has sent to the store: what [`release`](super::release) gives back
/// however the restoration ends.
#[derive(Debug)]
pub struct Claim {
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
    pub fn new<W: World>(site: &Site<'_, W>, range: RangeId) -> Self {
        Self {
            range,
            lock: RangeLock::new(site.session, range, Kind::Exclusive),
            request: None,
            queued: None,
            granted: None,
            in_doubt: false,
            corrected: BTreeMap::new(),
        }
    }
}

/// The range is held, and nobody but this process has a request in it that could still change the store (I1).
pub struct Held<'a, W: World> {
    task: &'a Task<'a, W>,
    pub(super) claim: &'a mut Claim,
    pub(super) bound: Bound<'a, W>,
}

impl<'a, W: World> Held<'a, W> {
    /// What the restoration works with.
    pub const fn task(&self) -> &'a Task<'a, W> {
        self.task
    }

    /// Which range.
    pub const fn range(&self) -> RangeId {
        self.claim.range
    }
}

/// Creates the WRIT node, then the request, waits for every earlier node to go, and for a calm if need be.
///
/// # Errors
/// At the bound, or when something could not be done. The claim says what has to be given back.
pub async fn range<'a, W: World>(
    task: &'a Task<'a, W>,
    claim: &'a mut Claim,
) -> Result<Held<'a, W>, Unverified> {
    let site = task.site;
    let mut bound = Bound::new(site);
    claim.queued = Some(site.clock.now());
    let queued = claim.lock.queue(site.session);
    bound
        .wait("taking a place in the queue of the range's lock", queued)
        .await?;
    failpoint::pass("r2-queued");
    // The request stands after the node that it is for, so whoever sees it sees that, too.
    let asked = revocation::ask(site.session, &claim.lock);
    claim.request = Some(
        bound
            .wait("asking the range's holders to yield", asked)
            .await?,
    );
    failpoint::pass("r2-asked");
    let granted = claim.lock.wait_granted(site.session);
    bound
        .wait("waiting until the range's holders have yielded", granted)
        .await?;
    claim.granted = Some(site.clock.now());
    failpoint::pass("r2-granted");
    // After the grant: who yielded with something unknown has marked it before its node went.
    let in_doubt = InDoubt::read(site, [claim.range]);
    let in_doubt = bound.wait("reading marks and tombstones", in_doubt).await?;
    if !out(Rule::CalmAfterGrant) {
        bound.wait_out(in_doubt).await?;
    }
    Ok(Held { task, claim, bound })
}
