//! Reads the archive of a topic.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use futures_util::{StreamExt, TryStreamExt, stream};
use parquet::file::metadata::ParquetMetaData;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Fingerprint, ObjectError, ObjectName, ObjectStore, Record};

use crate::chain::{Chain, INDEX_SEGMENTS, Segment, read_index};
use crate::error::ArchiveError;
use crate::names::TopicFolder;
use crate::origin;
use crate::parquet_part::byte_range;
use crate::segment::footer::Footer;
use crate::segment::metadata;
use crate::segment::row_group::{Columns, Rows, decode};
use stitch_common::digest::DigestSum;

/// Bytes at the end of a segment that are read first: its metadata is smaller, but for the longest segments.
const TAIL_BYTES: u64 = 64 << 10;

/// Of how many chains the last records are read at once.
const CHAINS_AT_ONCE: usize = 8;

/// The archive of one topic.
#[derive(Clone, Debug)]
pub struct Archive<S> {
    store: S,
    folder: TopicFolder,
}

impl<S: ObjectStore> Archive<S> {
    /// The archive of `topic` of the cluster with this id. Reads nothing yet.
    pub fn new(store: S, cluster: &str, topic: &str) -> Self {
        Self {
            store,
            folder: TopicFolder::new(cluster, topic),
        }
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The names of its objects.
    pub const fn folder(&self) -> &TopicFolder {
        &self.folder
    }

    /// The chain of a partition, from its origin on, as far as it is complete now.
    ///
    /// # Errors
    /// The store, or an object that is no part of this chain.
    pub async fn chain(&self, partition: Partition) -> Result<Chain, ArchiveError> {
        let origin = origin::known(&self.store, &self.folder, partition).await?;
        let mut chain = Chain {
            partition,
            origin,
            segments: Vec::new(),
        };
        self.follow(&mut chain).await?;
        Ok(chain)
    }

    /// Adds the segments that have been put behind the end of `chain`.
    ///
    /// # Errors
    /// As [`Archive::chain`]; what was found before the error is added.
    pub async fn follow(&self, chain: &mut Chain) -> Result<(), ArchiveError> {
        while let Some(position) = chain.complete_to() {
            if chain.segments.len().is_multiple_of(INDEX_SEGMENTS) {
                let (store, folder) = (&self.store, &self.folder);
                // Damaged segments are deleted, with all that follow, and put again; their index stays.
                if let Some(indexed) = read_index(store, folder, chain.partition, position).await?
                    && let Some(last) = indexed.last()
                    && store
                        .size(&folder.segment(chain.partition, last.from))
                        .await?
                        == Some(last.bytes)
                {
                    chain.segments.extend(indexed);
                    continue;
                }
            }
            let Some(segment) = self.segment(chain.partition, position).await? else {
                break;
            };
            chain.segments.push(segment);
        }
        Ok(())
    }

    /// The segment of `partition` that begins at `from`; `None` if there is none.
    ///
    /// # Errors
    /// The store, or an object that is no segment, or another one.
    pub async fn segment(
        &self,
        partition: Partition,
        from: Offset,
    ) -> Result<Option<Segment>, ArchiveError> {
        let name = self.folder.segment(partition, from);
        let Some(bytes) = self.store.size(&name).await? else {
            return Ok(None);
        };
        let metadata = self.metadata(&name, bytes).await?;
        let footer = self.footer(&name, partition, from, &metadata)?;
        Ok(Some(Segment::new(&footer, bytes)))
    }

    fn footer(
        &self,
        name: &ObjectName,
        partition: Partition,
        from: Offset,
        metadata: &ParquetMetaData,
    ) -> Result<Footer, ArchiveError> {
        let file = metadata.file_metadata();
        let footer = Footer::read(name, &self.folder, partition, from, file)?;
        if footer.checksums.len() == metadata.num_row_groups() {
            Ok(footer)
        } else {
            Err(damaged(name, "it has not as many row groups as checksums"))
        }
    }

    async fn metadata(
        &self,
        name: &ObjectName,
        bytes: u64,
    ) -> Result<ParquetMetaData, ArchiveError> {
        let mut wanted = TAIL_BYTES.min(bytes);
        loop {
            let tail = self.store.get_range(name, bytes - wanted..bytes).await?;
            match metadata::parse(&tail, bytes).map_err(|error| damaged(name, &error))? {
                ControlFlow::Break(metadata) => return Ok(metadata),
                ControlFlow::Continue(more) if more > wanted && more <= bytes => wanted = more,
                ControlFlow::Continue(_) => {
                    return Err(damaged(name, "its metadata is longer than the object"));
                }
            }
        }
    }

    /// The last record below each of these positions, in the chain that it is asked of. A few chains are read at once.
    ///
    /// # Errors
    /// As [`Archive::open`], and of a row group that is damaged.
    pub async fn last_records_below(
        &self,
        positions: impl IntoIterator<Item = (&Chain, Offset)>,
    ) -> Result<BTreeMap<Partition, Fingerprint>, ArchiveError> {
        let read = positions.into_iter().map(async |(chain, position)| {
            let last = self.last_record_below(chain, position).await?;
            Ok(last.map(|record| (chain.partition, Fingerprint::of(&record))))
        });
        let read = stream::iter(read).buffer_unordered(CHAINS_AT_ONCE);
        read.try_filter_map(async |last| Ok(last))
            .try_collect()
            .await
    }

    async fn last_record_below(
        &self,
        chain: &Chain,
        position: Offset,
    ) -> Result<Option<Record>, ArchiveError> {
        let mut below = chain.segments.iter().rev();
        while let Some(segment) = below.find(|segment| segment.rows > 0 && segment.from < position)
        {
            let reader = self.open(chain.partition, segment, Columns::All).await?;
            if let Some(last) = reader.last_below(position).await? {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// Opens a segment of `partition` to read it row group by row group.
    ///
    /// # Errors
    /// The store, or an object that is not what `segment` says.
    pub async fn open(
        &self,
        partition: Partition,
        segment: &Segment,
        columns: Columns,
    ) -> Result<SegmentReader<'_, S>, ArchiveError> {
        let name = self.folder.segment(partition, segment.from);
        let Some(bytes) = self.store.size(&name).await? else {
            return Err(ObjectError::NotFound(name).into());
        };
        let metadata = self.metadata(&name, bytes).await?;
        let footer = self.footer(&name, partition, segment.from, &metadata)?;
        if Segment::new(&footer, bytes) != *segment {
            return Err(damaged(
                &name,
                "its footer differs from what was known of it",
            ));
        }
        Ok(SegmentReader {
            store: &self.store,
            name,
            bytes,
            next_position: footer.from,
            footer,
            metadata,
            columns,
            next: 0,
            sum: DigestSum::default(),
        })
    }
}

fn damaged(name: &ObjectName, why: &(impl ToString + ?Sized)) -> ArchiveError {
    ArchiveError::Damaged {
        name: name.clone(),
        why: why.to_string(),
    }
}

/// Reads a segment, one row group at a time.
pub struct SegmentReader<'a, S> {
    store: &'a S,
    name: ObjectName,
    /// The size of the object.
    bytes: u64,
    footer: Footer,
    metadata: ParquetMetaData,
    columns: Columns,
    /// The next row group.
    next: usize,
    /// No record at or above it has been read.
    next_position: Offset,
    sum: DigestSum,
}

impl<S: ObjectStore> SegmentReader<'_, S> {
    /// The next records, in the order of offsets; `None` at the end, when they are all there: the number of records and
    /// their digest are what the footer says.
    ///
    /// # Errors
    /// The store, or the segment is damaged: then no record of it may be used. After a cancelled or failed call the same
    /// records are read again.
    pub async fn next(&mut self) -> Result<Option<Rows>, ArchiveError> {
        if self.next == self.metadata.num_row_groups() {
            return self.end().map(|()| None);
        }
        let rows = self.row_group(self.next).await?;
        for row in rows.iter() {
            if row.offset < self.next_position || row.offset >= self.footer.to {
                return Err(
                    self.damaged("its records are not in order, or outside of its interval")
                );
            }
            self.next_position = row.offset.next();
            self.sum.add(self.footer.partition, row.offset, row.value);
        }
        self.next += 1;
        Ok(Some(rows))
    }

    /// The last record below `position`, if there is one. Row groups are read from the last one on, each by its checksum.
    async fn last_below(&self, position: Offset) -> Result<Option<Record>, ArchiveError> {
        for number in (0..self.metadata.num_row_groups()).rev() {
            let rows = self.row_group(number).await?;
            let below = rows.records().filter(|record| record.offset < position);
            if let Some(last) = below.last() {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    async fn row_group(&self, number: usize) -> Result<Rows, ArchiveError> {
        let row_group = self.metadata.row_group(number);
        let range = byte_range(row_group).filter(|range| range.end <= self.bytes);
        let Some(range) = range else {
            return Err(self.damaged("a row group has no bytes, or lies beyond the end"));
        };
        let from = range.start;
        let bytes = self.store.get_range(&self.name, range).await?;
        if crc32fast::hash(&bytes) != self.footer.checksums[number] {
            return Err(self.damaged("the checksum of a row group differs"));
        }
        decode(row_group, from, bytes, self.columns).map_err(|error| damaged(&self.name, &error))
    }

    fn end(&self) -> Result<(), ArchiveError> {
        if self.sum.digest() == self.footer.digest {
            Ok(())
        } else {
            Err(self.damaged("the digest of its records is not that of its footer"))
        }
    }

    fn damaged(&self, why: &str) -> ArchiveError {
        ArchiveError::Damaged {
            name: self.name.clone(),
            why: why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
