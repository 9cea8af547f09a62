//! `/log`: the first record of each partition, as it was when a process first looked after the partition had one. So a
//! topic that was empty at `init` can be distinguished from one of the same name that was created later.
//!
//! Written once, by the process that comes first, and never changed: no lock is needed.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::{CreateMode, Fingerprint, Session};

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::namespace_session::NamespaceSession;
use crate::path;

impl Payload for Fingerprint {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "run the version of the program that wrote it; if it is damaged, follow \
         docs/operations/runbook.md, \"Loss of ZooKeeper\"";
}

/// The first records that are kept.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read_all<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<BTreeMap<Partition, Fingerprint>, Error> {
    let names = session.children(&session.paths().log()).await?;
    let partitions = names.iter().filter_map(|name| path::partition_of(name));
    let nodes = partitions.map(async |partition| {
        let path = session.paths().first_record(partition);
        let first: Option<Fingerprint> = session.record(&path).await?;
        Ok(first.map(|first| (partition, first)))
    });
    let records: Result<Vec<_>, Error> = join_all(nodes).await.into_iter().collect();
    Ok(records?.into_iter().flatten().collect())
}

/// Keeps the first record of `partition`, unless one is kept already. Cancelled or failed, it may have been kept.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn keep<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    partition: Partition,
    first_record: &Fingerprint,
) -> Result<(), Error> {
    let path = session.paths().first_record(partition);
    let data = envelope::seal(first_record);
    session
        .create_once(&path, &data, CreateMode::Persistent)
        .await
}
