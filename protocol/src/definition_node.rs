//! `/definition`: what the namespace counts, from which log and into which table. Written by `init` alone; changed only
//! under the restoration lock. Every member's node records the version that it counts by.

use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::definition::Definitions;
use stitch_common::ports::{CreateMode, LogIdentity, Operation, Session, TableIdentity, ZkError};
use stitch_config::WriteConsistency;

use crate::backfill;
use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::namespace_session::{NamespaceSession, not_initialised};
use crate::restoration::RestorationLock;

/// The definition of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceRecord {
    /// Raised by a deliberate rewind, which voids plans.
    pub generation: u64,
    /// The counters that events increment.
    pub definitions: Definitions,
    /// The log that is counted, so that another topic of the same name is refused.
    pub log: LogIdentity,
    /// The table of counts.
    pub table: TableIdentity,
    /// The consistency of every increment that is sent now.
    pub write_consistency: WriteConsistency,
    /// The lowest consistency of earlier increments, if it was raised since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised_from: Option<WriteConsistency>,
}

impl Payload for NamespaceRecord {
    const FORMAT: u32 = 3;
    const HELP: &'static str = "run the version of the program that wrote it; if it is damaged, follow \
         docs/operations/runbook.md, \"Loss of ZooKeeper\"";
}

impl NamespaceRecord {
    /// The lowest consistency of any increment: it decides which reads see all of them.
    #[must_use]
    pub fn lowest_consistency(&self) -> WriteConsistency {
        self.raised_from.unwrap_or(self.write_consistency)
    }

    /// A checksum of all of it, which distinguishes this namespace from others.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        crc32fast::hash(&envelope::seal(self))
    }
}

/// `/definition` as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDefinition {
    /// The definition.
    pub record: NamespaceRecord,
    /// Its version, for [`join`](crate::membership::join) and [`update`].
    pub version: i32,
}

/// Reads `/definition`; `None` if the namespace is not initialised.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Option<StoredDefinition>, Error> {
    let path = session.paths().definition();
    session.sync().await?;
    let Some(node) = session.get(&path).await? else {
        return Ok(None);
    };
    Ok(Some(StoredDefinition {
        record: envelope::open(&path, &node.data)?,
        version: node.stat.version,
    }))
}

/// Creates `/definition`, or reads the one that exists: compare the returned one with `record`. The namespace's
/// directories must exist. Cancelled, it may have created it.
///
/// # Errors
/// [`Error::Corrupt`]; [`Error::NotInitialised`] if the directories are missing.
pub async fn create<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    record: &NamespaceRecord,
) -> Result<StoredDefinition, Error> {
    let path = session.paths().definition();
    let data = envelope::seal(record);
    session
        .create_once(&path, &data, CreateMode::Persistent)
        .await?;
    read(session).await?.ok_or_else(|| not_initialised(&path))
}

/// The result of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum UpdateOutcome {
    /// The new definition is in force.
    Written,
    /// Another process has changed the definition: read it again.
    DefinitionChanged,
    /// The restoration lock is lost.
    LockLost,
}

const LOCK: usize = 0;

/// Writes `record` in place of `stored`, and that the past of the counters which it adds is not counted yet
/// ([`backfill`]): only with the restoration lock. Members go on by the version that they have
/// joined with; no process can join with that any more. Cancelled, it may have been written.
///
/// # Errors
/// [`Error::Lost`] if the lock is not held; [`Error::NotInitialised`] if the namespace's directories are missing.
pub async fn update<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &RestorationLock,
    stored: &StoredDefinition,
    record: &NamespaceRecord,
) -> Result<UpdateOutcome, Error> {
    let path = session.paths().definition();
    let data = envelope::seal(record);
    let definitions = &record.definitions;
    let added = definitions.only_adds_to(&stored.record.definitions);
    let added = backfill::additions(session, &added.unwrap_or_default(), definitions.range_bits);
    // The definition comes before the backfills: after a lost answer its version tells that all of it is written.
    let mut operations = vec![
        lock.fence()?,
        Operation::Set {
            path: path.clone(),
            data,
            version: Some(stored.version),
        },
    ];
    operations.extend(added);
    let mut retries = session.retry_budget(&path);
    match retries.transact(&operations).await? {
        Ok(()) => Ok(UpdateOutcome::Written),
        Err((Some(LOCK), ZkError::NoNode)) => Ok(UpdateOutcome::LockLost),
        // After a lost answer the version has changed by our own write.
        Err((Some(_), ZkError::BadVersion))
            if retries.lost_any()
                && read(session)
                    .await?
                    .is_some_and(|now| now.record == *record) =>
        {
            Ok(UpdateOutcome::Written)
        }
        Err((Some(_), ZkError::BadVersion)) => Ok(UpdateOutcome::DefinitionChanged),
        Err((Some(_), ZkError::NoNode)) => Err(not_initialised(&session.paths().backfills())),
        Err((_, refusal)) => Err(Error::unexpected(&path, refusal)),
    }
}
