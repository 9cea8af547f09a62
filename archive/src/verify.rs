//! Whether an archive is whole: every segment of the chain is there and undamaged, and nothing else.

use serde::Serialize;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{ObjectError, ObjectName, ObjectStore};
use stitch_common::progress::Progress;

use crate::chain::{Chain, Segment, read_index};
use crate::error::ArchiveError;
use crate::reader::Archive;
use crate::segment::row_group::Columns;
use stitch_common::digest::Digest;

/// What is in the archive of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// The partition.
    pub partition: Partition,
    /// Where its archive begins.
    pub origin: Option<Offset>,
    /// The position up to which it is complete and undamaged.
    pub complete_to: Option<Offset>,
    /// Segments that were read.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The sum of the records' hashes.
    pub digest: Digest,
    /// What is missing, damaged, or does not belong there.
    pub problems: Vec<Problem>,
}

/// An object that is missing, damaged, or does not belong there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
}

/// Reads everything that the archive has of `partition`.
///
/// # Errors
/// The store could not answer; an object that is missing or damaged is no error here, but a problem.
pub async fn verify<S: ObjectStore>(
    archive: &Archive<S>,
    partition: Partition,
    progress: &(impl Progress + ?Sized),
) -> Result<PartitionReport, ArchiveError> {
    let mut verifier = Verifier {
        archive,
        report: PartitionReport {
            partition,
            origin: None,
            complete_to: None,
            segments: 0,
            records: 0,
            bytes: 0,
            digest: Digest::default(),
            problems: Vec::new(),
        },
    };
    let listed = verifier.listed().await?;
    let mut chain = Chain {
        partition,
        origin: None,
        segments: Vec::new(),
    };
    match crate::origin::known(archive.store(), archive.folder(), partition).await {
        Ok(origin) => chain.origin = origin,
        Err(error) => verifier.note(error)?,
    }
    verifier.report.origin = chain.origin;
    verifier.report.complete_to = chain.origin;
    verifier.chain(&mut chain, progress).await?;
    verifier.indexes(&chain).await?;
    verifier.strays(&chain, &listed);
    Ok(verifier.report)
}

/// How many records these partitions have, as the ends of their segments say; `None` if that cannot be said: who reads
/// everything will say why.
pub async fn records<S: ObjectStore>(
    archive: &Archive<S>,
    partitions: &[Partition],
) -> Option<u64> {
    let mut records = 0;
    for partition in partitions {
        let chain = archive.chain(*partition).await.ok()?;
        records += chain
            .segments
            .iter()
            .map(|segment| segment.rows)
            .sum::<u64>();
    }
    Some(records)
}

struct Verifier<'a, S> {
    archive: &'a Archive<S>,
    report: PartitionReport,
}

