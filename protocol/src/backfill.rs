//! Backfills that are pending: the ranges in which a counter that was added lacks what came before it.
//!
//! Processors count it once they are restarted with the new definitions; the events before that are not in it until a
//! restoration has verified its cells. The transaction that adds the counter creates a node for every range, and ranges are
//! taken off it as they are verified: both under the restoration lock.

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use stitch_common::cell::CounterName;
use stitch_common::clock::Clock;
use stitch_common::ports::{CreateMode, Node, Operation, Session, ZkError};
use stitch_common::range::{RangeBits, RangeId};
use stitch_common::scope::RangeSet;

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::namespace_session::NamespaceSession;

/// A pending backfill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// The counter that was added.
    pub counter: CounterName,
    /// Since when, and where its past is not counted yet.
    pub record: BackfillRecord,
}

/// The record in the node of a backfill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillRecord {
    /// When the counter was added, by the calendar of the process that did.
    pub since: DateTime<Utc>,
    /// Where its past is not counted yet.
    pub ranges: RangeSet,
}

impl Payload for BackfillRecord {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "restore the counter (`stitch-restorator run --now --counter NAME`), which removes the record";
}

impl BackfillRecord {
    /// Whatever became of the record: its node says that the counter lacks something, everywhere then.
    fn of(path: &str, node: &Node, bits: RangeBits) -> Self {
        envelope::open(path, &node.data).unwrap_or_else(|_| Self {
            since: DateTime::from_timestamp_millis(node.stat.ctime_ms).unwrap_or_default(),
            ranges: bits.ranges().collect(),
        })
    }
}

/// What records, in the transaction that adds these counters, that their past is not counted.
pub(crate) fn additions<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    added: &[CounterName],
    bits: RangeBits,
) -> Vec<Operation> {
    let record = BackfillRecord {
        since: session.clock().wall(),
        ranges: bits.ranges().collect(),
    };
    let create = |counter| Operation::Create {
        path: session.paths().backfill(counter),
        data: envelope::seal(&record),
        mode: CreateMode::Persistent,
    };
    added.iter().map(create).collect()
}

/// Every pending backfill, in the order of the counters' names.
pub async fn list<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    bits: RangeBits,
) -> Result<Vec<Backfill>, Error> {
    let mut names = session.children(&session.paths().backfills()).await?;
    names.sort_unstable();
    let reads = names.into_iter().map(async |name| {
        let counter = CounterName(name.into());
        let path = session.paths().backfill(&counter);
        let node = session.get(&path).await?;
        let record = node.map(|node| BackfillRecord::of(&path, &node, bits));
        Ok(record.map(|record| Backfill { counter, record }))
    });
    let backfills: Result<Vec<_>, Error> = join_all(reads).await.into_iter().collect();
    Ok(backfills?.into_iter().flatten().collect())
}

/// Takes a range off a backfill, if it is there: every cell of the counter in it is verified. Cancelled, it may be done.
pub async fn complete<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    counter: &CounterName,
    range: RangeId,
    bits: RangeBits,
) -> Result<(), Error> {
    let path = session.paths().backfill(counter);
    let mut retries = session.retry_budget(&path);
    loop {
        let Some(node) = session.get(&path).await? else {
            return Ok(());
        };
        let mut record = BackfillRecord::of(&path, &node, bits);
        record.ranges = record.ranges.iter().filter(|one| *one != range).collect();
        let (zookeeper, version) = (session.zookeeper(), Some(node.stat.version));
        let written = match record.ranges.bounds() {
            None => zookeeper.delete(&path, version).await,
            Some(_) => {
                let data = envelope::seal(&record);
                zookeeper.set(&path, &data, version).await.map(drop)
            }
        };
        match written {
            Ok(()) | Err(ZkError::NoNode) => return Ok(()),
            // A range was taken off since it was read: look again.
            Err(ZkError::BadVersion) => {}
            Err(ZkError::Ambiguous(why)) => retries.pause(why).await?,
            Err(refusal) => return Err(Error::unexpected(&path, refusal)),
        }
    }
}
