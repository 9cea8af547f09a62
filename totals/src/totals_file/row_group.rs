//! One row group: its columns in memory, and back from their bytes.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::RowGroupPageIndex;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader, Length, RowGroupReader};
use parquet::file::serialized_reader::SerializedRowGroupReader;
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedRowGroupWriter;
use stitch_common::token::Token;

/// The rows of a row group, by column.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) tokens: Vec<i64>,
    pub(super) counters: Vec<ByteArray>,
    pub(super) keys: Vec<ByteArray>,
    pub(super) granularities: Vec<ByteArray>,
    pub(super) buckets: Vec<i64>,
    pub(super) values: Vec<i64>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Writes them as the next row group.
    pub(super) fn write<W: std::io::Write + Send>(
        &self,
        mut row_group: SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        write_column::<Int64Type, W>(&mut row_group, &self.tokens)?;
        write_column::<ByteArrayType, W>(&mut row_group, &self.counters)?;
        write_column::<ByteArrayType, W>(&mut row_group, &self.keys)?;
        write_column::<ByteArrayType, W>(&mut row_group, &self.granularities)?;
        write_column::<Int64Type, W>(&mut row_group, &self.buckets)?;
        write_column::<Int64Type, W>(&mut row_group, &self.values)?;
        row_group.close()?;
        Ok(())
    }

    /// Decodes a row group from `bytes`, which begin at `from` in the file.
    pub(super) fn decode(
        metadata: &RowGroupMetaData,
        from: u64,
        bytes: Bytes,
    ) -> Result<Self, ParquetError> {
        let part = Arc::new(Part { from, bytes });
        let properties = Arc::new(ReaderProperties::builder().build());
        let no_index = RowGroupPageIndex::new(0, None);
        let reader = SerializedRowGroupReader::new(part, metadata, no_index, properties)?;
        let rows = usize::try_from(metadata.num_rows())?;
        Ok(Self {
            tokens: numbers(&reader, 0, rows)?,
            counters: texts(&reader, 1, rows)?,
            keys: texts(&reader, 2, rows)?,
            granularities: texts(&reader, 3, rows)?,
            buckets: numbers(&reader, 4, rows)?,
            values: numbers(&reader, 5, rows)?,
        })
    }
}

fn write_column<T: DataType, W: std::io::Write + Send>(
    row_group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let column = row_group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("too few columns".to_owned()))?;
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

fn other_type(column: usize) -> ParquetError {
    ParquetError::General(format!("column {column} has another type"))
}

fn all<T>(column: usize, rows: usize, values: Vec<T>) -> Result<Vec<T>, ParquetError> {
    if values.len() == rows {
        return Ok(values);
    }
    let why = format!("column {column} has fewer rows than the others");
    Err(ParquetError::General(why))
}

fn numbers(
    reader: &dyn RowGroupReader,
    column: usize,
    rows: usize,
) -> Result<Vec<i64>, ParquetError> {
    let ColumnReader::Int64ColumnReader(mut values) = reader.get_column_reader(column)? else {
        return Err(other_type(column));
    };
    let mut numbers = Vec::with_capacity(rows);
    values.read_records(rows, None, None, &mut numbers)?;
    all(column, rows, numbers)
}

fn texts(
    reader: &dyn RowGroupReader,
    column: usize,
    rows: usize,
) -> Result<Vec<ByteArray>, ParquetError> {
    let ColumnReader::ByteArrayColumnReader(mut values) = reader.get_column_reader(column)? else {
        return Err(other_type(column));
    };
    let mut texts = Vec::with_capacity(rows);
    values.read_records(rows, None, None, &mut texts)?;
    all(column, rows, texts)
}

/// Parses the metadata in `tail`, the last bytes of a file of `size` bytes, which has all of it.
pub(super) fn parse_metadata(
    tail: &Bytes,
    size: u64,
) -> Result<Box<ParquetMetaData>, ParquetError> {
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
    reader.try_parse_sized(tail, size)?;
    Ok(Box::new(reader.finish()?))
}

/// The bytes of the file that hold this row group; `None` if what its metadata says is impossible. The metadata is
/// not asked in a way that panics.
pub(super) fn byte_range(row_group: &RowGroupMetaData) -> Option<Range<u64>> {
    let (mut from, mut to) = (u64::MAX, 0);
    for column in row_group.columns() {
        let start = column
            .dictionary_page_offset()
            .unwrap_or_else(|| column.data_page_offset());
        let start = u64::try_from(start).ok()?;
        let length = u64::try_from(column.compressed_size()).ok()?;
        from = from.min(start);
        to = to.max(start.checked_add(length)?);
    }
    (from < to).then_some(from..to)
}

/// The first and the last token of a row group.
pub(super) fn tokens_of(row_group: &RowGroupMetaData) -> Option<(Token, Token)> {
    let Statistics::Int64(tokens) = row_group.columns().first()?.statistics()? else {
        return None;
    };
    Some((Token(*tokens.min_opt()?), Token(*tokens.max_opt()?)))
}

/// A part of a file, at its place.
struct Part {
    from: u64,
    bytes: Bytes,
}

impl Part {
    fn at(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start.checked_sub(self.from);
        let at = at.and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| *at <= self.bytes.len()) {
            Some(at) => Ok(self.bytes.slice(at..)),
            None => Err(ParquetError::EOF(format!("there is no byte {start}"))),
        }
    }
}

impl Length for Part {
    fn len(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }
}

impl ChunkReader for Part {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.at(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.at(start)?;
        if length > bytes.len() {
            let why = format!("there are no {length} bytes at {start}");
            return Err(ParquetError::EOF(why));
        }
        Ok(bytes.slice(..length))
    }
}
