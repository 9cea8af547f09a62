//! `/partitions/<p>/origin`: the first offset of the partition's log when its first member opened it. Every record from it
//! on is counted and none below it, so expected totals begin there, whatever had been deleted before.
//!
//! Created together with the checkpoint, under the partition's lock, and never changed.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Session;

use crate::envelope::Payload;
use crate::error::Error;
use crate::namespace_session::NamespaceSession;
use crate::path;

/// The payload of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The first offset that is counted.
    pub offset: Offset,
}

impl Payload for Origin {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "run the version of the program that wrote it; if it is damaged, follow \
         docs/operations/runbook.md, \"Loss of ZooKeeper\"";
}

/// The origin of `partition`; `None` if no member has opened it.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    partition: Partition,
) -> Result<Option<Offset>, Error> {
    let origin: Option<Origin> = session.record(&session.paths().origin(partition)).await?;
    Ok(origin.map(|origin| origin.offset))
}

/// The origins of all partitions that a member has opened. One that has a checkpoint alone has lost its origin: then it is
/// 0, which refuses a log that begins later.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read_all<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<BTreeMap<Partition, Offset>, Error> {
    let names = session.children(&session.paths().partitions()).await?;
    let partitions = names.iter().filter_map(|name| path::partition_of(name));
    let reads = partitions.map(async |partition| {
        if let Some(origin) = read(session, partition).await? {
            return Ok(Some((partition, origin)));
        }
        let checkpoint = session.get(&session.paths().checkpoint(partition)).await?;
        Ok(checkpoint.map(|_| (partition, Offset(0))))
    });
    let origins: Result<Vec<_>, Error> = join_all(reads).await.into_iter().collect();
    Ok(origins?.into_iter().flatten().collect())
}
