//! The last record below a cut, of each partition: by it the log can be told from one that has lost what was counted.

use std::collections::BTreeMap;

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::{EventLog, Fingerprint, ObjectStore};

use super::{BuildError, Work};
use crate::manifest::SourceKind;
use crate::records::{Reach, Records, RecordsError};

/// Completes the last records that were read from the log: with archived ones that `work` reads, here or on a cluster, and
/// those below the cut of its base.
pub(super) async fn complete<S: ObjectStore, L: EventLog, C: Clock>(
    last_records: &mut BTreeMap<Partition, Fingerprint>,
    records: &Records<'_, S, L, C>,
    reach: &Reach,
    work: &Work,
) -> Result<(), BuildError> {
    if let Some(archive) = records.archive() {
        let spans = work.passes.iter().flat_map(|pass| &pass.spans);
        let archived = spans.filter(|span| span.source == SourceKind::Archive);
        let ends = archived.filter_map(|span| Some((reach.chains.get(&span.partition)?, span.to)));
        let archived = archive.last_records_below(ends).await;
        for (partition, last) in archived.map_err(RecordsError::from)? {
            keep(last_records, partition, last);
        }
    }
    for (partition, last) in work.base.iter().flat_map(|base| &base.last_records) {
        keep(last_records, *partition, last.clone());
    }
    Ok(())
}

/// Keeps the later one of two records of a partition.
pub(super) fn keep(
    last_records: &mut BTreeMap<Partition, Fingerprint>,
    partition: Partition,
    last: Fingerprint,
) {
    let kept = last_records
        .entry(partition)
        .or_insert_with(|| last.clone());
    if kept.offset < last.offset {
        *kept = last;
    }
}
