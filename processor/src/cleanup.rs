//! Sweeping: what dead members have left behind is waited out and deleted in the background, so that crash loops do not
//! pile up tombstones, and the next restoration finds few to wait for. Any member may do it; a starting one does.

use std::convert::Infallible;
use std::future::pending;

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::member::MemberId;
use stitch_common::ports::{Cql, Nodes, Session, StoreError};
use stitch_protocol::NamespaceSession;
use stitch_protocol::in_doubt::{self, InDoubtMarker};
use stitch_protocol::membership::{self, RemoveOutcome};
use stitch_protocol::quiescence::{
    DeclaredDead, KnownNodes, QuiescenceError, Request, await_quiescence,
};

/// Why nothing was swept: the next member that starts tries again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Coordination(#[from] stitch_protocol::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Quiescence(#[from] QuiescenceError),
}

/// What was left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    dead_members: Vec<MemberId>,
    markers: Vec<InDoubtMarker>,
}

impl Left {
    pub(crate) const fn is_nothing(&self) -> bool {
        self.dead_members.is_empty() && self.markers.is_empty()
    }
}

/// Reads tombstones and marks, awaits a calm that begins after that, and deletes them by name. Waits for nothing if
/// there is nothing. Cancelled, some of them stay.
pub(crate) async fn sweep<S: Session, C: Clock, Q: Cql>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    config: &Config,
) -> Result<Left, Error> {
    let members = membership::list(session).await?;
    let left = Left {
        dead_members: members
            .dead_members()
            .map(|member| member.id.clone())
            .collect(),
        markers: in_doubt::of_all_ranges(session, config.definitions.range_bits).await?,
    };
    if left.is_nothing() {
        return Ok(left);
    }
    let nodes = cql.connect_nodes().await?;
    let mut known = KnownNodes::default();
    known.learn(&nodes.ring().await?);
    // Only now: the calm concerns every member that exists as it begins.
    let members = membership::list(session).await?;
    let timeout = config.restorator.quiescence_timeout;
    let request = Request::for_members(&members, &config.cassandra, timeout);
    let nobody_says = DeclaredDead {
        node_gone: &|_| false,
        member_gone: &|_| false,
    };
    let clock = session.clock();
    let calm = await_quiescence(
        &nodes,
        session,
        clock,
        &mut known,
        &request,
        nobody_says,
        |_| {},
    )
    .await?;
    tracing::debug!(took_ms = calm.took().as_millis(), "calm");
    for marker in &left.markers {
        in_doubt::delete(session, marker).await?;
    }
    for member in &left.dead_members {
        if membership::remove(session, member).await? == RemoveOutcome::Alive {
            tracing::warn!(%member, "a tombstone came to life");
        }
    }
    Ok(left)
}

/// Sweeps once, says what came of it, and never ends: it runs beside the counting, and goes with it.
pub(crate) async fn once<S: Session, C: Clock, Q: Cql>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    config: &Config,
) -> Infallible {
    match sweep(session, cql, config).await {
        Ok(left) if left.is_nothing() => {}
        Ok(left) => tracing::info!(
            dead_members = left.dead_members.len(),
            markers = left.markers.len(),
            "what dead members left behind can take effect no more: deleted"
        ),
        Err(error) => tracing::info!(%error, "not swept, the next member that starts tries again"),
    }
    pending().await
}
