//! Cleans up after dead members: in-doubt markers and dead members are read, a quiescence barrier begins after that, and
//! only then they are deleted, by name (rules R1, R2, R6): markers leave doubts of their ranges, dead members what their
//! partitions say (see [`uncertainty`](crate::uncertainty)). A restoration does so before it relies on the store;
//! processors do so in the background, one at a time ([`run`]).

use futures_util::future::try_join_all;

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{Cql, Nodes, Session, StoreError};
use stitch_common::range::RangeId;
use stitch_config::Config;

use crate::in_doubt::{self, InDoubtMarker};
use crate::known_nodes;
use crate::lock::Lock;
use crate::membership::{self, RemoveOutcome};
use crate::namespace_session::NamespaceSession;
use crate::path;
use crate::quiescence::{DeclaredDead, NodeSet, QuiescenceError, Request, await_quiescence};

/// In-doubt markers and dead members that were found and not yet waited out: a request of theirs may still change the
/// store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InDoubt {
    /// The dead members.
    pub dead_members: Vec<MemberId>,
    /// The in-doubt markers.
    pub markers: Vec<InDoubtMarker>,
}

impl InDoubt {
    /// Reads the dead members, and the markers of these ranges.
    ///
    /// # Errors
    /// [`crate::Error::NotInitialised`].
    pub async fn read<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        ranges: impl IntoIterator<Item = RangeId>,
    ) -> Result<Self, crate::Error> {
        let dead_members = membership::dead(session).await?;
        let reads = ranges
            .into_iter()
            .map(|range| in_doubt::list(session, range));
        let markers = try_join_all(reads).await?;
        Ok(Self {
            dead_members: dead_members.into_iter().collect(),
            markers: markers.into_iter().flatten().collect(),
        })
    }

    /// Whether nothing was found.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.dead_members.is_empty() && self.markers.is_empty()
    }

    /// Awaits the `barrier`, which so begins after this was read, then deletes what was found, by name. Waits for nothing
    /// if nothing was found. If the barrier fails, all of it stays; cancelled, some of it.
    pub async fn wait_out<S: Session, C: Clock, E: From<crate::Error>>(
        &self,
        session: &NamespaceSession<S, C>,
        barrier: impl AsyncFnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_empty() {
            return Ok(());
        }
        barrier().await?;
        for marker in &self.markers {
            in_doubt::delete(session, marker).await?;
        }
        for member in &self.dead_members {
            if membership::remove(session, member).await? == RemoveOutcome::Alive {
                tracing::warn!(%member, "dead member is alive again; left in place");
            }
        }
        Ok(())
    }
}

/// Why nothing was cleaned up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// ZooKeeper failed.
    #[error(transparent)]
    Coordination(#[from] crate::Error),
    /// Cassandra failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There was no quiescence.
    #[error(transparent)]
    Quiescence(#[from] QuiescenceError),
}

/// What a member cleaned up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum CleanupOutcome {
    /// This was waited out and deleted; it may be nothing.
    Deleted(InDoubt),
    /// Another member is at it.
    Busy,
}

/// Waits out and deletes the dead members and the markers of all ranges, unless another member does so already: each
/// barrier asks every node again and again, and one is enough. Cancelled, some of what was found stays, and the entry in
/// the queue until the session ends.
///
/// # Errors
/// A server failed, or there was no quiescence: what was not deleted stays.
pub async fn run<S: Session, C: Clock, Q: Cql>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    config: &Config,
) -> Result<CleanupOutcome, Error> {
    // These two are only reads: most often there is nothing to do, or somebody does it.
    if !session
        .children(&session.paths().cleanup())
        .await?
        .is_empty()
    {
        return Ok(CleanupOutcome::Busy);
    }
    let found = InDoubt::read(session, config.definitions.range_bits.ranges()).await?;
    if found.is_empty() {
        return Ok(CleanupOutcome::Deleted(found));
    }
    let mut turn = Turn::new(session);
    let waits = turn.lock().poll_granted(session).await?.is_some();
    let outcome = if waits {
        Ok(CleanupOutcome::Busy)
    } else {
        wait_out(session, cql, config, found).await
    };
    turn.lock().release(session).await?;
    outcome
}

async fn wait_out<S: Session, C: Clock, Q: Cql>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    config: &Config,
    found: InDoubt,
) -> Result<CleanupOutcome, Error> {
    let barrier = async || {
        let nodes = cql.connect_nodes().await?;
        let mut known = NodeSet::default();
        known.learn(&nodes.ring().await?);
        // Only now: the barrier concerns every member that exists as it begins.
        let timeout = config.restorator.quiescence_timeout;
        let nobody = DeclaredDead::default();
        let request = Request::now(session, &config.cassandra, nobody, timeout).await?;
        let clock = session.clock();
        let quiescence =
            await_quiescence(&nodes, session, clock, &mut known, &request, |_| {}).await?;
        tracing::debug!(took_ms = quiescence.took().as_millis(), "quiescence");
        known_nodes::forget(session, quiescence.dead_nodes()).await?;
        Ok::<_, Error>(())
    };
    found.wait_out(session, barrier).await?;
    Ok(CleanupOutcome::Deleted(found))
}

/// Marks the lock that lets one member at a time clean up.
struct Cleanup;

/// A member's entry among those that clean up. Nothing depends on it but the load, so dropping it is harmless: its node
/// lives as long as the session.
struct Turn(Option<Lock<Cleanup>>);

impl Turn {
    fn new<S: Session, C: Clock>(session: &NamespaceSession<S, C>) -> Self {
        let guid = session.next_guid();
        let directory = session.paths().cleanup();
        let entry = path::name::exclusive_entry(guid);
        Self(Some(Lock::with_target(Cleanup, directory, entry, guid)))
    }

    const fn lock(&mut self) -> &mut Lock<Cleanup> {
        self.0.as_mut().expect("it is taken out only by the drop")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            lock.abandon();
        }
    }
}
