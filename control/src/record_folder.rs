//! Folders of records in ZooKeeper, of which the oldest are deleted. Their names sort by time.

use futures_util::future::join_all;

use stitch_common::clock::Clock;
use stitch_common::ports::{CreateMode, Session, ZkError};
use stitch_protocol::envelope::Payload;
use stitch_protocol::{Error, NamespaceSession, path};

/// How many records a folder keeps.
pub const KEPT: usize = 50;

/// Writes the record of this name, new or in place of an earlier one, and deletes the oldest above [`KEPT`]. One session
/// writes a name. Cancelled, it may have been written.
///
/// # Errors
/// [`Error::NotInitialised`] if there is no such folder.
pub(crate) async fn write<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    folder: &str,
    name: &str,
    data: &[u8],
) -> Result<(), Error> {
    let path = path::child(folder, name);
    let mut retries = session.retry_budget(&path);
    loop {
        let zookeeper = session.zookeeper();
        // One session writes it, so the last write wins whichever answers are lost.
        let set = async || zookeeper.set(&path, data, None).await;
        match retries.run(set).await? {
            Ok(_) => return Ok(()),
            Err(ZkError::NoNode) => {}
            Err(refusal) => return Err(Error::unexpected(&path, refusal)),
        }
        match zookeeper.create(&path, data, CreateMode::Persistent).await {
            Ok(_) => return prune(session, folder).await,
            Err(ZkError::NodeExists) => {}
            Err(ZkError::NoNode) => return Err(Error::NotInitialised { path }),
            Err(ZkError::Ambiguous(why)) => retries.pause(why).await?,
            Err(refusal) => return Err(Error::unexpected(&path, refusal)),
        }
    }
}

async fn prune<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    folder: &str,
) -> Result<(), Error> {
    let names = names(session, folder).await?;
    let superfluous = names.len().saturating_sub(KEPT);
    for name in &names[..superfluous] {
        session.delete(&path::child(folder, name)).await?;
    }
    Ok(())
}

/// The names of the records, the oldest first. Entries of a lock's queue are none.
async fn names<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    folder: &str,
) -> Result<Vec<String>, Error> {
    let mut names = session.children(folder).await?;
    names.retain(|name| path::name::read_entry(name).is_none());
    names.sort_unstable();
    Ok(names)
}

/// The records that are kept, the oldest first.
///
/// # Errors
/// [`Error::Corrupt`].
pub(crate) async fn read<R: Payload, S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    folder: &str,
) -> Result<Vec<R>, Error> {
    let reads = names(session, folder).await?;
    let reads = reads.into_iter().map(async |name| {
        let path = path::child(folder, &name);
        session.record(&path).await
    });
    let records: Result<Vec<_>, Error> = join_all(reads).await.into_iter().collect();
    Ok(records?.into_iter().flatten().collect())
}
