//! Checks in Cassandra, before the log is read, what the role may do: reading the log may take hours, and the first request
//! that needs a right comes after it.

use std::time::Duration;

use stitch_common::ports::{Backends, NodeAddress, Nodes, Probe, StoreError};
use stitch_common::user_error::UserError;

use crate::context::RestoreContext;

/// How long one node may take to say what the role may do.
const NODE_BOUND: Duration = Duration::from_secs(5);

/// Refuses a role that may not read counts.
///
/// # Errors
/// It may not.
pub(crate) async fn to_read<B: Backends>(context: &RestoreContext<'_, B>) -> Result<(), UserError> {
    let asked = async |node: &NodeAddress| context.nodes.may_read(node, NODE_BOUND).await;
    let keyspace = &context.config.cassandra.keyspace;
    some_node_allows(context, asked, "read counts", "SELECT", keyspace).await
}

/// Refuses a role that may not correct counts, or await a quiescence barrier.
///
/// # Errors
/// It may not.
pub(crate) async fn to_correct<B: Backends>(
    context: &RestoreContext<'_, B>,
) -> Result<(), UserError> {
    let keyspace = &context.config.cassandra.keyspace;
    let asked = async |node: &NodeAddress| context.nodes.may_increment(node, NODE_BOUND).await;
    some_node_allows(context, asked, "correct counts", "MODIFY", keyspace).await?;
    let probed = async |node: &NodeAddress| match context.nodes.probe(node, NODE_BOUND).await {
        Probe::Answered => Ok(()),
        Probe::Rejected(why) => Err(StoreError::Refused(why)),
        Probe::Stalled | Probe::Refused | Probe::Replaced | Probe::Silent => {
            Err(StoreError::Unavailable("no answer".to_owned()))
        }
    };
    let probes = format!("{keyspace}_probes");
    some_node_allows(context, probed, "probe the nodes", "MODIFY", &probes).await
}

/// Asks one node after another, until one answers. If none does there is no refusal: what comes next needs one.
async fn some_node_allows<B: Backends>(
    context: &RestoreContext<'_, B>,
    mut asked: impl AsyncFnMut(&NodeAddress) -> Result<(), StoreError>,
    what: &str,
    right: &str,
    keyspace: &str,
) -> Result<(), UserError> {
    for state in context.nodes.ring().await?.iter().filter(|state| state.up) {
        match asked(&state.node).await {
            Ok(()) => return Ok(()),
            Err(StoreError::Refused(why)) => {
                let message = format!("this role may not {what}: {why}");
                let help = format!(
                    "GRANT {right} ON KEYSPACE \"{keyspace}\" TO the role; docs/operations/server-configuration.md has \
                     every right that is needed"
                );
                return Err(UserError::new(message, help));
            }
            Err(StoreError::Denied(denial)) => return Err(denial),
            Err(StoreError::Unavailable(_)) => {}
        }
    }
    Ok(())
}
