//! What may still change the store, and the calm that waits it out: marks and tombstones are read, a calm begins after
//! that, and only then they are deleted, by name (rules R1, R2, R6).

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use futures_util::future::try_join_all;
use stitch_common::clock::{Clock, Moment};
use stitch_common::member::MemberId;
use stitch_common::range::RangeId;
use stitch_protocol::in_doubt::{self, InDoubtMarker};
use stitch_protocol::membership::{self, RemoveOutcome};
use stitch_protocol::quiescence::{
    Blocker, DeclaredDead, QuiescenceError, Request, await_quiescence,
};

use crate::context::RestoreContext;
use crate::error::Error;
use crate::rule;
use stitch_common::ports::Backends;

/// Signs that something may still change the store: read, and not yet waited out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InDoubt {
    dead_members: Vec<MemberId>,
    markers: Vec<InDoubtMarker>,
}

impl InDoubt {
    /// Reads tombstones, and the marks of these ranges.
    ///
    /// # Errors
    /// ZooKeeper could not be asked.
    pub(crate) async fn read<B: Backends>(
        site: &RestoreContext<'_, B>,
        ranges: impl IntoIterator<Item = RangeId>,
    ) -> Result<Self, Error> {
        let members = membership::list(site.session).await?;
        let dead_members = members
            .dead_members()
            .map(|member| member.id.clone())
            .collect();
        let reads = ranges
            .into_iter()
            .map(|range| in_doubt::of_range(site.session, range));
        let markers = try_join_all(reads).await?;
        Ok(Self {
            dead_members,
            markers: markers.into_iter().flatten().collect(),
        })
    }

    /// Whether there is nothing to wait out.
    #[must_use]
    pub(crate) fn is_none(&self) -> bool {
        self.dead_members.is_empty() && self.markers.is_empty()
    }

    /// R1: [`InDoubt::wait_out`], before cells are read.
    ///
    /// # Errors
    /// No calm came; what was read stays.
    pub(crate) async fn wait_out_before_reading<B: Backends>(
        self,
        site: &RestoreContext<'_, B>,
    ) -> Result<(), Error> {
        if rule::quiescence_comes_before_reading() {
            self.wait_out(site).await
        } else {
            Ok(())
        }
    }

    /// Awaits a calm, which so begins after this was read, and deletes what it has settled. Waits for nothing if
    /// there is nothing.
    ///
    /// # Errors
    /// No calm came; what was read stays.
    pub(crate) async fn wait_out<B: Backends>(
        self,
        site: &RestoreContext<'_, B>,
    ) -> Result<(), Error> {
        if self.is_none() {
            return Ok(());
        }
        site.progress.note(&format!(
            "something may still be on its way to the store ({} tombstones, {} marks): awaiting a calm",
            self.dead_members.len(),
            self.markers.len()
        ));
        calm(site).await?;
        for marker in &self.markers {
            in_doubt::delete(site.session, marker).await?;
        }
        for member in &self.dead_members {
            match membership::remove(site.session, member).await? {
                RemoveOutcome::Gone => {}
                RemoveOutcome::Alive => tracing::warn!(%member, "a tombstone came to life"),
            }
        }
        Ok(())
    }
}

/// Awaits a calm that begins now: what was sent before it cannot change the store any more.
///
/// # Errors
/// No calm came within its bound.
pub(crate) async fn calm<B: Backends>(site: &RestoreContext<'_, B>) -> Result<(), Error> {
    let members = membership::list(site.session).await?;
    let (cassandra, timeout) = (
        &site.config.cassandra,
        site.config.restorator.quiescence_timeout,
    );
    let request = Request::for_members(&members, cassandra, timeout);
    let word = DeclaredDead {
        node_gone: &|node| site.declared_dead.iter().any(|gone| gone.is_node(node)),
        member_gone: &|member| site.declared_dead.iter().any(|gone| gone.is_member(member)),
    };
    let mut known = site.known.borrow().clone();
    let mut teller = BlockerReporter::new(site);
    let tell = |blockers: &[Blocker]| teller.tell(blockers);
    let (nodes, watch, clock) = (site.nodes, site.session, site.clock);
    let came = await_quiescence(nodes, watch, clock, &mut known, &request, word, tell).await;
    // Another range's calm may have ended meanwhile; both only ever add nodes to what was known before.
    if known.iter().count() >= site.known.borrow().iter().count() {
        *site.known.borrow_mut() = known;
    }
    let calm = came.map_err(not_calm)?;
    tracing::info!(took_ms = calm.took().as_millis(), "calm");
    Ok(())
}

fn not_calm(error: QuiescenceError) -> Error {
    let help = match &error {
        QuiescenceError::NotInTime { .. } => {
            "do what is said of each thing that is waited for, then run it again; raise [restorator] quiescence_timeout_ms \
             if nothing but time was missing"
        }
        QuiescenceError::Refused(_) => {
            "see what `stitch-restorator check` says of the Cassandra nodes"
        }
        QuiescenceError::Over(_) => "see whether ZooKeeper is up, then run it again",
    };
    Error::NotQuiescent {
        message: error.to_string(),
        help: help.to_owned(),
    }
}

/// Tells what a calm waits for: at once, when it is something else, and now and then.
struct BlockerReporter<'a, 'b, B: Backends> {
    site: &'a RestoreContext<'b, B>,
    told: Option<(Moment, Vec<Discriminant<Blocker>>)>,
}

const TELL_EVERY: Duration = Duration::from_secs(10);

impl<'a, 'b, B: Backends> BlockerReporter<'a, 'b, B> {
    const fn new(site: &'a RestoreContext<'b, B>) -> Self {
        Self { site, told: None }
    }

    fn tell(&mut self, blockers: &[Blocker]) {
        let now = self.site.clock.now();
        let kinds: Vec<_> = blockers.iter().map(discriminant).collect();
        if let Some((at, told)) = &self.told
            && *told == kinds
            && now.since(*at) < TELL_EVERY
        {
            return;
        }
        for blocker in blockers {
            self.site
                .progress
                .note(&format!("awaiting a calm: {blocker}"));
        }
        self.told = Some((now, kinds));
    }
}
