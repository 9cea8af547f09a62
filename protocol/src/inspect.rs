//! What an operator wants to see of a namespace: who is there, what is locked by whom since when, what is asked, marked
//! and recorded. Reads only, takes no lock; the parts are read one after another, so they may differ by a moment.

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::Session;
use stitch_common::range::{RangeBits, RangeId};

use crate::checkpoint_node::{self, PartitionState};
use crate::contender::{Kind, Sequence};
use crate::error::Error;
use crate::in_doubt::{self, InDoubtMarker};
use crate::membership::{self, Members};
use crate::namespace_session::NamespaceSession;
use crate::path;
use crate::queue::{Position, position};
use crate::restoration::{self, Holder, RestorationRecord};
use crate::revocation::{self, RevocationRequest};

/// A namespace as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Members and tombstones.
    pub members: Members,
    /// Partitions with progress and holder.
    pub partitions: Vec<PartitionState>,
    /// The lock queue of every range that has one, in the order of ranges and places.
    pub locks: Vec<RangeQueue>,
    /// The marks of all ranges.
    pub markers: Vec<InDoubtMarker>,
    /// The requests that stand.
    pub requests: Vec<RevocationRequest>,
    /// Who has the restoration lock.
    pub restoring: Option<Holder>,
    /// The records of restorations, the oldest first.
    pub restorations: Vec<RestorationRecord>,
}

/// The lock queue of one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQueue {
    /// Which range.
    pub range: RangeId,
    /// Who is in it, the first first.
    pub queue: Vec<Queued>,
}

/// Who is in a lock queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Whose node it is.
    pub member: MemberId,
    /// How it holds, or would hold, the lock.
    pub kind: Kind,
    /// Whether it holds it; it waits if not.
    pub holds: bool,
    /// Its place.
    pub sequence: Sequence,
    /// Since when it is in the queue, by the server's clock.
    pub since: Option<DateTime<Utc>>,
}

/// The namespace as it stands.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::Corrupt`]; else as every recipe.
pub async fn overview<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    bits: RangeBits,
) -> Result<Overview, Error> {
    session.sync().await?;
    Ok(Overview {
        members: membership::list(session).await?,
        partitions: checkpoint_node::read_all(session).await?,
        locks: locks(session, bits).await?,
        markers: in_doubt::of_all_ranges(session, bits).await?,
        requests: revocation::list(session).await?,
        restoring: restoration::holder(session).await?,
        restorations: restoration::records(session).await?,
    })
}

/// The lock queues of all ranges that have one.
///
/// # Errors
/// As every recipe.
pub async fn locks<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    bits: RangeBits,
) -> Result<Vec<RangeQueue>, Error> {
    let queues = join_all(bits.ranges().map(|range| queue_of(session, range))).await;
    let queues: Result<Vec<_>, Error> = queues.into_iter().collect();
    let mut queues = queues?;
    queues.retain(|queue| !queue.queue.is_empty());
    Ok(queues)
}

async fn queue_of<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    range: RangeId,
) -> Result<RangeQueue, Error> {
    let directory = session.paths().range(range);
    let children = session.children(&directory).await?;
    let mut queue = Vec::new();
    for name in &children {
        let Some(contender) = path::name::read_entry(name) else {
            continue;
        };
        let Some(node) = session.get(&path::child(&directory, name)).await? else {
            continue;
        };
        queue.push(Queued {
            member: MemberId::of_session(node.stat.ephemeral_owner),
            kind: contender.kind,
            holds: position(&children, name) == Position::Held,
            sequence: contender.sequence,
            since: DateTime::from_timestamp_millis(node.stat.ctime_ms),
        });
    }
    queue.sort_by(|a, b| a.sequence.cmp_distance(b.sequence));
    Ok(RangeQueue { range, queue })
}
