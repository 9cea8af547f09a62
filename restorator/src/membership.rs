//! A visit to the namespace: agree with it, become a member, work, and leave as rule P8 says. The heartbeat is driven
//! beside the work, in the same future.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::config::Config;
use stitch_common::lease::Lease;
use stitch_common::member::Role;
use stitch_common::ports::{Backends, Cql, Session, ZooKeeper};
use stitch_common::user_error::UserError;
use stitch_protocol::NamespaceSession;
use stitch_protocol::leave::{LeaveOutcome, leave};
use stitch_protocol::membership::{self, Joined, MemberInfo};
use stitch_protocol::namespace::{ValidatedNamespace, validate};
use stitch_protocol::path::Paths;
use tokio_util::sync::CancellationToken;

use crate::lease_keeper::LeaseKeeper;
use crate::preflight;

/// Who this process is, for others to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Where it runs.
    pub host: String,
    /// Its number there.
    pub id: u32,
}

/// This process as a member of the namespace.
pub struct Membership<B: Backends> {
    pub(crate) session: NamespaceSession<B::Session, B::Clock>,
    pub(crate) store: B::Store,
    pub(crate) nodes: B::Nodes,
    pub(crate) validated: ValidatedNamespace,
    pub(crate) standing: LeaseKeeper,
}

/// How long leaving may take.
const DEPARTURE_BOUND: Duration = Duration::from_secs(10);

/// Agrees with the namespace and becomes a member of it.
///
/// # Errors
/// A server cannot be reached, or the configuration is not the namespace's.
pub async fn enter<B: Backends>(
    servers: &B,
    config: &Config,
    process: &Process,
    stop: CancellationToken,
) -> Result<Membership<B>, UserError> {
    let session = servers.zookeeper().connect().await?;
    let lease = Lease::new(session.timeout());
    let paths = Paths::new(&config.namespace);
    let session = NamespaceSession::new(session, servers.clock().clone(), paths);
    let entered = async {
        let validated = join(servers, config, process, &session).await?;
        let connected = connect(servers, &session).await;
        if connected.is_err() {
            // Nothing was sent, so nothing is left behind.
            membership::leave(&session).await?;
        }
        let (store, nodes) = connected?;
        Ok((validated, store, nodes))
    };
    match entered.await {
        Ok((validated, store, nodes)) => Ok(Membership {
            session,
            store,
            nodes,
            validated,
            standing: LeaseKeeper::new(lease, stop),
        }),
        Err(failure) => {
            session.close().await;
            Err(failure)
        }
    }
}

async fn join<B: Backends>(
    servers: &B,
    config: &Config,
    process: &Process,
    session: &NamespaceSession<B::Session, B::Clock>,
) -> Result<ValidatedNamespace, UserError> {
    let info = MemberInfo {
        role: Role::Restorator,
        host: process.host.clone(),
        process_id: process.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    loop {
        let validated = validate(session, servers.cassandra(), servers.log(), config).await?;
        preflight::log(&validated.found.log, &validated.found.bounds)?;
        let version = validated.defined.version;
        match membership::join(session, version, &info).await? {
            Joined::Member(member) => {
                tracing::info!(%member, "restoring as a new member");
                return Ok(validated);
            }
            Joined::DefinitionChanged => {}
        }
    }
}

async fn connect<B: Backends>(
    servers: &B,
    session: &NamespaceSession<B::Session, B::Clock>,
) -> Result<(B::Store, B::Nodes), UserError> {
    let store = servers.cassandra().connect_store(&session.member()).await?;
    let nodes = servers.cassandra().connect_nodes().await?;
    Ok((store, nodes))
}

impl<B: Backends> Membership<B> {
    /// Does `work`, with the heartbeat beside it.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let heartbeat = self.standing.keep(&self.session);
        match select(pin!(work), pin!(heartbeat)).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Leaves: nothing stays behind, or a tombstone that says that something may still be on its way. Returns what the
    /// operator should know.
    pub async fn leave(self, cql: &B::Cassandra) -> Option<String> {
        let in_doubt = self.standing.is_unsettled();
        let in_doubt = in_doubt.then(|| "the outcome of some corrections is unknown".to_owned());
        let member = self.session.member();
        let departed = leave(self.session, self.store, cql, in_doubt, DEPARTURE_BOUND).await;
        match departed {
            LeaveOutcome::Clean => None,
            LeaveOutcome::Dead { why } => Some(format!(
                "member {member} stays behind as a tombstone ({why}): the next run waits for a calm and removes it"
            )),
        }
    }
}
