//! Checkpoints and ceilings in ZooKeeper (rules P1, P5, P7, P9; invariants I2 and I7): read under the partition's lock, and
//! written in one transaction with checks that the lock's node exists and that no other session has written since.

use futures_util::future::join_all;

use stitch_common::checkpoint::{Ceiling, Checkpoint, StoredCheckpoint, Writer};
use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{CreateMode, Node, Operation, Session, ZkError};

use crate::envelope;
use crate::error::Error;
use crate::namespace_session::NamespaceSession;
use crate::origin_node::{self, Origin};
use crate::partition_lock::PartitionLock;
use crate::retry::transact;
use crate::suspension::{self, SuspensionRecord};
use crate::{lock, path, queue, rule};

const HELP: &str = "nothing may be counted on it: stop the processors and follow docs/operations/runbook.md, \
     \"A checkpoint is lost\"";

/// A partition's checkpoint as this session last read or wrote it, to be written on. Made by [`open`] under a held
/// lock; void once that lock is given back or lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedCheckpoint {
    partition: Partition,
    checkpoint: Checkpoint,
    found_ceiling: Ceiling,
    version: i32,
}

impl OwnedCheckpoint {
    /// The partition that it is of.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// The checkpoint that was last read or written.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The ceiling that the node had when it was opened. Where it is above a range's checkpoint as it was then, a former
    /// owner may have applied the range's events in between without a checkpoint that says so: counted again, they are
    /// counted twice.
    #[must_use]
    pub const fn found_ceiling(&self) -> Ceiling {
        self.found_ceiling
    }
}

/// The result of writing a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum WriteOutcome {
    /// It is written.
    Written {
        /// The node's version after it.
        version: i32,
    },
    /// The lock's node is gone, so the session is over, or as good as over: stop sending for the partition. The node may
    /// hold the new checkpoint or not.
    LockLost,
    /// Another session has written, though this one holds the lock. Invariant I6 does not hold: stop the partition.
    Foreign {
        /// The writer; none if the node was only created.
        writer: Option<Writer>,
    },
}

/// Reads the checkpoint that this session may write on, or creates it if it is missing: at the partition's
/// [origin](crate::origin_node), which is `begin`, the first offset that the log has, if no member has opened the partition
/// before. `lock` must be held. Cancelled, it may have created the nodes, which is harmless.
///
/// Whether a checkpoint may be created at all (a group that has commits must have one, design section 6) is decided
/// before, over [`read`].
///
/// # Errors
/// [`Error::Lost`] if the lock is not held or its node is gone; [`Error::Corrupt`].
pub async fn open<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &PartitionLock,
    begin: Offset,
) -> Result<OwnedCheckpoint, Error> {
    let partition = lock.partition();
    let path = session.paths().checkpoint(partition);
    let mut retries = session.retry_budget(&path);
    loop {
        if let Some(node) = session.get(&path).await? {
            let stored = decode(&path, &node)?;
            return Ok(OwnedCheckpoint {
                partition,
                checkpoint: stored.progress,
                found_ceiling: stored.ceiling,
                version: node.stat.version,
            });
        }
        let origin = origin_node::read(session, partition).await?;
        let offset = origin.unwrap_or(begin);
        let initial = StoredCheckpoint {
            progress: Checkpoint::everywhere(offset),
            ceiling: Ceiling::AtCheckpoint,
            inherited: Ceiling::AtCheckpoint,
            writer: None,
        };
        let create = |path: String, data: Vec<u8>| Operation::Create {
            path,
            data,
            mode: CreateMode::Persistent,
        };
        let mut operations = vec![lock.fence()?, create(path.clone(), initial.encode())];
        if origin.is_none() {
            let data = envelope::seal(&Origin { offset });
            operations.push(create(session.paths().origin(partition), data));
        }
        match transact(session.zookeeper(), &operations).await {
            Ok(()) | Err((Some(_), ZkError::NodeExists)) => {}
            Err((Some(LOCK), ZkError::NoNode)) => return Err(Error::Lost { path }),
            Err((None, ZkError::Ambiguous(why))) => retries.pause(why).await?,
            Err((_, refusal)) => return Err(Error::unexpected(&path, refusal)),
        }
    }
}

