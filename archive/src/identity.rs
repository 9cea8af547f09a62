//! Whether a log is the one that was archived.
//!
//! Kafka's client exposes no id of a topic, and a topic that was deleted and made again has offsets from 0 on, as the old
//! one had. A log that has lost its end, because a leader was elected that had fallen behind, gives the same offsets to other
//! records, too. The archive has the records themselves: the first record that the log still has must be the one that is
//! archived under its offset, and the last one that is archived must be the one that the log has there.

use std::collections::BTreeMap;

use stitch_common::log_history::replaced;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{EventLog, Fingerprint, ObjectStore};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;

use crate::chain::Chain;
use crate::error::ArchiveError;
use crate::reader::Archive;

const OTHER_LOG: &str =
    "see docs/operations/archive.md, \"The log is not the one that was archived\"";

/// What a comparison of the log of a partition with its archive shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogVerdict {
    /// Nothing shows that it is another one. These records were compared, if it has any.
    Same(Option<LogComparison>),
    /// It is another one.
    Other(UserError),
}

/// The records of a partition by which its log was compared with an archive that ends at `complete_to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogComparison {
    complete_to: Offset,
    /// The first one of the log.
    first: Fingerprint,
    /// The last one of the archive.
    last: Option<Fingerprint>,
}

/// Refuses a log that is another one in any partition.
///
/// # Errors
/// The log is another one, with partition and offset; or Kafka, or the archive.
pub async fn check<L: EventLog, S: ObjectStore>(
    archive: &Archive<S>,
    log: &L,
    chains: &[Chain],
) -> Result<(), ServerFailure> {
    let others = others(archive, log, chains).await?;
    others
        .into_values()
        .next()
        .map_or(Ok(()), |other| Err(other.into()))
}

/// The partitions whose log is another one than was archived, and how that shows: the first record of each is compared with
/// the archive, where that has its offset, and the last archived one with the log, where that reaches back so far.
///
/// # Errors
/// It is another one in every partition: the topic was made again. Or Kafka, or the archive.
pub(crate) async fn others<L: EventLog, S: ObjectStore>(
    archive: &Archive<S>,
    log: &L,
    chains: &[Chain],
) -> Result<BTreeMap<Partition, UserError>, ServerFailure> {
    let mut others = BTreeMap::new();
    let partitions: Vec<_> = chains.iter().map(|chain| chain.partition).collect();
    let first_records = log.first_records(&partitions).await?;
    for chain in chains {
        if let Some(first) = first_records.get(&chain.partition)
            && !is_archived(archive, chain, first).await?
        {
            others.insert(
                chain.partition,
                other_record(archive, chain.partition, first),
            );
        }
    }
    let whole = chains.iter().map(|chain| (chain, Offset(i64::MAX)));
    let mut last_records = archive.last_records_below(whole).await?;
    while let Some(at) = replaced(log, &last_records).await? {
        last_records.remove(&at.0);
        others
            .entry(at.0)
            .or_insert_with(|| replaced_record(archive, at));
    }
    if others.len() == chains.len()
        && let Some((_, error)) = others.pop_first()
    {
        return Err(error.into());
    }
    Ok(others)
}

/// Compares the log of one partition, whose archive ends at `complete_to`. The archive is read only if it has grown since it
/// was compared as `known`, or if the log begins with another record.
///
/// # Errors
/// Kafka, or the archive.
pub(crate) async fn compare<L: EventLog, S: ObjectStore>(
    archive: &Archive<S>,
    log: &L,
    (partition, complete_to): (Partition, Offset),
    known: Option<LogComparison>,
) -> Result<LogVerdict, ServerFailure> {
    let first = log.first_records(&[partition]).await?.remove(&partition);
    let Some(first) = first else {
        let bounds = log.bounds(&[partition]).await?;
        let end = bounds.get(&partition).map(|bounds| bounds.end);
        return Ok(match end.filter(|end| *end < complete_to) {
            Some(end) => LogVerdict::Other(emptied(archive, partition, end, complete_to)),
            None => LogVerdict::Same(None),
        });
    };
    let is_known = |known: &LogComparison| known.complete_to == complete_to && known.first == first;
    let compared = match known.filter(is_known) {
        Some(known) => known,
        None => {
            let chain = archive.chain(partition).await?;
            if !is_archived(archive, &chain, &first).await? {
                return Ok(LogVerdict::Other(other_record(archive, partition, &first)));
            }
            let last = archive.last_records_below([(&chain, Offset(i64::MAX))]);
            LogComparison {
                complete_to,
                first,
                last: last.await?.remove(&partition),
            }
        }
    };
    let last = compared.last.iter().map(|last| (partition, last.clone()));
    Ok(match replaced(log, &last.collect()).await? {
        Some(at) => LogVerdict::Other(replaced_record(archive, at)),
        None => LogVerdict::Same(Some(compared)),
    })
}

/// Whether the archive has no other record at the offset of `first`, the first record of the log.
async fn is_archived<S: ObjectStore>(
    archive: &Archive<S>,
    chain: &Chain,
    first: &Fingerprint,
) -> Result<bool, ArchiveError> {
    if chain.segment_of(first.offset).is_none() {
        return Ok(true);
    }
    let below = archive.last_records_below([(chain, first.offset.next())]);
    Ok(below.await?.get(&chain.partition) == Some(first))
}

fn other_record<S: ObjectStore>(
    archive: &Archive<S>,
    partition: Partition,
    first: &Fingerprint,
) -> UserError {
    let why = format!(
        "its first record in partition {partition}, at offset {}, is not the archived one",
        first.offset
    );
    other_log(archive, &why)
}

fn replaced_record<S: ObjectStore>(archive: &Archive<S>, at: (Partition, Offset)) -> UserError {
    let (partition, offset) = at;
    let why = format!(
        "in partition {partition} it has not the record at offset {offset} that was archived last"
    );
    other_log(archive, &why)
}

fn emptied<S: ObjectStore>(
    archive: &Archive<S>,
    partition: Partition,
    end: Offset,
    complete_to: Offset,
) -> UserError {
    let why = format!(
        "its partition {partition} has no record and ends at offset {end}, and the archive ends at {complete_to}"
    );
    other_log(archive, &why)
}

fn other_log<S: ObjectStore>(archive: &Archive<S>, why: &str) -> UserError {
    let topic = archive.folder().topic();
    let message = format!("the topic {topic} is not the one that was archived: {why}");
    UserError::new(message, OTHER_LOG)
}
