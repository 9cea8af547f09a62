//! `/definition`: what the namespace counts, of which log, into which table. Written by `init` alone; changed only
//! under the restoration lock. Every member's node tells the version that it counts by.

use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::definition::Definitions;
use stitch_common::ports::{
    CreateMode, LogIdentity, MultiError, Operation, Session, TableIdentity, ZkError,
};

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::namespace_session::{NamespaceSession, RetryBudget, not_initialised};
use crate::restoration::RestorationLock;

/// What a namespace is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceRecord {
    /// Raised by a deliberate rewind, which voids plans.
    pub generation: u64,
    /// What events count.
    pub definitions: Definitions,
    /// Which log, so that another topic of the same name is refused.
    pub log: LogIdentity,
    /// Which table.
    pub table: TableIdentity,
}

impl Payload for NamespaceRecord {
    const FORMAT: u32 = 2;
    const HELP: &'static str = "run the version of the program that wrote it; if it is damaged, follow \
         docs/operations.md, \"Loss of ZooKeeper\"";
}

impl NamespaceRecord {
    /// What tells this namespace from others: a checksum of all of it.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        crc32fast::hash(&envelope::seal(self))
    }
}

/// `/definition` as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defined {
    /// What is in it.
    pub record: NamespaceRecord,
    /// Its version, for [`join`](crate::membership::join) and [`update`].
    pub version: i32,
}

/// Reads `/definition`; `None` if the namespace is not initialised.
///
/// # Errors
/// [`Error::Corrupt`]; else as every recipe.
pub async fn read<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Option<Defined>, Error> {
    let path = session.paths().definition();
    session.sync().await?;
    let Some(node) = session.get(&path).await? else {
        return Ok(None);
    };
    Ok(Some(Defined {
        record: envelope::open(&path, &node.data)?,
        version: node.stat.version,
    }))
}

/// Makes `/definition`, or reads the one that is there: compare what it returns with `record`. The namespace's
/// directories must be there. Cancelled, it may have made it.
///
/// # Errors
/// [`Error::Corrupt`]; else as every recipe.
pub async fn create<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    record: &NamespaceRecord,
) -> Result<Defined, Error> {
    let path = session.paths().definition();
    let data = envelope::seal(record);
    let mut tries = RetryBudget::new(&path);
    loop {
        let zookeeper = session.zookeeper();
        match zookeeper.create(&path, &data, CreateMode::Persistent).await {
            Ok(_) | Err(ZkError::NodeExists) => {
                return read(session).await?.ok_or_else(|| not_initialised(&path));
            }
            Err(ZkError::Ambiguous(why)) => tries.pause(session, why).await?,
            Err(ZkError::NoNode) => return Err(not_initialised(&path)),
            Err(error) => return Err(Error::unexpected(&path, error)),
        }
    }
}

/// What became of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Updated {
    /// The new definition stands.
    Written,
    /// Somebody else has changed the definition: read it again.
    DefinitionChanged,
    /// The restoration lock is lost.
    LockLost,
}

const LOCK: usize = 0;

/// Writes `record` in place of `known`: only with the restoration lock. Whoever is a member goes on by the version that
/// it has joined with; nobody joins with that any more. Cancelled, it may have been written.
///
/// # Errors
/// As every recipe.
pub async fn update<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &RestorationLock,
    known: &Defined,
    record: &NamespaceRecord,
) -> Result<Updated, Error> {
    let path = session.paths().definition();
    let data = envelope::seal(record);
    let operations = vec![
        lock.fence()?,
        Operation::Set {
            path: path.clone(),
            data,
            version: Some(known.version),
        },
    ];
    let mut tries = RetryBudget::new(&path);
    loop {
        match session.zookeeper().multi(operations.clone()).await {
            Ok(_) => return Ok(Updated::Written),
            Err(MultiError::Whole(ZkError::Ambiguous(why))) => {
                tries.pause(session, why).await?;
            }
            Err(MultiError::Operation {
                index: LOCK,
                error: ZkError::NoNode,
            }) => return Ok(Updated::LockLost),
            Err(MultiError::Operation {
                error: ZkError::BadVersion,
                ..
            }) => {
                // After a lost answer the version has changed by our own write.
                let own = tries.lost_any()
                    && read(session)
                        .await?
                        .is_some_and(|now| now.record == *record);
                return Ok(if own {
                    Updated::Written
                } else {
                    Updated::DefinitionChanged
                });
            }
            Err(MultiError::Operation { error, .. } | MultiError::Whole(error)) => {
                return Err(Error::unexpected(&path, error));
            }
        }
    }
}
