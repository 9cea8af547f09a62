//! Cleans up after dead members: in-doubt markers and dead members are read, a quiescence barrier begins after that, and
//! only then they are deleted, by name (rules R1, R2, R6). A restoration does so before it relies on the store; a
//! processor that starts does so in the background.

use futures_util::future::try_join_all;

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::member::MemberId;
use stitch_common::ports::{Cql, Nodes, Session, StoreError};
use stitch_common::range::RangeId;

use crate::in_doubt::{self, InDoubtMarker};
use crate::membership::{self, RemoveOutcome};
use crate::namespace_session::NamespaceSession;
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
    /// [`crate::Error::NotInitialised`]; [`crate::Error::Corrupt`].
    pub async fn read<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        ranges: impl IntoIterator<Item = RangeId>,
    ) -> Result<Self, crate::Error> {
        let members = membership::list(session).await?;
        let reads = ranges
            .into_iter()
            .map(|range| in_doubt::list(session, range));
        let markers = try_join_all(reads).await?;
        Ok(Self {
            dead_members: members
                .dead_members()
                .map(|member| member.id.clone())
                .collect(),
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

/// Waits out and deletes the dead members and the markers of all ranges; returns those. Cancelled, some of them stay.
///
/// # Errors
/// A server failed, or there was no quiescence: what was not deleted stays.
pub async fn run<S: Session, C: Clock, Q: Cql>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    config: &Config,
) -> Result<InDoubt, Error> {
    let found = InDoubt::read(session, config.definitions.range_bits.ranges()).await?;
    let barrier = async || {
        let nodes = cql.connect_nodes().await?;
        let mut known = NodeSet::default();
        known.learn(&nodes.ring().await?);
        // Only now: the barrier concerns every member that exists as it begins.
        let members = membership::list(session).await?;
        let timeout = config.restorator.quiescence_timeout;
        let nobody = DeclaredDead::default();
        let request = Request::for_members(&members, &config.cassandra, nobody, timeout);
        let clock = session.clock();
        let quiescence =
            await_quiescence(&nodes, session, clock, &mut known, &request, |_| {}).await?;
        tracing::debug!(took_ms = quiescence.took().as_millis(), "quiescence");
        Ok::<_, Error>(())
    };
    found.wait_out(session, barrier).await?;
    Ok(found)
}
