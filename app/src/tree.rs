//! The nodes of a namespace in ZooKeeper, whatever they are, with those who may change them.

use futures_util::{StreamExt, TryStreamExt, stream};

use stitch_common::ports::{Session, ZkError};
use stitch_zookeeper::{Access, ZooKeeperSession};

/// Requests in flight at once: a namespace may have thousands of nodes.
const IN_FLIGHT_MAX: usize = 64;

/// Every node from `root` on that is there now.
pub(crate) async fn nodes(session: &ZooKeeperSession, root: &str) -> Result<Vec<String>, ZkError> {
    let mut found = Vec::new();
    let mut level = vec![root.to_owned()];
    while !level.is_empty() {
        let children = stream::iter(&level)
            .map(async |node| Ok::<_, ZkError>((node, session.children(node).await?)))
            .buffered(IN_FLIGHT_MAX);
        let children: Vec<_> = children.try_collect().await?;
        let mut next = Vec::new();
        for (node, names) in children {
            // A node that is gone has none, and is no node.
            if let Some(names) = names {
                next.extend(names.into_iter().map(|name| format!("{node}/{name}")));
                found.push(node.clone());
            }
        }
        level = next;
    }
    Ok(found)
}

/// Who may change each of these nodes; those that are gone meanwhile are left out.
pub(crate) async fn access(
    session: &ZooKeeperSession,
    nodes: &[String],
) -> Result<Vec<(String, Access)>, ZkError> {
    let found = stream::iter(nodes)
        .map(async |node| Ok((node, session.access(node).await?)))
        .buffered(IN_FLIGHT_MAX);
    let found: Vec<_> = found.try_collect().await?;
    let present = found
        .into_iter()
        .filter_map(|(node, access)| Some((node.clone(), access?)));
    Ok(present.collect())
}

/// Lets only this session's identity change each of these nodes. How many another one could change before.
pub(crate) async fn protect(
    session: &ZooKeeperSession,
    nodes: &[String],
) -> Result<usize, (String, ZkError)> {
    let changed = stream::iter(nodes)
        .map(async |node| {
            let changed = session.protect(node).await;
            changed.map_err(|error| (node.clone(), error))
        })
        .buffered(IN_FLIGHT_MAX);
    let changed: Vec<bool> = changed.try_collect().await?;
    Ok(changed.into_iter().filter(|changed| *changed).count())
}
