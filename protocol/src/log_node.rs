//! `/log`: the first record of each partition, as it was when somebody first looked after it had one. A topic that
//! was empty when the namespace was made can so be told from one of the same name that was made anew later.
//!
//! Written once by whoever comes first and never changed, so that nobody needs a lock for it.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::{CreateMode, Fingerprint, Session, ZkError};

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::namespace_session::{NamespaceSession, RetryBudget, not_initialised};
use crate::path;

impl Payload for Fingerprint {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "run the version of the program that wrote it; if it is damaged, follow \
         docs/operations.md, \"Loss of ZooKeeper\"";
}

/// The first records that are known.
///
/// # Errors
/// [`Error::Corrupt`]; else as every recipe.
pub async fn read_all<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<BTreeMap<Partition, Fingerprint>, Error> {
    let names = session.children(&session.paths().log()).await?;
    let partitions = names.iter().filter_map(|name| path::partition_of(name));
    let nodes = partitions.map(async |partition| {
        let path = session.paths().first_record(partition);
        match session.get(&path).await? {
            Some(node) => Ok(Some((partition, envelope::open(&path, &node.data)?))),
            None => Ok(None),
        }
    });
    let found: Result<Vec<_>, Error> = join_all(nodes).await.into_iter().collect();
    Ok(found?.into_iter().flatten().collect())
}

/// Keeps the first record of `partition`, unless one is known already. Cancelled or failed, it may have been kept.
///
/// # Errors
/// [`Error::NotInitialised`]; else as every recipe.
pub async fn keep<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    partition: Partition,
    first_record: &Fingerprint,
) -> Result<(), Error> {
    let path = session.paths().first_record(partition);
    let data = envelope::seal(first_record);
    let mut tries = RetryBudget::new(&path);
    loop {
        let zookeeper = session.zookeeper();
        match zookeeper.create(&path, &data, CreateMode::Persistent).await {
            Ok(_) | Err(ZkError::NodeExists) => return Ok(()),
            Err(ZkError::Ambiguous(why)) => tries.pause(session, why).await?,
            Err(ZkError::NoNode) => return Err(not_initialised(&path)),
            Err(error) => return Err(Error::unexpected(&path, error)),
        }
    }
}
