//! Whether a log is the one that was archived.
//!
//! Kafka's client exposes no id of a topic, and a topic that was deleted and made again has offsets from 0 on, as the old
//! one had. The archive has the records themselves: the first record that the log still has must be the one that is
//! archived under its offset.

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{EventLog, Fingerprint, ObjectStore, Record};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;

use crate::chain::{Chain, Segment};
use crate::error::ArchiveError;
use crate::reader::Archive;
use crate::segment::row_group::Columns;

const OTHER_LOG: &str =
    "see docs/operations/archive.md, \"The log is not the one that was archived\"";

/// What a comparison of the log of a partition with its archive shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogVerdict {
    /// Nothing shows that it is another one. It has this first record.
    Same(Option<Fingerprint>),
    /// It is another one.
    Other(UserError),
}

/// Compares the first record of each partition with the archive, where that has its offset.
///
/// # Errors
/// The log is another one, with partition and offset; or Kafka, or the archive.
pub async fn check<L: EventLog, S: ObjectStore>(
    archive: &Archive<S>,
    log: &L,
    chains: &[Chain],
) -> Result<(), ServerFailure> {
    let partitions: Vec<_> = chains.iter().map(|chain| chain.partition).collect();
    let first_records = log.first_records(&partitions).await?;
    for chain in chains {
        if let Some(first) = first_records.get(&chain.partition)
            && !is_archived(archive, chain, first).await?
        {
            return Err(other_record(archive, chain.partition, first).into());
        }
    }
    Ok(())
}

/// Compares the log of one partition, whose archive ends at `complete_to`. The archive is read only if the log has another
/// first record than `known`, which was compared before.
///
/// # Errors
/// Kafka, or the archive.
pub(crate) async fn compare<L: EventLog, S: ObjectStore>(
    archive: &Archive<S>,
    log: &L,
    (partition, complete_to): (Partition, Offset),
    known: Option<Fingerprint>,
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
    let is_same = known.as_ref() == Some(&first)
        || is_archived(archive, &archive.chain(partition).await?, &first).await?;
    Ok(if is_same {
        LogVerdict::Same(Some(first))
    } else {
        LogVerdict::Other(other_record(archive, partition, &first))
    })
}

/// Whether the archive has no other record at the offset of `first`, the first record of the log.
async fn is_archived<S: ObjectStore>(
    archive: &Archive<S>,
    chain: &Chain,
    first: &Fingerprint,
) -> Result<bool, ArchiveError> {
    let Some(segment) = chain.segment_of(first.offset) else {
        return Ok(true);
    };
    let archived = record(archive, chain, segment, first.offset).await?;
    Ok(archived.as_ref().map(Fingerprint::of).as_ref() == Some(first))
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

/// The archived record at `offset`, which lies in `segment`; `None` if there is no record there.
async fn record<S: ObjectStore>(
    archive: &Archive<S>,
    chain: &Chain,
    segment: &Segment,
    offset: Offset,
) -> Result<Option<Record>, ArchiveError> {
    let mut reader = archive.open(chain.partition, segment, Columns::All).await?;
    while let Some(rows) = reader.next().await? {
        if rows.last().is_some_and(|last| last.offset < offset) {
            continue;
        }
        return Ok(rows.records().find(|record| record.offset == offset));
    }
    Ok(None)
}
