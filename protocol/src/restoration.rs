//! Restorations in ZooKeeper: the lock that lets one at a time run in a namespace, and the record of each. Cells are
//! recorded in files, not in ZooKeeper.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::offset::Offsets;
use stitch_common::ports::{CreateMode, Session, ZkError};
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::lock::Lock;
use crate::namespace_session::{NamespaceSession, not_initialised};
use crate::{path, queue};

/// The process that holds the restoration lock, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Its session.
    pub member: MemberId,
    /// The host that it runs on.
    pub host: String,
    /// Its process id on that host.
    pub process_id: u32,
    /// When it queued for the lock, by its own calendar.
    pub started: DateTime<Utc>,
}

impl Payload for LockHolder {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "wait until the session that made it has ended, or run the version of the program that wrote it";
}

/// The lock that lets one restoration at a time run in a namespace, or one change of `/definition`. To wait only for a
/// holder that may be dead, bound [`Lock::wait_granted`] by a session timeout and ask for the [`holder`] then.
pub type RestorationLock = Lock<()>;

impl RestorationLock {
    /// A lock for a process on this host, of which ZooKeeper does not know yet.
    pub fn new<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        host: &str,
        process_id: u32,
    ) -> Self {
        let guid = session.next_guid();
        let directory = session.paths().restorations();
        let holder = LockHolder {
            member: session.member(),
            host: host.to_owned(),
            process_id,
            started: session.clock().wall(),
        };
        let prefix = path::name::exclusive_entry(guid);
        Self::with_target((), directory, prefix, guid).with_data(envelope::seal(&holder))
    }

    /// Enters the queue if need be, and looks once: `None` if the lock is held, else its holder. Cancelled, it may
    /// leave a node, which [`Lock::release`] deletes.
    ///
    /// # Errors
    /// [`Error::Lost`] if the node vanished; [`Error::Corrupt`].
    pub async fn try_granted<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Option<LockHolder>, Error> {
        while self.poll_granted(session).await?.is_some() {
            // The holder may release it between the two reads.
            if let Some(holder) = holder(session).await? {
                return Ok(Some(holder));
            }
        }
        Ok(None)
    }
}

/// The holder of the restoration lock.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn holder<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Option<LockHolder>, Error> {
    let directory = session.paths().restorations();
    let children = session.children(&directory).await?;
    let Some(first) = queue::holders(&children).next() else {
        return Ok(None);
    };
    session.record(&path::child(&directory, first)).await
}

/// The name of a restoration: its start and its member, so that names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RestorationId(String);

impl RestorationId {
    /// The restoration that `member` started at this time.
    #[must_use]
    pub fn new(started: DateTime<Utc>, member: &MemberId) -> Self {
        Self(format!("{}-{member}", started.format("%Y%m%dT%H%M%S%3fZ")))
    }

    /// The name of its node.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RestorationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a restoration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestorationState {
    /// It runs, or died unrecorded: it runs only if its member holds the restoration lock.
    Running,
    /// It ended, with every range in scope verified.
    Verified,
    /// It ended, with every range in scope verified as far as its exceptions allow.
    VerifiedWithExceptions,
    /// It ended, and known drift remains.
    DriftRemains,
    /// It ended, and some range is unverified.
    Unverified,
}

/// The result of restoring a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RangeOutcome {
    /// Every cell in scope equals what the events below the cut add up to.
    Verified {
        /// How many cells were corrected.
        corrected: u64,
        /// How long the exclusive lock was held.
        locked_ms: u64,
    },
    /// The same, as far as the exceptions of the restoration allow: it removes no doubt.
    VerifiedWithExceptions {
        /// How many cells were corrected.
        corrected: u64,
        /// How long the exclusive lock was held.
        locked_ms: u64,
    },
    /// It was released before that was verified.
    Unverified {
        /// The reason, in a few words; cut short at [`RangeOutcome::WHY_MAX`].
        why: String,
    },
}

impl RangeOutcome {
    /// Characters of a reason that are kept.
    pub const WHY_MAX: usize = 100;
}