const LOCK: usize = 0;
const CHECKPOINT: usize = 1;

/// Writes `checkpoint` and `ceiling` in place of what is `owned`, in one transaction. A lost answer is resolved by the same transaction again:
/// another version with this member and number in the data means that it was written.
///
/// Cancelled, it may have been written, or may yet be: the next write of the same session finds its own earlier one and
/// goes on from it.
///
/// # Errors
/// [`Error::Lost`] if the lock is not held; [`Error::Missing`] if the checkpoint was deleted; [`Error::Corrupt`].
/// After any other error it may or may not have been written.
pub async fn write<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &PartitionLock,
    owned: &mut OwnedCheckpoint,
    checkpoint: Checkpoint,
    ceiling: Ceiling,
) -> Result<WriteOutcome, Error> {
    let path = session.paths().checkpoint(owned.partition);
    let inherited = match owned.found_ceiling {
        Ceiling::At(found) if checkpoint.is_below(found) => Ceiling::At(found),
        Ceiling::At(_) | Ceiling::AtCheckpoint => Ceiling::AtCheckpoint,
    };
    let writer = Writer {
        member: session.member(),
        sequence: session.next_number(),
    };
    let stored = StoredCheckpoint {
        progress: checkpoint,
        ceiling,
        inherited,
        writer: Some(writer.clone()),
    };
    let data = stored.encode();
    let mut retries = session.retry_budget(&path);
    loop {
        let set = Operation::Set {
            path: path.clone(),
            data: data.clone(),
            version: rule::fences().then_some(owned.version),
        };
        let version = match retries.transact(&[lock.fence()?, set]).await? {
            Ok(()) => owned.version.wrapping_add(1),
            Err((Some(LOCK), ZkError::NoNode)) => return Ok(WriteOutcome::LockLost),
            Err((Some(CHECKPOINT), ZkError::BadVersion)) => {
                match last_write(session, &path, &writer).await? {
                    LastWrite::This { version } => version,
                    LastWrite::EarlierOfOurs { version } => {
                        owned.version = version;
                        continue;
                    }
                    LastWrite::Foreign { writer } => return Ok(WriteOutcome::Foreign { writer }),
                }
            }
            Err((Some(CHECKPOINT), ZkError::NoNode)) => return Err(missing(path)),
            Err((_, refusal)) => return Err(Error::unexpected(&path, refusal)),
        };
        owned.checkpoint = stored.progress;
        owned.version = version;
        return Ok(WriteOutcome::Written { version });
    }
}

/// The write that a checkpoint's node shows.
enum LastWrite {
    /// The one in question; its answer was lost.
    This { version: i32 },
    /// One of this session whose future was dropped.
    EarlierOfOurs { version: i32 },
    /// Another session's.
    Foreign { writer: Option<Writer> },
}

async fn last_write<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    path: &str,
    own: &Writer,
) -> Result<LastWrite, Error> {
    let Some(node) = session.get(path).await? else {
        return Err(missing(path.to_owned()));
    };
    let version = node.stat.version;
    Ok(match decode(path, &node)?.writer {
        Some(writer) if writer == *own => LastWrite::This { version },
        Some(writer) if writer.member == own.member && writer.sequence < own.sequence => {
            LastWrite::EarlierOfOurs { version }
        }
        writer => LastWrite::Foreign { writer },
    })
}

/// A partition's checkpoint, read without any lock (R1) or under a range's exclusive lock (R3); `None` if it has none.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    partition: Partition,
) -> Result<Option<StoredCheckpoint>, Error> {
    let path = session.paths().checkpoint(partition);
    match session.get(&path).await? {
        Some(node) => decode(&path, &node).map(Some),
        None => Ok(None),
    }
}

