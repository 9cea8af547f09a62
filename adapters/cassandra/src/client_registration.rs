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
/// How long a session waits until every node that it is connected to lists it, once that node has answered.
const LISTED_BOUND: Duration = Duration::from_secs(10);
/// How long a node may take to list its clients for the first time: it looks up the host name of each.
const ANSWER_BOUND: Duration = Duration::from_secs(60);
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
            StoreError::Unavailable(_) | StoreError::Denied(_) => error,
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
    let mut unlisted_since = None;
    loop {
        let mut missing = None;
        for node in session.get_cluster_state().get_nodes_info() {
            let address = format!("{} ({})", node.address, node.host_id);
            if !node.is_connected() {
                missing = Some(Missing::Connection(address));
            } else {
                match lists(session, node.host_id, client_id).await? {
                    Some(true) => continue,
                    Some(false) => missing = Some(Missing::Listing(address)),
                    None => missing = Some(Missing::Answer(address)),
                }
                break;
            }
        }
        let Some(missing) = missing else {
            return Ok(());
        };
        let now = clock.now();
        let since = match missing {
            Missing::Listing(_) => *unlisted_since.get_or_insert(now),
            Missing::Connection(_) | Missing::Answer(_) => began,
        };
        if now.since(since) >= missing.bound() {
            return missing.at_the_bound();
        }
        clock.sleep(CHECK_INTERVAL).await;
    }
}

enum Missing {
    Connection(String),
    Listing(String),
    Answer(String),
}

impl Missing {
    fn bound(&self) -> Duration {
        match self {
            Self::Connection(_) => CONNECTED_BOUND,
            Self::Listing(_) => LISTED_BOUND,
            Self::Answer(_) => ANSWER_BOUND,
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
            Self::Answer(node) => Err(StoreError::Refused(format!(
                "node {node} did not list its clients (system_views.clients) within {} s: it looks up the host name of \
                 each, so see whether reverse look-ups of the clients' addresses are slow on that node's host",
                ANSWER_BOUND.as_secs()
            ))),
        }
    }
}

/// Whether the node lists the client; `None` if it does not answer.
async fn lists(session: &Session, host: Uuid, client_id: &str) -> Result<Option<bool>, StoreError> {
    let target = NodeIdentifier::HostId(host);
    let mut statement = Statement::new(statements::CLIENTS);
    statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
    match connections(session, statement).await {
        Ok(connections) => {
            let mut ids = connections.iter().map(|one| one.client_id.as_deref());
            Ok(Some(ids.any(|id| id == Some(client_id))))
        }
        // Slow, or gone meanwhile: checked again until the bound.
        Err(StoreError::Unavailable(_)) => Ok(None),
        Err(refused @ (StoreError::Refused(_) | StoreError::Denied(_))) => Err(refused),
    }
}