/// A restoration, and its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorationRecord {
    /// Its name.
    pub id: RestorationId,
    /// The process that ran it.
    pub holder: LockHolder,
    /// What it was to restore.
    pub scope: Scope,
    /// What the operator accepted less than: the level of reads, and what was declared dead. Empty in most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
    /// Whether it runs, or how it ended.
    pub state: RestorationState,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// The lowest base cut of each partition.
    pub cuts: Offsets,
    /// The namespace's generation.
    pub generation: u64,
    /// The CRC-32 of the whole of `/definition`: log, table and definitions.
    pub identity: u32,
    /// The ranges that it has finished.
    pub ranges: BTreeMap<RangeId, RangeOutcome>,
}

impl Payload for RestorationRecord {
    const FORMAT: u32 = 3;
    const HELP: &'static str = "it is a record for people only: delete that node by hand, or run the version of the program that wrote it";
}

impl RestorationRecord {
    /// How many records are kept.
    pub const KEPT: usize = 50;

    /// The bytes of the record, cut to what a node may hold: of 4096 ranges each with its longest reason some are
    /// shortened.
    fn bytes(&self) -> Vec<u8> {
        let mut bounded = self.clone();
        for limit in [RangeOutcome::WHY_MAX, 20, 0] {
            for outcome in bounded.ranges.values_mut() {
                if let RangeOutcome::Unverified { why } = outcome {
                    *why = why.chars().take(limit).collect();
                }
            }
            let bytes = envelope::seal(&bounded);
            if bytes.len() <= Self::BYTES_MAX {
                return bytes;
            }
        }
        bounded.ranges.clear();
        envelope::seal(&bounded)
    }

    const BYTES_MAX: usize = 512 * 1024;
}

/// Writes a record, new or in place of the same restoration's earlier one, and deletes the oldest records above
/// [`RestorationRecord::KEPT`]. For the holder of the restoration lock alone. Cancelled, it may have been written.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn write_record<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    record: &RestorationRecord,
) -> Result<(), Error> {
    let path = path::child(&session.paths().restorations(), record.id.as_str());
    let data = record.bytes();
    let mut retries = session.retry_budget(&path);
    loop {
        let zookeeper = session.zookeeper();
        // One session writes it, so the last write wins whichever answers are lost.
        let set = async || zookeeper.set(&path, &data, None).await;
        match retries.run(set).await? {
            Ok(_) => return Ok(()),
            Err(ZkError::NoNode) => {}
            Err(refusal) => return Err(Error::unexpected(&path, refusal)),
        }
        match zookeeper.create(&path, &data, CreateMode::Persistent).await {
            Ok(_) => return prune(session).await,
            Err(ZkError::NodeExists) => {}
            Err(ZkError::NoNode) => return Err(not_initialised(&path)),
            Err(ZkError::Ambiguous(why)) => retries.pause(why).await?,
            Err(refusal) => return Err(Error::unexpected(&path, refusal)),
        }
    }
}

async fn prune<S: Session, C: Clock>(session: &NamespaceSession<S, C>) -> Result<(), Error> {
    let names = record_names(session).await?;
    let superfluous = names.len().saturating_sub(RestorationRecord::KEPT);
    for name in &names[..superfluous] {
        let path = path::child(&session.paths().restorations(), name);
        session.delete(&path).await?;
    }
    Ok(())
}

async fn record_names<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<String>, Error> {
    let mut names = session.children(&session.paths().restorations()).await?;
    names.retain(|name| path::name::read_entry(name).is_none());
    names.sort_unstable();
    Ok(names)
}

/// The records that are kept, the oldest first.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn records<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<RestorationRecord>, Error> {
    let names = record_names(session).await?;
    let reads = names.into_iter().map(async |name| {
        let path = path::child(&session.paths().restorations(), &name);
        session.record(&path).await
    });
    let records: Result<Vec<_>, Error> = join_all(reads).await.into_iter().collect();
    Ok(records?.into_iter().flatten().collect())
}
