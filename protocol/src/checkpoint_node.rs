//! Checkpoint in ZooKeeper (rules P1, P5, P7; invariant I2): read under the partition's lock, and written in one
//! transaction with checks that the lock's node exists and that nobody else has written since.

use futures_util::future::join_all;

use stitch_common::checkpoint::{Checkpoint, StoredCheckpoint, Writer};
use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::mutation::{Rule, out};
use stitch_common::offset::Partition;
use stitch_common::ports::{CreateMode, MultiError, Node, Operation, Session, ZkError};

use crate::error::Error;
use crate::namespace_session::{NamespaceSession, RetryBudget};
use crate::partition_lock::PartitionLock;
use crate::path;
use crate::queue;

const HELP: &str = "nothing may be counted on it: stop the processors and follow docs/operations.md, \
     \"progress is lost\"";

/// A partition's progress as this session knows it, to be written on. Made by [`open`] under a held lock; void once
/// that lock is given back or lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCheckpoint {
    partition: Partition,
    progress: Checkpoint,
    version: i32,
}

impl KnownCheckpoint {
    /// Which partition.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// The progress that was read or last written.
    #[must_use]
    pub const fn progress(&self) -> &Checkpoint {
        &self.progress
    }
}

/// What became of a write of progress.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum WriteOutcome {
    /// It is written.
    Written {
        /// The node's version now.
        version: i32,
    },
    /// The lock's node is gone, so the session is over, or as good as over: stop sending for the partition. What was
    /// to be written may be in the node or not.
    LockLost,
    /// Somebody else has written, though this session has the lock. Invariant I6 does not hold: stop the partition.
    Foreign {
        /// Who; nobody if the node was only made.
        writer: Option<Writer>,
    },
}

/// The progress that this session may write on: reads it, or makes it (0) if it is missing. `lock` must be held.
/// Cancelled, it may have made the node, which is harmless.
///
/// Whether progress may be made at all (a group that has commits must have progress, design section 6) is asked before,
/// by [`read`].
///
/// # Errors
/// [`Error::Lost`] if the lock is not held or its node is gone; [`Error::Corrupt`]; else as every recipe.
pub async fn open<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &PartitionLock,
) -> Result<KnownCheckpoint, Error> {
    let partition = lock.partition();
    let path = session.paths().checkpoint(partition);
    let made = StoredCheckpoint {
        progress: Checkpoint::default(),
        writer: None,
    };
    let mut tries = RetryBudget::new(&path);
    loop {
        if let Some(node) = session.get(&path).await? {
            let progress = decode(&path, &node)?.progress;
            return Ok(KnownCheckpoint {
                partition,
                progress,
                version: node.stat.version,
            });
        }
        let operations = vec![
            lock.fence()?,
            Operation::Create {
                path: path.clone(),
                data: made.encode(),
                mode: CreateMode::Persistent,
            },
        ];
        match session.zookeeper().multi(operations).await {
            Ok(_) => {}
            Err(MultiError::Operation {
                index: LOCK,
                error: ZkError::NoNode,
            }) => return Err(Error::Lost { path }),
            Err(MultiError::Operation {
                error: ZkError::NodeExists,
                ..
            }) => {}
            Err(MultiError::Whole(ZkError::Ambiguous(why))) => {
                tries.pause(session, why).await?;
            }
            Err(MultiError::Operation { error, .. } | MultiError::Whole(error)) => {
                return Err(Error::unexpected(&path, error));
            }
        }
    }
}

const LOCK: usize = 0;
const PROGRESS: usize = 1;

