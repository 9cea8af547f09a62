//! Whether a log is the one that was archived.
//!
//! Kafka's client exposes no id of a topic, and a topic that was deleted and made again has offsets from 0 on, as the old
//! one had. The archive has the records themselves: the first record that the log still has must be the one that is
//! archived under its offset.

use stitch_common::offset::Offset;
use stitch_common::ports::{EventLog, Fingerprint, ObjectStore, Record};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;

use crate::chain::{Chain, Segment};
use crate::error::ArchiveError;
use crate::reader::Archive;
use crate::segment::row_group::Columns;

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
        let Some(first) = first_records.get(&chain.partition) else {
            continue;
        };
        let Some(segment) = chain.segment_of(first.offset) else {
            continue;
        };
        let archived = record(archive, chain, segment, first.offset).await?;
        if archived.as_ref().map(Fingerprint::of).as_ref() != Some(first) {
            let (partition, offset) = (chain.partition, first.offset);
            let topic = archive.folder().topic();
            let message = format!(
                "the topic {topic} is not the one that was archived: its first record in partition {partition}, at offset \
                 {offset}, is not the archived one"
            );
            let help =
                "see docs/operations/archive.md, \"The log is not the one that was archived\"";
            return Err(UserError::new(message, help).into());
        }
    }
    Ok(())
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
