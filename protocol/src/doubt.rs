//! Doubts: lasting records that counts of a range may be wrong, one node for a range and a cause.
//!
//! In-doubt markers and dead members say that something may *still change*; a quiescence barrier ends that. It does not
//! say that counts are right. So whatever may have made them wrong leaves a doubt before the sign of it is gone, and a
//! verified restoration that covers the range is the only thing that removes it: by name, and only as it was read before
//! the cut (rule R3). A doubt that is recorded again has another version, and so it stays.

use std::fmt;

use chrono::{DateTime, Utc};
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{CreateMode, Node, Operation, Session, ZkError};
use stitch_common::range::RangeId;

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::namespace_session::{NamespaceSession, not_initialised};
use crate::path;

/// What may have made counts wrong. The names are part of node names, of JSON and of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DoubtCause {
    /// The outcome of a request was unknown; its in-doubt marker was removed after a barrier.
    InDoubt,
    /// A member that ended early may have applied events that its successor counts again.
    Takeover,
    /// Increments were given up at a yield, a hand-over or a stop.
    GivenUp,
    /// A restoration found wrong cells, or could not look at all of them, and did not verify the range.
    Unverified,
    /// An invariant was broken.
    Invariant,
    /// Records were gone from the log before, or after, they were counted.
    LogTruncated,
    /// The topic was deleted and created again.
    LogRecreated,
    /// Buckets do not add up to the bucket that contains them.
    SumsDiffer,
}

impl DoubtCause {
    /// Every cause.
    pub const EVERY: [Self; 8] = [
        Self::InDoubt,
        Self::Takeover,
        Self::GivenUp,
        Self::Unverified,
        Self::Invariant,
        Self::LogTruncated,
        Self::LogRecreated,
        Self::SumsDiffer,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InDoubt => "in-doubt",
            Self::Takeover => "takeover",
            Self::GivenUp => "given-up",
            Self::Unverified => "unverified",
            Self::Invariant => "invariant",
            Self::LogTruncated => "log-truncated",
            Self::LogRecreated => "log-recreated",
            Self::SumsDiffer => "sums-differ",
        }
    }

    /// The cause with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|cause| cause.name() == name)
    }
}

impl fmt::Display for DoubtCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The record in the node of a doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubtRecord {
    /// When it was first recorded, by the calendar of the member that did; recording it again keeps this.
    pub since: DateTime<Utc>,
    /// The member that recorded it last.
    pub member: MemberId,
    /// What it is about, for people: a partition and offsets, or why a range is unverified.
    pub detail: String,
}

impl Payload for DoubtRecord {
    const FORMAT: u32 = 1;
    const HELP: &'static str =
        "restore the range (`stitch-restorator run --now --doubtful`), which removes the doubt";
}

/// A doubt, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The range whose counts may be wrong.
    pub range: RangeId,
    /// What may have made them wrong.
    pub cause: DoubtCause,
    /// When it was first recorded; by the server's clock if the record cannot be read.
    pub since: DateTime<Utc>,
    /// The member that recorded it last; none if the record cannot be read.
    pub member: Option<MemberId>,
    /// What it is about, for people.
    pub detail: String,
    /// The version of its node: another one if it has been recorded again.
    version: i32,
    /// The transaction that created its node: another one if it was removed and recorded again.
    creation: i64,
}

impl Doubt {
    fn of(range: RangeId, cause: DoubtCause, path: &str, node: &Node) -> Self {
        let record: Result<DoubtRecord, Error> = envelope::open(path, &node.data);
        let created = || DateTime::from_timestamp_millis(node.stat.ctime_ms).unwrap_or_default();
        let (since, member, detail) = match record {
            Ok(record) => (record.since, Some(record.member), record.detail),
            // Whatever became of the record: the node says that there is a doubt.
            Err(error) => (created(), None, error.to_string()),
        };
        Self {
            range,
            cause,
            since,
            member,
            detail,
            version: node.stat.version,
            creation: node.stat.czxid,
        }
    }

    /// Whether `node` is this doubt, not recorded again since.
    const fn is(&self, node: &Node) -> bool {
        node.stat.version == self.version && node.stat.czxid == self.creation
    }
}

/// Characters of a detail that are kept.
const DETAIL_MAX: usize = 300;

/// Records a doubt. When it returns, readers hear of it until a restoration that reads it afterwards verifies the range.
/// Cancelled or failed, it may have been recorded: harmless, but nothing may rely on it.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn record<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    range: RangeId,
    cause: DoubtCause,
    detail: &str,
) -> Result<(), Error> {
    match record_with(session, (range, cause), detail, &[]).await? {
        RecordOutcome::Yes | RecordOutcome::Gone => Ok(()),
    }
}