/// Writes `progress` in place of what is `known`. A lost answer is resolved by the same transaction again: "other
/// version" with this member and number in the data means that it was written.
///
/// Cancelled, it may have been written, or may yet be: the next write of the same session finds its own earlier one and
/// goes on from it.
///
/// # Errors
/// [`Error::Lost`] if the lock is not held; [`Error::Missing`] if somebody deleted progress; [`Error::Corrupt`]; else
/// as every recipe, and then it may or may not have been written.
pub async fn write<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &PartitionLock,
    known: &mut KnownCheckpoint,
    progress: Checkpoint,
) -> Result<WriteOutcome, Error> {
    let path = session.paths().checkpoint(known.partition);
    let writer = Writer {
        member: session.member(),
        sequence: session.next_number(),
    };
    let written = StoredCheckpoint {
        progress,
        writer: Some(writer.clone()),
    };
    let data = written.encode();
    let mut tries = RetryBudget::new(&path);
    loop {
        let set = Operation::Set {
            path: path.clone(),
            data: data.clone(),
            version: (!out(Rule::Fence)).then_some(known.version),
        };
        let version = match session.zookeeper().multi(vec![lock.fence()?, set]).await {
            Ok(_) => known.version.wrapping_add(1),
            Err(MultiError::Whole(ZkError::Ambiguous(why))) => {
                tries.pause(session, why).await?;
                continue;
            }
            Err(MultiError::Operation {
                index: LOCK,
                error: ZkError::NoNode,
            }) => return Ok(WriteOutcome::LockLost),
            Err(MultiError::Operation {
                index: PROGRESS,
                error: ZkError::BadVersion,
            }) => match who_wrote(session, &path, &writer).await? {
                Found::This { version } => version,
                Found::EarlierOfOurs { version } => {
                    known.version = version;
                    continue;
                }
                Found::Foreign { writer } => return Ok(WriteOutcome::Foreign { writer }),
            },
            Err(MultiError::Operation {
                index: PROGRESS,
                error: ZkError::NoNode,
            }) => return Err(missing(path)),
            Err(MultiError::Operation { error, .. } | MultiError::Whole(error)) => {
                return Err(Error::unexpected(&path, error));
            }
        };
        known.progress = written.progress;
        known.version = version;
        return Ok(WriteOutcome::Written { version });
    }
}

enum Found {
    /// The write in question; its answer was lost.
    This { version: i32 },
    /// A write of this session whose future was dropped.
    EarlierOfOurs { version: i32 },
    /// Another session's.
    Foreign { writer: Option<Writer> },
}

async fn who_wrote<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    path: &str,
    own: &Writer,
) -> Result<Found, Error> {
    let Some(node) = session.get(path).await? else {
        return Err(missing(path.to_owned()));
    };
    let version = node.stat.version;
    Ok(match decode(path, &node)?.writer {
        Some(writer) if writer == *own => Found::This { version },
        Some(writer) if writer.member == own.member && writer.sequence < own.sequence => {
            Found::EarlierOfOurs { version }
        }
        writer => Found::Foreign { writer },
    })
}

/// A partition's progress, without any lock (R1) or under a range's exclusive lock (R3); `None` if it has none.
///
/// # Errors
/// [`Error::Corrupt`]; else as every recipe.
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
pub struct PartitionState {
    /// Which.
    pub partition: Partition,
    /// Its progress; none if it was never made, and then nothing was counted of it.
    pub progress: Option<StoredCheckpoint>,
    /// Who has its lock.
    pub holder: Option<MemberId>,
}

/// Every partition that ZooKeeper knows, in their order, with progress and holder.
///
/// # Errors
/// [`Error::Corrupt`]; else as every recipe.
pub async fn read_all<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<PartitionState>, Error> {
    let names = session.children(&session.paths().partitions()).await?;
    let mut partitions: Vec<_> = names.iter().filter_map(|n| path::partition_of(n)).collect();
    partitions.sort_unstable();
    let states = partitions.into_iter().map(async |partition| {
        Ok(PartitionState {
            partition,
            progress: read(session, partition).await?,
            holder: holder(session, partition).await?,
        })
    });
    join_all(states).await.into_iter().collect()
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
    Ok(node.map(|node| MemberId::of_session(node.stat.ephemeral_owner)))
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
