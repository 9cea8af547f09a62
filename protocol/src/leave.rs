//! Leaves the namespace (rule P8): the driver session is closed, and only once no Cassandra node lists it the member node
//! is deleted. If that cannot be seen, the node stays as a dead member's record, which the next quiescence barrier waits
//! out.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{Cql, Nodes, Probe, Session, Store};

use crate::{NamespaceSession, membership, rule};

/// What a member left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum LeaveOutcome {
    /// Nothing.
    Clean,
    /// Its member node: it is a dead member now.
    DeadMember {
        /// Why the node was not deleted.
        why: String,
    },
}

/// The pause between two reads of the nodes' connections.
const PAUSE: Duration = Duration::from_millis(100);

/// The time that one node has to answer.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// Closes the driver session, waits no longer than `bound` until no node lists it, deletes the member node and ends the
/// ZooKeeper session. With `in_doubt`, a request of the member may still change the store, so the node stays.
///
/// Cancelled, the member node may stay.
pub async fn leave<S: Session, C: Clock, Q: Cql>(
    session: NamespaceSession<S, C>,
    store: Q::Store,
    cql: &Q,
    in_doubt: Option<String>,
    bound: Duration,
) -> LeaveOutcome {
    let member = session.member();
    store.close().await;
    let reason = match in_doubt.filter(|_| rule::in_doubt_keeps_member()) {
        Some(why) => Some(why),
        None => unlisted(cql, &member, session.clock(), bound)
            .await
            .err()
            .filter(|_| rule::connection_keeps_member()),
    };
    let reason = match reason {
        Some(why) => Some(why),
        None => membership::leave(&session)
            .await
            .err()
            .map(|error| format!("its node could not be deleted: {error}")),
    };
    session.close().await;
    reason.map_or(LeaveOutcome::Clean, |why| LeaveOutcome::DeadMember { why })
}

/// Waits until no node lists a connection of `member`.
///
/// # Errors
/// Why that cannot be said after `bound`.
pub async fn unlisted<Q: Cql, C: Clock>(
    cql: &Q,
    member: &MemberId,
    clock: &C,
    bound: Duration,
) -> Result<(), String> {
    let last = RefCell::new("no node answers".to_owned());
    let unlisted = async {
        let nodes = cql
            .connect_nodes()
            .await
            .map_err(|error| error.to_string())?;
        while let Some(why) = listed_at(&nodes, member).await {
            last.replace(why);
            clock.sleep(PAUSE).await;
        }
        Ok(())
    };
    match select(pin!(unlisted), pin!(clock.sleep(bound))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(((), _)) => Err(last.take()),
    }
}

/// Why it cannot be said that no node lists `member`; none if no node does.
async fn listed_at(nodes: &impl Nodes, member: &MemberId) -> Option<String> {
    let ring = match nodes.ring().await {
        Ok(ring) => ring,
        Err(error) => return Some(error.to_string()),
    };
    for state in ring {
        let address = state.node.address;
        match nodes.connections(&state.node, NODE_TIMEOUT).await {
            Ok(connections) => {
                let own = |id: &String| id == member.as_str();
                if connections
                    .iter()
                    .any(|connection| connection.client_id.as_ref().is_some_and(own))
                {
                    return Some(format!("node {address} still lists its connections"));
                }
            }
            // It refuses connections, and its peers agree that it is down: it holds none.
            Err(_)
                if !state.up && nodes.probe(&state.node, NODE_TIMEOUT).await == Probe::Refused => {}
            Err(error) => {
                return Some(format!(
                    "node {address} does not list its connections: {error}"
                ));
            }
        }
    }
    None
}
