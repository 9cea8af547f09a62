//! Whether a log still has what it had. One that has lost its end, because a leader was elected that had fallen behind, gives
//! the same offsets to other records.

use std::collections::BTreeMap;

use crate::offset::{Offset, Offsets, Partition};
use crate::ports::{EventLog, Fingerprint, LogError};

/// The first of these partitions of which the log has another record at this offset, or none, though it reaches back further.
/// A record that Kafka has deleted with the beginning of the log is not missed. Nothing follows from a log that ends below
/// the offset: a broker that was deposed as leader, and does not know it yet, answers with an old end.
///
/// # Errors
/// Kafka.
pub async fn replaced<L: EventLog>(
    log: &L,
    known: &BTreeMap<Partition, Fingerprint>,
) -> Result<Option<(Partition, Offset)>, LogError> {
    if known.is_empty() {
        return Ok(None);
    }
    let offsets = known
        .iter()
        .map(|(partition, known)| (*partition, known.offset));
    let offsets = Offsets(offsets.collect());
    let found = log.records_from(&offsets).await?;
    let mut behind = Vec::new();
    for (partition, known) in known {
        match found.get(partition) {
            Some(found) if found.offset > known.offset => behind.push(*partition),
            Some(found) if found != known => return Ok(Some((*partition, known.offset))),
            Some(_) | None => {}
        }
    }
    if behind.is_empty() {
        return Ok(None);
    }
    // Asked last: the log's beginning only moves on.
    let bounds = log.bounds(&behind).await?;
    let is_missing = |partition: &Partition| {
        let begin = bounds.get(partition).map(|bounds| bounds.begin);
        begin.is_some_and(|begin| begin <= offsets.of(*partition))
    };
    let missing = behind.into_iter().find(is_missing);
    Ok(missing.map(|partition| (partition, offsets.of(partition))))
}