/// A partition that ZooKeeper knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSnapshot {
    /// Its number.
    pub partition: Partition,
    /// Its checkpoint; none if it was never created, and then nothing of the partition was counted.
    pub checkpoint: Option<StoredCheckpoint>,
    /// The member that holds its lock.
    pub holder: Option<MemberId>,
    /// Why it is not counted, if it is suspended.
    pub suspension: Option<SuspensionRecord>,
}

/// The checkpoint of every partition that ZooKeeper knows, in order; `None` where it was never created, and then nothing of
/// the partition was counted. No transaction: each node is read on its own.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read_checkpoints<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<(Partition, Option<StoredCheckpoint>)>, Error> {
    let reads = partitions(session).await?.into_iter();
    let reads = reads.map(async |partition| Ok((partition, read(session, partition).await?)));
    join_all(reads).await.into_iter().collect()
}

/// As [`read_checkpoints`], and as new as any write that ZooKeeper had acknowledged to any member when this was called. A
/// member of the namespace only.
///
/// # Errors
/// [`Error::Lost`] if this session is no member any more; [`Error::Corrupt`].
pub async fn read_current<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<(Partition, Option<StoredCheckpoint>)>, Error> {
    session.catch_up().await?;
    read_checkpoints(session).await
}

/// Every partition that ZooKeeper knows, in order, with checkpoint and holder.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read_all<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<PartitionSnapshot>, Error> {
    let reads = partitions(session).await?.into_iter();
    let reads = reads.map(async |partition| {
        Ok(PartitionSnapshot {
            partition,
            checkpoint: read(session, partition).await?,
            holder: holder(session, partition).await?,
            suspension: suspension::read(session, partition).await?,
        })
    });
    join_all(reads).await.into_iter().collect()
}

async fn partitions<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<Partition>, Error> {
    let names = session.children(&session.paths().partitions()).await?;
    let mut partitions: Vec<_> = names.iter().filter_map(|n| path::partition_of(n)).collect();
    partitions.sort_unstable();
    Ok(partitions)
}

/// As [`read_all`], for readers that poll: the holder is read only where events may have been begun beyond the checkpoint,
/// and again, together with the checkpoint, where it is not the one that wrote that. A partition that is handed over between
/// the reads is so not taken for one whose owner has ended.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read_begun<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<PartitionSnapshot>, Error> {
    let reads = partitions(session).await?.into_iter();
    let reads = reads.map(async |partition| {
        let mut state = PartitionSnapshot {
            partition,
            checkpoint: None,
            holder: None,
            suspension: None,
        };
        for _ in 0..2 {
            state.checkpoint = read(session, partition).await?;
            let Some(stored) = &state.checkpoint else {
                break;
            };
            if !stored.progress.is_below(stored.ceiling.acknowledged()) {
                break;
            }
            state.holder = holder(session, partition).await?;
            let writer = stored.writer.as_ref().map(|writer| &writer.member);
            if state.holder.as_ref() == writer {
                break;
            }
        }
        Ok(state)
    });
    join_all(reads).await.into_iter().collect()
}

async fn holder<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    partition: Partition,
) -> Result<Option<MemberId>, Error> {
    let directory = session.paths().partition(partition);
    let children = session.children(&directory).await?;
    let Some(first) = queue::holders(&children).next() else {
        return Ok(None);
    };
    let node = session.get(&path::child(&directory, first)).await?;
    Ok(node.map(|node| lock::holder(&node)))
}

fn decode(path: &str, node: &Node) -> Result<StoredCheckpoint, Error> {
    StoredCheckpoint::decode(&node.data).map_err(|error| Error::Corrupt {
        path: path.to_owned(),
        why: error.to_string(),
        help: HELP,
    })
}

fn missing(path: String) -> Error {
    Error::Missing { path, help: HELP }
}
