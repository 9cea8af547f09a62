//! A namespace at one moment: [`light`] for readers, who ask for it again and again; [`full`] for operators. Reads only,
//! takes no lock; the parts are read one after another, so they may differ by a moment.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use stitch_common::checkpoint::Checkpoint;
use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::offset::Partition;
use stitch_common::ports::Session;
use stitch_common::range::{RangeBits, RangeId};

use crate::backfill::{self, Backfill};
use crate::checkpoint_node::{self, PartitionSnapshot};
use crate::contender::{Kind, Sequence};
use crate::doubt::{self, Doubt};
use crate::error::Error;
use crate::in_doubt::{self, InDoubtMarker};
use crate::lock;
use crate::membership::{self, Members};
use crate::namespace_session::NamespaceSession;
use crate::path;
use crate::queue::{Position, position};
use crate::restoration::{self, LockHolder};
use crate::revocation::{self, RevocationRequest};
use crate::uncertainty::Uncertainty;

/// How far each partition is counted, where counts are locked, and what is known against them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LightSnapshot {
    /// The partitions that ZooKeeper knows, with their checkpoints if they have any.
    pub partitions: BTreeMap<Partition, Option<Checkpoint>>,
    /// The ranges with an exclusive lock, held or waited for.
    pub locked: BTreeSet<RangeId>,
    /// What is known against the counts.
    pub uncertainty: Uncertainty,
}

/// Reads a light snapshot.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::Corrupt`].
pub async fn light<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    bits: RangeBits,
) -> Result<LightSnapshot, Error> {
    let (mut locked, mut marked) = (BTreeSet::new(), BTreeSet::new());
    // Signs of uncertainty are read in the order in which they follow each other, so that none is missed.
    let dead_members = membership::dead(session).await?.len();
    let ranges = bits.ranges().map(async |range| {
        let directory = session.paths().range(range);
        Ok((range, session.children(&directory).await?))
    });
    for read in join_all(ranges).await {
        let (range, names) = read?;
        if names.iter().any(|name| is_exclusive(name)) {
            locked.insert(range);
        }
        if names
            .iter()
            .any(|name| InDoubtMarker::from_name(range, name).is_some())
        {
            marked.insert(range);
        }
    }
    let states = checkpoint_node::read_begun(session).await?;
    let doubts = doubt::list(session).await?;
    let backfills = backfill::list(session, bits).await?;
    let checkpoint = |state: &PartitionSnapshot| {
        let stored = state.checkpoint.as_ref();
        (
            state.partition,
            stored.map(|stored| stored.progress.clone()),
        )
    };
    Ok(LightSnapshot {
        partitions: states.iter().map(checkpoint).collect(),
        locked,
        uncertainty: Uncertainty {
            backfills,
            ..Uncertainty::new(dead_members, marked, states, doubts)
        },
    })
}

fn is_exclusive(name: &str) -> bool {
    path::name::read_entry(name).is_some_and(|contender| contender.kind == Kind::Exclusive)
}

/// Everything that ZooKeeper has of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullSnapshot {
    /// Living and dead members.
    pub members: Members,
    /// Partitions with checkpoint and holder.
    pub partitions: Vec<PartitionSnapshot>,
    /// The lock queue of every range that has one, in the order of the ranges.
    pub locks: Vec<RangeQueue>,
    /// The in-doubt markers of all ranges.
    pub markers: Vec<InDoubtMarker>,
    /// The doubts, in the order of the ranges.
    pub doubts: Vec<Doubt>,
    /// The pending backfills, in the order of the counters' names.
    pub backfills: Vec<Backfill>,
    /// The revocation requests.
    pub requests: Vec<RevocationRequest>,
    /// The holder of the restoration lock.
    pub restoring: Option<LockHolder>,
}

impl FullSnapshot {
    /// What is known against the counts.
    #[must_use]
    pub fn uncertainty(&self) -> Uncertainty {
        let read = Uncertainty::new(
            self.members.dead_members().count(),
            self.markers.iter().map(|marker| marker.range),
            self.partitions.iter().cloned(),
            self.doubts.iter().cloned(),
        );
        Uncertainty {
            backfills: self.backfills.clone(),
            ..read
        }
    }
}

/// The lock queue of one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQueue {
    /// The range.
    pub range: RangeId,
    /// Its entries, in the order of the queue.
    pub entries: Vec<QueueEntry>,
}

/// One entry of a lock queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// The member whose node it is.
    pub member: MemberId,
    /// How it holds, or would hold, the lock.
    pub kind: Kind,
    /// Whether it holds the lock; it waits if not.
    pub holds: bool,
    /// Its position.
    pub sequence: Sequence,
    /// When it entered the queue, by the server's clock.
    pub since: Option<DateTime<Utc>>,
}

/// Reads a full snapshot.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::Corrupt`].
pub async fn full<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    bits: RangeBits,
) -> Result<FullSnapshot, Error> {
    session.sync().await?;
    // Signs of uncertainty are read in the order in which they follow each other, so that none is missed.
    Ok(FullSnapshot {
        members: membership::list(session).await?,
        locks: locks(session, bits).await?,
        markers: in_doubt::list_all(session, bits).await?,
        partitions: checkpoint_node::read_all(session).await?,
        doubts: doubt::list(session).await?,
        backfills: backfill::list(session, bits).await?,
        requests: revocation::list(session).await?,
        restoring: restoration::holder(session).await?,
    })
}

/// The lock queues of all ranges that have one.
pub async fn locks<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    bits: RangeBits,
) -> Result<Vec<RangeQueue>, Error> {
    let reads = join_all(bits.ranges().map(|range| range_queue(session, range))).await;
    let mut queues: Vec<_> = reads.into_iter().collect::<Result<_, Error>>()?;
    queues.retain(|queue| !queue.entries.is_empty());
    Ok(queues)
}

async fn range_queue<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    range: RangeId,
) -> Result<RangeQueue, Error> {
    let directory = session.paths().range(range);
    let children = session.children(&directory).await?;
    let mut entries = Vec::new();
    for name in &children {
        let Some(contender) = path::name::read_entry(name) else {
            continue;
        };
        let Some(node) = session.get(&path::child(&directory, name)).await? else {
            continue;
        };
        entries.push(QueueEntry {
            member: lock::holder(&node),
            kind: contender.kind,
            holds: position(&children, name) == Position::Held,
            sequence: contender.sequence,
            since: DateTime::from_timestamp_millis(node.stat.ctime_ms),
        });
    }
    entries.sort_by(|a, b| a.sequence.cmp_distance(b.sequence));
    Ok(RangeQueue { range, entries })
}
