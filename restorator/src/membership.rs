//! A restorator's membership: validate the namespace, join it, work, and leave as rule P8 says. The heartbeat is driven
//! in the same future as the work.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::lease::Lease;
use stitch_common::member::Role;
use stitch_common::ports::{Backends, Cql, Session, SessionState, ZooKeeper};
use stitch_common::server_failure::ServerFailure;
use stitch_common::wait::within;
use stitch_config::Config;
use stitch_protocol::NamespaceSession;
use stitch_protocol::known_nodes;
use stitch_protocol::leave::{LeaveOutcome, leave};
use stitch_protocol::membership::{self, MemberInfo};
use stitch_protocol::namespace::{self, ValidatedNamespace};
use stitch_protocol::path::Paths;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::lease_keeper::{Interruption, LeaseKeeper};
use crate::preflight;

/// This process, as its member record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The host that it runs on.
    pub host: String,
    /// Its process id on that host.
    pub id: u32,
}

/// This process as a member of the namespace.
pub struct Membership<B: Backends> {
    pub(crate) session: NamespaceSession<B::Session, B::Clock>,
    pub(crate) store: B::Store,
    pub(crate) nodes: B::Nodes,
    pub(crate) validated: ValidatedNamespace,
    pub(crate) lease_keeper: LeaseKeeper,
}

/// How long leaving may take.
const LEAVE_BOUND: Duration = Duration::from_secs(10);

/// Validates the namespace, joins it, and connects to Cassandra as its member.
///
/// # Errors
/// A server does not answer, the configuration is not the namespace's, or `stop` was cancelled: it has left again.
pub(crate) async fn join<B: Backends>(
    servers: &B,
    config: &Config,
    process: &Process,
    stop: CancellationToken,
) -> Result<Membership<B>, ServerFailure> {
    let connecting = pin!(servers.zookeeper().connect());
    let session = match select(connecting, pin!(stop.cancelled())).await {
        Either::Left((session, _)) => session?,
        // Dropped with its connection; it has created nothing.
        Either::Right(((), _)) => return Err(stopped()),
    };
    let lease = Lease::new(session.timeout());
    let paths = Paths::below(&config.zookeeper.root, &config.namespace);
    let session = NamespaceSession::new(session, servers.clock().clone(), paths);
    let info = member_info(config, process);
    let joined = async {
        let validated = namespace::join(
            &session,
            servers.cassandra(),
            servers.log(),
            config,
            &info,
            preflight::log,
        )
        .await?;
        tracing::info!(member = %session.member(), "restoring as a new member");
        let connected = connect(servers, &session).await;
        if connected.is_err() {
            // Nothing was sent, so nothing is left behind.
            membership::leave(&session).await?;
        }
        let (store, nodes) = connected?;
        Ok::<_, ServerFailure>((validated, store, nodes))
    };
    let joined = match select(Box::pin(joined), pin!(stop.cancelled())).await {
        Either::Left((joined, _)) => joined,
        Either::Right(((), joined)) => {
            drop(joined);
            // Nothing was sent to Cassandra. What leaving sends comes after whatever joining has sent.
            let left = membership::leave(&session);
            if !matches!(
                within(servers.clock(), LEAVE_BOUND, left).await,
                Some(Ok(()))
            ) {
                tracing::warn!(member = %session.member(), "stopped while joining: it stays behind as a dead member");
            }
            Err(stopped())
        }
    };
    match joined {
        Ok((validated, store, nodes)) => Ok(Membership {
            session,
            store,
            nodes,
            validated,
            lease_keeper: LeaseKeeper::new(lease, stop),
        }),
        Err(failure) => {
            let is_lost = session.zookeeper().state() != SessionState::Connected;
            session.close().await;
            Err(if is_lost {
                ServerFailure::Away(failure.into())
            } else {
                failure
            })
        }
    }
}

fn member_info(config: &Config, process: &Process) -> MemberInfo {
    MemberInfo {
        role: Role::Restorator,
        host: process.host.clone(),
        process_id: process.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        keepalive_interval: config.cassandra.keepalive_interval,
        keepalive_timeout: config.cassandra.keepalive_timeout,
    }
}

fn stopped() -> ServerFailure {
    ServerFailure::Refused(Error::Interrupted(Interruption::Stopped).into())
}

async fn connect<B: Backends>(
    servers: &B,
    session: &NamespaceSession<B::Session, B::Clock>,
) -> Result<(B::Store, B::Nodes), ServerFailure> {
    let store = servers.cassandra().connect_store(&session.member()).await?;
    known_nodes::admit(session, &store).await?;
    let nodes = servers.cassandra().connect_nodes().await?;
    Ok((store, nodes))
}

impl<B: Backends> Membership<B> {
    /// Runs `work`, the heartbeat and the admission of nodes in one future, until the work ends.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let heartbeat = pin!(self.lease_keeper.keep(&self.session));
        let admitting = pin!(known_nodes::keep_admitting(&self.session, &self.store));
        // The heartbeat first: work that never has to wait needs a lease, too.
        match select(select(heartbeat, admitting), pin!(work)).await {
            Either::Left((Either::Left((never, _)) | Either::Right((never, _)), _)) => {
                match never {}
            }
            Either::Right((output, _)) => output,
        }
    }

    /// Leaves: nothing stays behind, or a dead member's record, because a request may still be in flight. Returns what
    /// the operator should know.
    pub async fn leave(self, cql: &B::Cassandra) -> Option<String> {
        let in_doubt = self.lease_keeper.is_in_doubt();
        let in_doubt = in_doubt.then(|| "the outcome of some corrections is unknown".to_owned());
        let member = self.session.member();
        match leave(self.session, self.store, cql, in_doubt, LEAVE_BOUND).await {
            LeaveOutcome::Clean => None,
            LeaveOutcome::DeadMember { why } => Some(format!(
                "member {member} stays behind as a dead member ({why}): the next run awaits quiescence and removes it"
            )),
        }
    }
}