/// Records the same doubt of several ranges, as [`record`] does.
///
/// # Errors
/// [`Error::NotInitialised`]: then some are recorded.
pub async fn record_all<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    ranges: impl IntoIterator<Item = RangeId>,
    cause: DoubtCause,
    detail: &str,
) -> Result<(), Error> {
    let records = ranges
        .into_iter()
        .map(|range| record(session, range, cause, detail));
    try_join_all(records).await.map(drop)
}

/// What became of a doubt that is recorded in one transaction with other operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum RecordOutcome {
    /// The whole transaction was carried out.
    Yes,
    /// The node of one of the other operations is gone: nothing was carried out.
    Gone,
}

/// Records a doubt in one transaction with `others`, which fail only if their nodes are gone.
pub(crate) async fn record_with<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    (range, cause): (RangeId, DoubtCause),
    detail: &str,
    others: &[Operation],
) -> Result<RecordOutcome, Error> {
    let path = session.paths().doubt(range, cause.name());
    let mut record = DoubtRecord {
        since: session.clock().wall(),
        member: session.member(),
        detail: detail.chars().take(DETAIL_MAX).collect(),
    };
    let mut retries = session.retry_budget(&path);
    loop {
        let known = session.get(&path).await?;
        if let Some(node) = &known {
            record.since = Doubt::of(range, cause, &path, node).since;
        }
        let data = envelope::seal(&record);
        let write = match &known {
            None => Operation::Create {
                path: path.clone(),
                data,
                mode: CreateMode::Persistent,
            },
            Some(node) => Operation::Set {
                path: path.clone(),
                data,
                version: Some(node.stat.version),
            },
        };
        let operations = [&[write], others].concat();
        match retries.transact(&operations).await? {
            Ok(()) => return Ok(RecordOutcome::Yes),
            // Recorded by another member, or removed, since it was read: look again.
            Err((Some(0), ZkError::NodeExists | ZkError::BadVersion)) => {}
            Err((Some(0), ZkError::NoNode)) if known.is_some() => {}
            Err((Some(0), ZkError::NoNode)) => return Err(not_initialised(&path)),
            Err((Some(_), ZkError::NoNode)) => return Ok(RecordOutcome::Gone),
            Err((_, refusal)) => return Err(Error::unexpected(&path, refusal)),
        }
    }
}

/// Every doubt, in the order of ranges and causes.
pub async fn list<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<Doubt>, Error> {
    read(session, |_| true).await
}

/// The doubts of one range.
pub async fn list_range<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    range: RangeId,
) -> Result<Vec<Doubt>, Error> {
    read(session, |of| of == range).await
}

async fn read<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    wanted: impl Fn(RangeId) -> bool,
) -> Result<Vec<Doubt>, Error> {
    let names = session.children(&session.paths().doubts()).await?;
    let mut found: Vec<_> = names
        .iter()
        .filter_map(|name| path::name::read_doubt(name))
        .filter_map(|(range, cause)| Some((range, DoubtCause::from_name(cause)?)))
        .filter(|(range, _)| wanted(*range))
        .collect();
    found.sort_unstable();
    let reads = found.into_iter().map(async |(range, cause)| {
        let path = session.paths().doubt(range, cause.name());
        let node = session.get(&path).await?;
        Ok(node.map(|node| Doubt::of(range, cause, &path, &node)))
    });
    let doubts: Result<Vec<_>, Error> = join_all(reads).await.into_iter().collect();
    Ok(doubts?.into_iter().flatten().collect())
}

/// What became of a doubt that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum DoubtRemoval {
    /// It is gone.
    Removed,
    /// It was recorded again since it was read, so it stays.
    Renewed,
}

/// Removes a doubt, unless it was recorded again since it was read. For the restoration that verified its range, under
/// the restoration lock: nothing else removes doubts. For members only. Cancelled, it may be gone.
///
/// A lost answer is followed by another look, at what is current, and not by the same request, which might remove a doubt
/// that was recorded meanwhile: a new node has the same version again.
pub async fn remove<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    doubt: &Doubt,
) -> Result<DoubtRemoval, Error> {
    let path = session.paths().doubt(doubt.range, doubt.cause.name());
    let mut retries = session.retry_budget(&path);
    loop {
        match session.zookeeper().delete(&path, Some(doubt.version)).await {
            Ok(()) | Err(ZkError::NoNode) => return Ok(DoubtRemoval::Removed),
            Err(ZkError::BadVersion) => return Ok(DoubtRemoval::Renewed),
            Err(ZkError::Ambiguous(why)) => retries.pause(why).await?,
            Err(refusal) => return Err(Error::unexpected(&path, refusal)),
        }
        session.catch_up().await?;
        match session.get(&path).await? {
            None => return Ok(DoubtRemoval::Removed),
            Some(node) if !doubt.is(&node) => return Ok(DoubtRemoval::Renewed),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
