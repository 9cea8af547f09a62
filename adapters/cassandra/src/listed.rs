//! The connections that a node lists (`system_views.clients`), and a session's wait to see its own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use scylla::client::session::Session;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Statement;
use uuid::Uuid;

use super::{statements, table};
use stitch_common::clock::Clock;
use stitch_common::ports::{Connection, StoreError};

/// What the driver calls itself at STARTUP is listed under this name.
const CLIENT_ID: &str = "CLIENT_ID";
/// How long a session waits until every node that it has connections to lists it.
const LISTED_BOUND: Duration = Duration::from_secs(10);
/// How long it waits for a connection to every node.
const CONNECTED_BOUND: Duration = Duration::from_secs(3);
/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A row of `system_views.clients`: address, port, what the client said at STARTUP.
type Listed = (IpAddr, i32, Option<HashMap<String, String>>);

/// What one node lists. The statement goes where `session` sends it.
pub(super) async fn connections(
    session: &Session,
    statement: Statement,
) -> Result<Vec<Connection>, StoreError> {
    let rows: Vec<Listed> =
        table::rows(session, statement, ()).await.map_err(|error| match error {
            StoreError::Refused(why) => StoreError::Refused(format!(
                "the server does not list its clients with what they call themselves \
                 (system_views.clients.client_options): Stitch needs Apache Cassandra 5.0 or later; ScyllaDB is not \
                 supported, its calm is another one ({why})"
            )),
            StoreError::Unavailable(_) => error,
        })?;
    let connection = |(address, port, options): Listed| {
        let port = u16::try_from(port)
            .map_err(|_| StoreError::Refused(format!("a client's port is listed as {port}")))?;
        Ok(Connection {
            client_id: options.and_then(|mut options| options.remove(CLIENT_ID)),
            client: SocketAddr::new(address, port),
        })
    };
    rows.into_iter().map(connection).collect()
}

/// Waits until every node that `session` has connections to lists them under `client_id`: a member whose connections
/// cannot be seen could not be told dead. A node without any connection is passed over at the bound: nothing can be
/// sent to it, and a connection to it that is made later says the same at its STARTUP.
pub(super) async fn wait_until_listed<C: Clock>(
    session: &Session,
    client_id: &str,
    clock: &C,
) -> Result<(), StoreError> {
    let began = clock.now();
    loop {
        let mut waiting_for = None;
        for node in session.get_cluster_state().get_nodes_info() {
            let address = format!("{} ({})", node.address, node.host_id);
            if !node.is_connected() {
                waiting_for = Some(Missing::Connection(address));
            } else if !lists(session, node.host_id, client_id).await? {
                waiting_for = Some(Missing::Listing(address));
                break;
            }
        }
        let Some(missing) = waiting_for else {
            return Ok(());
        };
        if clock.now().since(began) >= missing.bound() {
            return missing.at_the_bound();
        }
        clock.sleep(LOOK_INTERVAL).await;
    }
}

enum Missing {
    Connection(String),
    Listing(String),
}

impl Missing {
    fn bound(&self) -> Duration {
        match self {
            Self::Connection(_) => CONNECTED_BOUND,
            Self::Listing(_) => LISTED_BOUND,
        }
    }

    fn at_the_bound(self) -> Result<(), StoreError> {
        match self {
            Self::Connection(node) => {
                tracing::warn!(%node, "no connection to this node; going on without it");
                Ok(())
            }
            Self::Listing(node) => Err(StoreError::Refused(format!(
                "node {node} does not list our connections under our id in system_views.clients: a process whose \
                 connections cannot be seen could not be told dead; does something stand between us and the node \
                 that speaks the protocol itself?"
            ))),
        }
    }
}

async fn lists(session: &Session, host: Uuid, client_id: &str) -> Result<bool, StoreError> {
    let target = NodeIdentifier::HostId(host);
    let mut statement = Statement::new(statements::CLIENTS);
    statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
    match connections(session, statement).await {
        Ok(listed) => Ok(listed
            .iter()
            .any(|connection| connection.client_id.as_deref() == Some(client_id))),
        // The node went away meanwhile: looked at again until the bound.
        Err(StoreError::Unavailable(_)) => Ok(false),
        Err(refused @ StoreError::Refused(_)) => Err(refused),
    }
}
