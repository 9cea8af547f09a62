//! Seals files of Kafka Connect while Kafka has their records, so that they can be imported when it has them no more.

use serde::Serialize;
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{EventLog, ObjectStore};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;

use crate::connect::{bytes, files, seal};
use crate::import::Ports;

/// What was sealed of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SealedPartition {
    pub partition: Partition,
    /// Files that are sealed, those included that were already.
    pub sealed: usize,
    /// Files that cannot be sealed any more, because Kafka has deleted some of their records.
    pub too_late: usize,
}

/// Compares every file with the log, as far as Kafka has its records, and seals it.
///
/// # Errors
/// A file is not what the log has, and is named; or a server does not answer. Seals that were put stay.
pub async fn run<L: EventLog, S: ObjectStore, C: Clock>(
    ports: &Ports<'_, L, S, C>,
    progress: &(impl Progress + ?Sized),
) -> Result<Vec<SealedPartition>, UserError> {
    let (store, folder) = (ports.archive.store(), ports.archive.folder());
    let files = files(ports.files, folder.topic()).await?;
    let partitions = ports.log.partitions().await?;
    let bounds = ports.log.bounds(&partitions).await?;
    let mut done = Vec::new();
    progress.begin("comparing files with the log", "bytes", Some(bytes(&files)));
    for (partition, files) in files {
        let begin = bounds.get(&partition).map(|bounds| bounds.begin);
        let mut report = SealedPartition {
            partition,
            sealed: 0,
            too_late: 0,
        };
        // Up to here there is no record that the files before do not have.
        let mut known: Option<Offset> = None;
        for file in &files {
            progress.advance(file.bytes);
            if let Some(seal) = seal::read(store, folder, file).await? {
                report.sealed += 1;
                known = Some(seal.to);
                continue;
            }
            if begin.is_none_or(|begin| file.start < begin) {
                report.too_late += 1;
                known = None;
                continue;
            }
            let from = known.filter(|known| begin <= Some(*known) && *known <= file.start);
            let from = from.unwrap_or(file.start);
            let compared = seal::compare(ports.log, ports.clock, ports.files, folder, file, from);
            let seal = compared.await?;
            seal::put(store, folder, file, &seal).await?;
            report.sealed += 1;
            known = Some(seal.to);
        }
        done.push(report);
    }
    progress.end();
    Ok(done)
}
