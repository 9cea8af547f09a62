//! Writes a segment, record by record, into memory.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion,
};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnPath;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Record;

use super::footer::Footer;
use super::{COLUMNS, metadata, schema};
use crate::names::TopicFolder;
use stitch_common::digest::DigestSum;

/// Bytes of keys and values in one row group.
const ROW_GROUP_BYTES: usize = 4 << 20;
/// Records in one row group.
const ROW_GROUP_RECORDS: usize = 32_768;
/// Bytes that a record costs in memory beside key and value, about.
const RECORD_BYTES: usize = 96;

const WRITING: &str = "writing to memory, in the order of the schema";

/// A segment that is being written.
pub struct SegmentWriter {
    partition: Partition,
    from: Offset,
    file: SerializedFileWriter<Vec<u8>>,
    row_group: RowGroup,
    sum: DigestSum,
    rows: u64,
    latest_ms: Option<i64>,
    checksums: Vec<u32>,
}

/// The records of the row group that is not written yet, by column.
#[derive(Default)]
struct RowGroup {
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    timestamp_levels: Vec<i16>,
    keys: Blobs,
    values: Blobs,
    bytes: usize,
}

/// A column of bytes with nulls, as Parquet has it: a level for each row, a value for each that is not null. Values are
/// copied one behind the other: an allocation for each would cost more than its copy.
#[derive(Default)]
struct Blobs {
    levels: Vec<i16>,
    bytes: Vec<u8>,
    /// Where each value ends.
    ends: Vec<usize>,
}

impl RowGroup {
    /// An empty one with room for as much as this has, so that the next one does not grow step by step.
    fn next(&self) -> Self {
        let rows = self.offsets.len();
        Self {
            offsets: Vec::with_capacity(rows),
            timestamps: Vec::with_capacity(rows),
            timestamp_levels: Vec::with_capacity(rows),
            keys: self.keys.next(),
            values: self.values.next(),
            bytes: 0,
        }
    }
}

impl Blobs {
    fn next(&self) -> Self {
        Self {
            levels: Vec::with_capacity(self.levels.len()),
            bytes: Vec::with_capacity(self.bytes.len()),
            ends: Vec::with_capacity(self.ends.len()),
        }
    }

    fn push(&mut self, value: Option<&[u8]>) {
        self.levels.push(i16::from(value.is_some()));
        if let Some(value) = value {
            self.bytes.extend_from_slice(value);
            self.ends.push(self.bytes.len());
        }
    }

    /// Each value, as a share of the bytes of all.
    fn values(&mut self) -> Vec<ByteArray> {
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends);
        ranges
            .map(|(start, end)| bytes.slice(start..*end).into())
            .collect()
    }
}

fn properties() -> WriterPropertiesPtr {
    let [offset, timestamp, key, value] = COLUMNS.map(ColumnPath::from);
    let zstd = ZstdLevel::try_new(3).expect("zstd has a level 3");
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("stitch ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(zstd))
        // Values are long and seldom equal: statistics and indexes of them would only be large.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false)
        .set_column_statistics_enabled(offset.clone(), EnabledStatistics::Chunk)
        .set_column_encoding(offset, Encoding::DELTA_BINARY_PACKED)
        .set_column_statistics_enabled(timestamp.clone(), EnabledStatistics::Chunk)
        .set_column_encoding(timestamp, Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(key, Encoding::PLAIN)
        .set_column_encoding(value, Encoding::PLAIN);
    Arc::new(properties.build())
}

impl SegmentWriter {
    /// A segment of `partition` that begins at `from`.
    #[must_use]
    pub fn new(partition: Partition, from: Offset) -> Self {
        let file = SerializedFileWriter::new(Vec::new(), schema(), properties());
        Self {
            partition,
            from,
            file: file.expect(WRITING),
            row_group: RowGroup::default(),
            sum: DigestSum::default(),
            rows: 0,
            latest_ms: None,
            checksums: Vec::new(),
        }
    }

    /// Where it begins.
    #[must_use]
    pub const fn from(&self) -> Offset {
        self.from
    }

    /// The number of records in it.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The bytes that it has in memory: compressed ones, and those of the last records.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.file.bytes_written() + self.row_group.bytes
    }

    /// Adds a record, which lies behind the one before.
    pub fn push(&mut self, record: &Record) {
        let value = record.value.as_deref();
        self.sum.add(self.partition, record.offset, value);
        self.rows += 1;
        self.latest_ms = self.latest_ms.max(record.timestamp_ms);
        let key = record.key.as_deref();
        let row_group = &mut self.row_group;
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        row_group.bytes += RECORD_BYTES + length(key) + length(value);
        row_group.offsets.push(record.offset.0);
        let level = i16::from(record.timestamp_ms.is_some());
        row_group.timestamp_levels.push(level);
        row_group.timestamps.extend(record.timestamp_ms);
        row_group.keys.push(key);
        row_group.values.push(value);
        let is_full = row_group.bytes >= ROW_GROUP_BYTES;
        if is_full || row_group.offsets.len() >= ROW_GROUP_RECORDS {
            self.write_row_group();
        }
    }

    fn write_row_group(&mut self) {
        let next = self.row_group.next();
        let RowGroup {
            offsets,
            timestamps,
            timestamp_levels,
            mut keys,
            mut values,
            bytes: _,
        } = std::mem::replace(&mut self.row_group, next);
        let begin = self.file.bytes_written();
        let mut row_group = self.file.next_row_group().expect(WRITING);
        write_column::<Int64Type>(&mut row_group, &offsets, None);
        write_column::<Int64Type>(&mut row_group, &timestamps, Some(&timestamp_levels));
        write_column::<ByteArrayType>(&mut row_group, &keys.values(), Some(&keys.levels));
        write_column::<ByteArrayType>(&mut row_group, &values.values(), Some(&values.levels));
        row_group.close().expect(WRITING);
        self.file.flush().expect(WRITING);
        let written = &self.file.inner()[begin..];
        self.checksums.push(crc32fast::hash(written));
    }

    /// Ends the segment at `to`. Returns its footer, and the whole file.
    #[must_use]
    pub fn finish(mut self, folder: &TopicFolder, to: Offset) -> (Footer, Vec<u8>) {
        if !self.row_group.offsets.is_empty() {
            self.write_row_group();
        }
        let footer = Footer {
            partition: self.partition,
            from: self.from,
            to,
            rows: self.rows,
            digest: self.sum.digest(),
            latest_ms: self.latest_ms,
            checksums: self.checksums,
        };
        for entry in footer.entries(folder) {
            self.file.append_key_value_metadata(entry);
        }
        self.file.append_key_value_metadata(metadata::entry());
        let mut file = self.file.into_inner().expect(WRITING);
        metadata::seal(&mut file);
        (footer, file)
    }
}

fn write_column<T: parquet::data_type::DataType>(
    row_group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) {
    let column = row_group.next_column().expect(WRITING);
    let mut column = column.expect("the schema has this column");
    let typed = column.typed::<T>();
    typed.write_batch(values, levels, None).expect(WRITING);
    column.close().expect(WRITING);
}
