//! How a member goes (rule P8): its driver session is closed and seen unlisted at every node, and only then its member
//! node deleted. What cannot be seen leaves the node as a tombstone, which the next calm waits out.

use std::time::Duration;

use crate::{NamespaceSession, membership};
use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::mutation::{Rule, out};
use stitch_common::ports::{Cql, Nodes, Probe, Session, Store};

/// How a member left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum LeaveOutcome {
    /// Nothing of it is left.
    Clean,
    /// Its member node stays as a tombstone.
    Dead {
        /// Why.
        why: String,
    },
}

/// How often the nodes are asked.
const PAUSE: Duration = Duration::from_millis(100);

/// How long one node may take to answer.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// Closes the driver session, waits no longer than `bound` until no node lists it, deletes the member node and ends the
/// ZooKeeper session. With `in_doubt`, something the member sent may still change the store, so the node stays.
///
/// Cancelled, the member node may stay as a tombstone.
pub async fn leave<S: Session, C: Clock, Q: Cql>(
    session: NamespaceSession<S, C>,
    store: Q::Store,
    cql: &Q,
    in_doubt: Option<String>,
    bound: Duration,
) -> LeaveOutcome {
    let member = session.member();
    store.close().await;
    let departure = match in_doubt {
        Some(why) if !out(Rule::LeaveWithoutDoubt) => LeaveOutcome::Dead { why },
        Some(_) | None => match unlisted(cql, &member, session.clock(), bound).await {
            Err(why) if !out(Rule::LeaveUnlisted) => LeaveOutcome::Dead { why },
            Ok(()) | Err(_) => match membership::leave(&session).await {
                Ok(()) => LeaveOutcome::Clean,
                Err(error) => LeaveOutcome::Dead { why: told(&error) },
            },
        },
    };
    session.close().await;
    departure
}

fn told(error: &crate::Error) -> String {
    format!("its node could not be deleted: {error}")
}

/// Waits until no node lists a connection of `member`.
///
/// # Errors
/// What still stands after `bound`.
pub async fn unlisted<Q: Cql, C: Clock>(
    cql: &Q,
    member: &MemberId,
    clock: &C,
    bound: Duration,
) -> Result<(), String> {
    let nodes = cql
        .connect_nodes()
        .await
        .map_err(|error| error.to_string())?;
    let deadline = clock.now().plus(bound);
    loop {
        let Some(still) = listed(&nodes, member).await else {
            return Ok(());
        };
        if clock.now() >= deadline {
            return Err(still);
        }
        clock.sleep(PAUSE).await;
    }
}

/// Where `member` is still listed, or cannot be seen to be unlisted.
async fn listed(nodes: &impl Nodes, member: &MemberId) -> Option<String> {
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
                    .any(|one| one.client_id.as_ref().is_some_and(own))
                {
                    return Some(format!("node {address} still lists its connections"));
                }
            }
            // Nothing listens there, and its peers agree: it holds no connection.
            Err(_)
                if !state.up && nodes.probe(&state.node, NODE_TIMEOUT).await == Probe::Refused => {}
            Err(error) => return Some(format!("node {address} does not tell: {error}")),
        }
    }
    None
}
