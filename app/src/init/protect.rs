//! The ACLs of a namespace's nodes in ZooKeeper. Whoever creates a node gives it the ACL of its identity; nodes from before
//! there was one get it by `init --update`. Nodes above the namespace are left alone: other namespaces may share them.

use super::InitSession;
use super::report::InitReport;
use crate::tree;
use stitch_common::ports::ZkError;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_zookeeper::Access;

/// Lets only the configured identity change the namespace's nodes if `update`, else reports which others may. Without an
/// identity there is nothing to do.
pub(super) async fn apply(
    config: &Config,
    session: &InitSession,
    update: bool,
    report: &mut InitReport,
) -> Result<(), ServerFailure> {
    let Some(identity) = &config.zookeeper.identity else {
        return Ok(());
    };
    let zookeeper = session.zookeeper();
    let nodes = tree::nodes(zookeeper, session.paths().root()).await?;
    let others = tree::access(zookeeper, &nodes).await?;
    let others = others.iter().filter(|(_, access)| *access != Access::Ours);
    let others = others.count();
    let user = &identity.user;
    let what = format!("ACLs of {} nodes in ZooKeeper", nodes.len());
    if others == 0 {
        report.agrees(what);
    } else if update {
        let changed = tree::protect(zookeeper, &nodes).await;
        changed.map_err(|(node, error)| refused(&node, user, error))?;
        report.updated(what);
    } else {
        report.open(format!(
            "ACLs in ZooKeeper: {others} of {} nodes can be changed by others than \"{user}\": run `stitch-processor init \
             --update` with the identity that may",
            nodes.len()
        ));
    }
    Ok(())
}

fn refused(node: &str, user: &str, error: ZkError) -> ServerFailure {
    let ZkError::Refused(why) = error else {
        return error.into();
    };
    UserError::new(
        format!("the ACL of {node} in ZooKeeper cannot be changed by \"{user}\": {why}"),
        "run it once with the identity (zookeeper.user, and its password) that the ACL names, or give the nodes to the new \
         one: docs/operations/security.md",
    )
    .into()
}
