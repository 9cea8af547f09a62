//! The client connections that a node lists (`system_views.clients`), and a session's wait for its own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use scylla::client::session::Session;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Statement;
use uuid::Uuid;

use super::{REQUIRED_SERVER, statements, table};
use stitch_common::clock::Clock;
use stitch_common::ports::{Connection, StoreError};

/// The STARTUP option with the id of the driver's session.
const CLIENT_ID: &str = "CLIENT_ID";
/// How long a session waits until every node that it is connected to lists it.
const LISTED_BOUND: Duration = Duration::from_secs(10);
/// How long it waits for a connection to every node.
const CONNECTED_BOUND: Duration = Duration::from_secs(3);
/// How often it checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A row of `system_views.clients`: address, port, options that the client sent at STARTUP.
type ClientRow = (IpAddr, i32, Option<HashMap<String, String>>);

/// The connections that one node lists: the one that `session` sends the statement to.
pub(super) async fn connections(
    session: &Session,
    statement: Statement,
) -> Result<Vec<Connection>, StoreError> {
    let rows: Vec<ClientRow> =
        table::rows(session, statement, ()).await.map_err(|error| match error {
            StoreError::Refused(why) => StoreError::Refused(format!(
                "the server does not list its clients' ids (system_views.clients.client_options): Stitch needs \
                 {REQUIRED_SERVER}; ScyllaDB is not supported, it would need another quiescence barrier ({why})"
            )),
            StoreError::Unavailable(_) => error,
        })?;
    let connection = |(address, port, options): ClientRow| {
        let port = u16::try_from(port)
            .map_err(|_| StoreError::Refused(format!("a client's port is listed as {port}")))?;
        Ok(Connection {
            client_id: options.and_then(|mut options| options.remove(CLIENT_ID)),
            client: SocketAddr::new(address, port),
        })
    };
    rows.into_iter().map(connection).collect()
}

/// Waits until every node that `session` is connected to lists it under `client_id`: a member whose connections are not
/// listed could not be declared dead. A node without any connection is skipped at the bound: nothing can be sent to it,
/// and a connection opened later has the same id.
pub(super) async fn wait_until_listed<C: Clock>(
    session: &Session,
    client_id: &str,
    clock: &C,
) -> Result<(), StoreError> {
    let began = clock.now();
    loop {
        let mut missing = None;
        for node in session.get_cluster_state().get_nodes_info() {
            let address = format!("{} ({})", node.address, node.host_id);
            if !node.is_connected() {
                missing = Some(Missing::Connection(address));
            } else if !lists(session, node.host_id, client_id).await? {
                missing = Some(Missing::Listing(address));
                break;
            }
        }
        let Some(missing) = missing else {
            return Ok(());
        };
        if clock.now().since(began) >= missing.bound() {
            return missing.at_the_bound();
        }
        clock.sleep(CHECK_INTERVAL).await;
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
                tracing::warn!(%node, "no connection to this node; continuing without it");
                Ok(())
            }
            Self::Listing(node) => Err(StoreError::Refused(format!(
                "node {node} does not list our connections under our id in system_views.clients: a process whose \
                 connections are not listed could not be declared dead; is there a proxy between us and the node that \
                 speaks the protocol itself?"
            ))),
        }
    }
}

async fn lists(session: &Session, host: Uuid, client_id: &str) -> Result<bool, StoreError> {
    let target = NodeIdentifier::HostId(host);
    let mut statement = Statement::new(statements::CLIENTS);
    statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
    match connections(session, statement).await {
        Ok(connections) => Ok(connections
            .iter()
            .any(|connection| connection.client_id.as_deref() == Some(client_id))),
        // The node went away meanwhile: checked again until the bound.
        Err(StoreError::Unavailable(_)) => Ok(false),
        Err(refused @ StoreError::Refused(_)) => Err(refused),
    }
}
