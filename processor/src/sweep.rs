//! Sweeping: what dead members have left behind is waited out and deleted in the background, so that crash loops do not
//! pile up tombstones, and the next restoration finds few to wait for. Any member may do it; a starting one does.

use std::convert::Infallible;
use std::future::pending;

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::member::MemberId;
use stitch_common::ports::{Cql, Nodes, Session, StoreError};
use stitch_protocol::Coordinator;
use stitch_protocol::calm::{CalmError, KnownNodes, Request, Word, await_calm};
use stitch_protocol::marks::{self, Mark};
use stitch_protocol::membership::{self, Forgot};

/// Why nothing was swept: the next member that starts tries again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Coordination(#[from] stitch_protocol::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Calm(#[from] CalmError),
}

/// What was left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    tombstones: Vec<MemberId>,
    marks: Vec<Mark>,
}

impl Left {
    pub(crate) const fn is_nothing(&self) -> bool {
        self.tombstones.is_empty() && self.marks.is_empty()
    }
}

/// Reads tombstones and marks, awaits a calm that begins after that, and deletes them by name. Waits for nothing if
/// there is nothing. Cancelled, some of them stay.
pub(crate) async fn sweep<S: Session, C: Clock, Q: Cql>(
    coordinator: &Coordinator<S, C>,
    cql: &Q,
    config: &Config,
) -> Result<Left, Error> {
    let members = membership::list(coordinator).await?;
    let left = Left {
        tombstones: members
            .tombstones()
            .map(|member| member.id.clone())
            .collect(),
        marks: marks::of_all_ranges(coordinator, config.definitions.range_bits).await?,
    };
    if left.is_nothing() {
        return Ok(left);
    }
    let nodes = cql.connect_nodes().await?;
    let mut known = KnownNodes::default();
    known.learn(&nodes.ring().await?);
    // Only now: the calm concerns every member that exists as it begins.
    let members = membership::list(coordinator).await?;
    let timeout = config.restorator.calm_timeout;
    let request = Request::for_members(&members, &config.cassandra, timeout);
    let nobody_says = Word {
        node_gone: &|_| false,
        member_gone: &|_| false,
    };
    let clock = coordinator.clock();
    let calm = await_calm(
        &nodes,
        coordinator,
        clock,
        &mut known,
        &request,
        nobody_says,
        |_| {},
    )
    .await?;
    tracing::debug!(took_ms = calm.took().as_millis(), "calm");
    for mark in &left.marks {
        marks::delete(coordinator, mark).await?;
    }
    for member in &left.tombstones {
        if membership::forget(coordinator, member).await? == Forgot::Alive {
            tracing::warn!(%member, "a tombstone came to life");
        }
    }
    Ok(left)
}

/// Sweeps once, says what came of it, and never ends: it runs beside the counting, and goes with it.
pub(crate) async fn once<S: Session, C: Clock, Q: Cql>(
    coordinator: &Coordinator<S, C>,
    cql: &Q,
    config: &Config,
) -> Infallible {
    match sweep(coordinator, cql, config).await {
        Ok(left) if left.is_nothing() => {}
        Ok(left) => tracing::info!(
            tombstones = left.tombstones.len(),
            marks = left.marks.len(),
            "what dead members left behind can take effect no more: deleted"
        ),
        Err(error) => tracing::info!(%error, "not swept, the next member that starts tries again"),
    }
    pending().await
}
