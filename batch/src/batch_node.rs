//! `/batch`: reads the record, and writes it under the lock.

use stitch_common::clock::Clock;
use stitch_common::ports::{Operation, Session, ZkError};
use stitch_protocol::{Error, NamespaceSession, envelope};

use crate::batch_lock::BatchLock;
use crate::record::BatchRecord;

/// The record; `None` if nothing was ever loaded.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Option<BatchRecord>, Error> {
    let path = session.paths().batch();
    session.sync().await?;
    match session.get(&path).await? {
        // A lock has made the node, and no record was written yet.
        Some(node) if node.data.is_empty() => Ok(None),
        Some(node) => envelope::open(&path, &node.data).map(Some),
        None => Ok(None),
    }
}

/// Writes the record, if `lock` is still held. May be repeated.
///
/// # Errors
/// [`Error::Lost`] if the lock is not held any more: nothing was written.
///
/// # Cancellation
/// It may have been written.
pub async fn write<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &BatchLock,
    record: &BatchRecord,
) -> Result<(), Error> {
    const LOCK: usize = 0;
    let path = session.paths().batch();
    let set = Operation::Set {
        path: path.clone(),
        data: envelope::seal(record),
        version: None,
    };
    let operations = [lock.fence()?, set];
    match session.retry_budget(&path).transact(&operations).await? {
        Ok(()) => Ok(()),
        Err((Some(LOCK), ZkError::NoNode)) => Err(Error::Lost { path }),
        Err((_, refusal)) => Err(Error::unexpected(&path, refusal)),
    }
}
