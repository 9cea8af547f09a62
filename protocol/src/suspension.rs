//! Suspended partitions in ZooKeeper: for operators alone, who see with `status` which partition is not counted, since
//! when and why. The node is ephemeral: without the member that cannot count the partition, nobody knows whether it can be
//! counted.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::offset::Partition;
use stitch_common::ports::{CreateMode, Session, ZkError};

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::namespace_session::NamespaceSession;

/// Why a partition is not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspensionRecord {
    /// The member that cannot count it.
    pub member: MemberId,
    /// Its host.
    pub host: String,
    /// Since when, by its own calendar.
    pub since: DateTime<Utc>,
    /// Why.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Payload for SuspensionRecord {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "see the log of the processor that made it, and run the version of the program that wrote it";
}

/// Records that a partition is suspended, in place of any earlier record of it. Cancelled or failed, one of the two or
/// neither may be there.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn record<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    partition: Partition,
    record: &SuspensionRecord,
) -> Result<(), Error> {
    let path = session.paths().suspension(partition);
    let data = envelope::seal(record);
    let mut retries = session.retry_budget(&path);
    loop {
        // An earlier one may be another session's, and would end with that.
        session.delete(&path).await?;
        let zookeeper = session.zookeeper();
        match zookeeper.create(&path, &data, CreateMode::Ephemeral).await {
            Ok(_) => return Ok(()),
            Err(ZkError::NoNode) => {
                session
                    .ensure(&session.paths().partition(partition))
                    .await?;
            }
            Err(ZkError::NodeExists) => {
                retries
                    .pause("another session has just created it".to_owned())
                    .await?;
            }
            Err(ZkError::Ambiguous(why)) => retries.pause(why).await?,
            Err(refusal) => return Err(Error::unexpected(&path, refusal)),
        }
    }
}

/// Deletes the record of a suspension. Cancelled or failed, it may stay as long as the session.
pub async fn clear<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    partition: Partition,
) -> Result<(), Error> {
    session.delete(&session.paths().suspension(partition)).await
}

/// The record of a partition that is suspended.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    partition: Partition,
) -> Result<Option<SuspensionRecord>, Error> {
    session.record(&session.paths().suspension(partition)).await
}