impl<S: ObjectStore> Verifier<'_, S> {
    /// The segments that the partition's folder has, by their names.
    async fn listed(&self) -> Result<Vec<(Offset, ObjectName)>, ArchiveError> {
        let (folder, partition) = (self.archive.folder(), self.report.partition);
        let below = folder.partition(partition);
        let listed = self.archive.store().list(&below, None).await?;
        let from = |name: ObjectName| Some((folder.segment_from(partition, &name)?, name));
        let names = listed.into_iter().map(|entry| entry.name);
        Ok(names.filter_map(from).collect())
    }

    /// Follows the chain by footers alone, and reads each segment. It ends at the first that is missing or damaged.
    async fn chain(
        &mut self,
        chain: &mut Chain,
        progress: &(impl Progress + ?Sized),
    ) -> Result<(), ArchiveError> {
        let partition = self.report.partition;
        while let Some(position) = chain.complete_to() {
            let segment = match self.archive.segment(partition, position).await {
                Ok(None) => return Ok(()),
                Ok(Some(segment)) => segment,
                Err(error) => return self.note(error),
            };
            if let Err(error) = self.read(&segment, progress).await {
                return self.note(error);
            }
            self.report.segments += 1;
            self.report.records += segment.rows;
            self.report.bytes += segment.bytes;
            self.report.digest = self.report.digest.plus(segment.digest);
            self.report.complete_to = Some(segment.to);
            chain.segments.push(segment);
        }
        Ok(())
    }

    async fn read(
        &self,
        segment: &Segment,
        progress: &(impl Progress + ?Sized),
    ) -> Result<(), ArchiveError> {
        let partition = self.report.partition;
        let mut reader = self.archive.open(partition, segment, Columns::All).await?;
        while let Some(rows) = reader.next().await? {
            progress.advance(rows.len() as u64);
        }
        Ok(())
    }

    /// Compares the indexes with the footers.
    async fn indexes(&mut self, chain: &Chain) -> Result<(), ArchiveError> {
        let partition = self.report.partition;
        let (store, folder) = (self.archive.store(), self.archive.folder());
        for segments in chain.segments.chunks(crate::chain::INDEX_SEGMENTS) {
            let Some(first) = segments.first() else {
                continue;
            };
            match read_index(store, folder, partition, first.from).await {
                Ok(Some(indexed)) if !indexed.starts_with(segments) => {
                    let name = folder.index(partition, first.from);
                    self.problem(&name, "it is not what the footers of its segments say");
                }
                Ok(Some(indexed)) if indexed.len() > segments.len() => {
                    // The chain ends within the index.
                    let missing = folder.segment(partition, indexed[segments.len()].from);
                    let known = self.report.problems.iter();
                    if !known.clone().any(|problem| problem.object == missing.0) {
                        self.problem(&missing, "it is missing: an index has it");
                    }
                }
                Ok(Some(_) | None) => {}
                Err(error) => self.note(error)?,
            }
        }
        Ok(())
    }

    /// Objects that no chain leads to: behind a segment that is missing, or copies.
    fn strays(&mut self, chain: &Chain, listed: &[(Offset, ObjectName)]) {
        let end = chain.complete_to();
        let is_known = |from: Offset| {
            let known = chain
                .segments
                .binary_search_by(|segment| segment.from.cmp(&from));
            known.is_ok()
        };
        let strays: Vec<_> = listed
            .iter()
            .filter(|(from, name)| {
                let is_reported = |problem: &Problem| problem.object == name.0;
                // What was put after the chain was followed is none.
                !is_known(*from) && !self.report.problems.iter().any(is_reported)
            })
            .collect();
        let Some((first, _)) = strays.first() else {
            return;
        };
        let missing = end.filter(|end| end < first);
        if let Some(end) = missing
            && self.report.problems.is_empty()
        {
            let name = self.archive.folder().segment(self.report.partition, end);
            self.problem(&name, "it is missing: there are segments behind it");
        }
        for (_, name) in strays {
            self.problem(
                name,
                "no segment ends where it begins: one before it is missing, or it is a copy",
            );
        }
    }

    /// Notes an object that is not what it must be.
    fn note(&mut self, error: ArchiveError) -> Result<(), ArchiveError> {
        let (name, message) = match error {
            ArchiveError::Damaged { name, why } => (name, format!("it is damaged: {why}")),
            ArchiveError::Foreign { name, why } => {
                (name, format!("it does not belong there: {why}"))
            }
            ArchiveError::OriginMissing { name, .. } => (
                name,
                "it is missing: nothing says where the segments begin".to_owned(),
            ),
            ArchiveError::Newer { name, format } => {
                let message = format!("it has format {format}, and this version reads format 1");
                (name, message)
            }
            ArchiveError::Store(ObjectError::NotFound(name)) => (name, "it is missing".to_owned()),
            ArchiveError::Store(error) => return Err(error.into()),
        };
        self.problem(&name, &message);
        Ok(())
    }

    fn problem(&mut self, object: &ObjectName, message: &str) {
        self.report.problems.push(Problem {
            object: object.0.clone(),
            message: message.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests;
