//! Reads a part of a Parquet file that is in memory: one row group, column by column.
//!
//! Segments and totals are read so: a row group's bytes are fetched, their checksum is compared, and only then a decoder
//! sees them.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

/// The bytes of the file that hold this row group; `None` if what its metadata says is impossible. It is never
/// asked in a way that panics.
#[must_use]
pub fn byte_range(row_group: &RowGroupMetaData) -> Option<Range<u64>> {
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

/// Decodes the columns of a row group.
pub struct RowGroupDecoder<'a> {
    metadata: &'a RowGroupMetaData,
    part: Arc<Part>,
    rows: usize,
}

impl<'a> RowGroupDecoder<'a> {
    /// A decoder of the row group in `bytes`, which begin at `from` in the file.
    ///
    /// # Errors
    /// The metadata has an impossible number of rows.
    pub fn new(
        metadata: &'a RowGroupMetaData,
        from: u64,
        bytes: Bytes,
    ) -> Result<Self, ParquetError> {
        Ok(Self {
            metadata,
            part: Arc::new(Part { from, bytes }),
            rows: usize::try_from(metadata.num_rows())?,
        })
    }

    fn reader<T: DataType>(&self, column: usize) -> Result<ColumnReaderImpl<T>, ParquetError> {
        let metadata = match self.metadata.columns().get(column) {
            Some(metadata) if metadata.column_type() == T::get_physical_type() => metadata,
            Some(_) | None => {
                let what = format!("column {column} is missing, or has another type");
                return Err(ParquetError::General(what));
            }
        };
        let part = Arc::clone(&self.part);
        let pages = SerializedPageReader::new(part, metadata, self.rows, None)?;
        let column = metadata.column_descr_ptr();
        Ok(ColumnReaderImpl::new(column, Box::new(pages)))
    }

    /// The values of a column without nulls.
    ///
    /// # Errors
    /// The column is missing, has another type, fewer rows than the row group, or cannot be decoded.
    pub fn required<T: DataType>(&self, column: usize) -> Result<Vec<T::T>, ParquetError> {
        let mut values = Vec::with_capacity(self.rows);
        let mut reader = self.reader::<T>(column)?;
        reader.read_records(self.rows, None, None, &mut values)?;
        if values.len() == self.rows {
            Ok(values)
        } else {
            Err(short(column))
        }
    }

    /// The values of a column with nulls.
    ///
    /// # Errors
    /// The column is missing, has another type, fewer rows than the row group, or cannot be decoded.
    pub fn optional<T: DataType>(&self, column: usize) -> Result<Vec<Option<T::T>>, ParquetError> {
        let mut levels = Vec::with_capacity(self.rows);
        let mut values = Vec::with_capacity(self.rows);
        let mut reader = self.reader::<T>(column)?;
        reader.read_records(self.rows, Some(&mut levels), None, &mut values)?;
        spread(column, self.rows, &levels, values)
    }
}

fn short(column: usize) -> ParquetError {
    ParquetError::General(format!("column {column} has fewer rows than the others"))
}

/// Puts the nulls between the values.
fn spread<T>(
    column: usize,
    rows: usize,
    levels: &[i16],
    values: Vec<T>,
) -> Result<Vec<Option<T>>, ParquetError> {
    let present = levels.iter().filter(|level| **level == 1).count();
    if levels.len() != rows || present != values.len() {
        return Err(short(column));
    }
    let mut values = values.into_iter();
    let row = |level: &i16| if *level == 1 { values.next() } else { None };
    Ok(levels.iter().map(row).collect())
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
            return Err(ParquetError::EOF(format!(
                "there are no {length} bytes at {start}"
            )));
        }
        Ok(bytes.slice(..length))
    }
}
