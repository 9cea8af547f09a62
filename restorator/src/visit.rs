//! A visit to the namespace: agree with it, become a member, work, and leave as rule P8 says. The heartbeat is driven
//! beside the work, in the same future.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::lease::Lease;
use stitch_common::member::Role;
use stitch_common::ports::{Cql, EventLog, Keeper, Session};
use stitch_common::user_error::Failure;
use stitch_protocol::Coordinator;
use stitch_protocol::departure::{Departure, depart};
use stitch_protocol::membership::{self, Introduction, Joined};
use stitch_protocol::namespace::{Agreement, agree};
use stitch_protocol::path::Paths;
use tokio_util::sync::CancellationToken;

use crate::refuse;
use crate::site::Servers;
use crate::standing::Standing;

/// Who this process is, for others to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Where it runs.
    pub host: String,
    /// Its number there.
    pub id: u32,
}

/// This process as a member of the namespace.
pub struct Visit<K: Keeper, Q: Cql, C> {
    pub(crate) coordinator: Coordinator<K::Session, C>,
    pub(crate) store: Q::Store,
    pub(crate) nodes: Q::Nodes,
    pub(crate) agreement: Agreement,
    pub(crate) standing: Standing,
}

/// How long leaving may take.
const DEPARTURE_BOUND: Duration = Duration::from_secs(10);

/// Agrees with the namespace and becomes a member of it.
///
/// # Errors
/// A server cannot be reached, or the configuration is not the namespace's.
pub async fn enter<K: Keeper, Q: Cql, L: EventLog, C: Clock>(
    servers: &Servers<K, Q, L, C>,
    config: &Config,
    process: &Process,
    stop: CancellationToken,
) -> Result<Visit<K, Q, C>, Failure> {
    let session = servers.keeper.connect().await?;
    let lease = Lease::new(session.timeout());
    let paths = Paths::new(&config.namespace);
    let coordinator = Coordinator::new(session, servers.clock.clone(), paths);
    let entered = async {
        let agreement = join(servers, config, process, &coordinator).await?;
        let connected = connect(servers, &coordinator).await;
        if connected.is_err() {
            // Nothing was sent, so nothing is left behind.
            membership::leave(&coordinator).await?;
        }
        let (store, nodes) = connected?;
        Ok((agreement, store, nodes))
    };
    match entered.await {
        Ok((agreement, store, nodes)) => Ok(Visit {
            coordinator,
            store,
            nodes,
            agreement,
            standing: Standing::new(lease, stop),
        }),
        Err(failure) => {
            coordinator.close().await;
            Err(failure)
        }
    }
}

async fn join<K: Keeper, Q: Cql, L: EventLog, C: Clock>(
    servers: &Servers<K, Q, L, C>,
    config: &Config,
    process: &Process,
    coordinator: &Coordinator<K::Session, C>,
) -> Result<Agreement, Failure> {
    let introduction = Introduction {
        role: Role::Restorator,
        host: process.host.clone(),
        process_id: process.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    loop {
        let agreement = agree(coordinator, &servers.cql, &servers.log, config).await?;
        refuse::log(&agreement.found.log, &agreement.found.bounds)?;
        let version = agreement.defined.version;
        match membership::join(coordinator, version, &introduction).await? {
            Joined::Member(member) => {
                tracing::info!(%member, "restoring as a new member");
                return Ok(agreement);
            }
            Joined::DefinitionChanged => {}
        }
    }
}

async fn connect<K: Keeper, Q: Cql, L: EventLog, C: Clock>(
    servers: &Servers<K, Q, L, C>,
    coordinator: &Coordinator<K::Session, C>,
) -> Result<(Q::Store, Q::Nodes), Failure> {
    let store = servers.cql.connect_store(&coordinator.member()).await?;
    let nodes = servers.cql.connect_nodes().await?;
    Ok((store, nodes))
}

impl<K: Keeper, Q: Cql, C: Clock> Visit<K, Q, C> {
    /// Does `work`, with the heartbeat beside it.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let heartbeat = self.standing.keep(&self.coordinator);
        match select(pin!(work), pin!(heartbeat)).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Leaves: nothing stays behind, or a tombstone that says that something may still be on its way. Returns what the
    /// operator should know.
    pub async fn leave(self, cql: &Q) -> Option<String> {
        let unsettled = self.standing.is_unsettled();
        let unsettled = unsettled.then(|| "the outcome of some corrections is unknown".to_owned());
        let member = self.coordinator.member();
        let departed = depart(
            self.coordinator,
            self.store,
            cql,
            unsettled,
            DEPARTURE_BOUND,
        )
        .await;
        match departed {
            Departure::Clean => None,
            Departure::Tombstone { why } => Some(format!(
                "member {member} stays behind as a tombstone ({why}): the next run waits for a calm and removes it"
            )),
        }
    }
}
