//! Reads one row group of a file.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use stitch_common::offset::Offset;
use stitch_common::ports::Record;

/// The records of one row group, in the order of offsets. The bytes of keys and values are shared, not copied.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    offsets: Vec<i64>,
    timestamps: Vec<Option<i64>>,
    keys: Vec<Option<ByteArray>>,
    values: Vec<Option<ByteArray>>,
}

/// The columns to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Offsets and values: all that counting needs.
    Values,
    /// Every column.
    All,
}

/// A record of [`Rows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Position in the partition.
    pub offset: Offset,
    /// Milliseconds since 1970; `None` with [`Columns::Values`].
    pub timestamp_ms: Option<i64>,
    /// The key, byte for byte; `None` with [`Columns::Values`].
    pub key: Option<&'a [u8]>,
    /// The value, byte for byte.
    pub value: Option<&'a [u8]>,
}

impl Rows {
    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The last record.
    #[must_use]
    pub fn last(&self) -> Option<Row<'_>> {
        self.iter().last()
    }

    /// The records.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.offsets.len()).map(|at| Row {
            offset: Offset(self.offsets[at]),
            timestamp_ms: self.timestamps.get(at).copied().flatten(),
            key: self
                .keys
                .get(at)
                .and_then(|key| key.as_ref())
                .map(ByteArray::data),
            value: self.values[at].as_ref().map(ByteArray::data),
        })
    }

    /// The records as the port to Kafka has them.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.iter().map(|row| Record {
            offset: row.offset,
            timestamp_ms: row.timestamp_ms,
            key: row.key.map(Arc::from),
            value: row.value.map(Arc::from),
        })
    }
}

/// The bytes of the file that hold this row group; `None` if what its metadata says is impossible. It is never
/// asked in a way that panics.
pub(crate) fn byte_range(row_group: &RowGroupMetaData) -> Option<Range<u64>> {
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

/// Decodes a row group from `bytes`, which begin at `from` in the file.
pub(crate) fn decode(
    metadata: &RowGroupMetaData,
    from: u64,
    bytes: Vec<u8>,
    columns: Columns,
) -> Result<Rows, ParquetError> {
    let fetched = Arc::new(Fetched {
        from,
        bytes: Bytes::from(bytes),
    });
    let rows = usize::try_from(metadata.num_rows())?;
    let columns_of = Decoder {
        metadata,
        fetched,
        rows,
    };
    let mut decoded = Rows {
        offsets: columns_of.required::<Int64Type>(0)?,
        values: columns_of.optional::<ByteArrayType>(3)?,
        ..Rows::default()
    };
    if columns == Columns::All {
        decoded.timestamps = columns_of.optional::<Int64Type>(1)?;
        decoded.keys = columns_of.optional::<ByteArrayType>(2)?;
    }
    Ok(decoded)
}

/// Decodes the columns of a row group.
struct Decoder<'a> {
    metadata: &'a RowGroupMetaData,
    fetched: Arc<Fetched>,
    rows: usize,
}

impl Decoder<'_> {
    fn reader<T: DataType>(&self, column: usize) -> Result<ColumnReaderImpl<T>, ParquetError> {
        let metadata = match self.metadata.columns().get(column) {
            Some(metadata) if metadata.column_type() == T::get_physical_type() => metadata,
            Some(_) | None => {
                let what = format!("column {column} is missing, or has another type");
                return Err(ParquetError::General(what));
            }
        };
        let fetched = Arc::clone(&self.fetched);
        let pages = SerializedPageReader::new(fetched, metadata, self.rows, None)?;
        let column = metadata.column_descr_ptr();
        Ok(ColumnReaderImpl::new(column, Box::new(pages)))
    }

    fn required<T: DataType>(&self, column: usize) -> Result<Vec<T::T>, ParquetError> {
        let mut values = Vec::with_capacity(self.rows);
        let mut reader = self.reader::<T>(column)?;
        reader.read_records(self.rows, None, None, &mut values)?;
        if values.len() == self.rows {
            Ok(values)
        } else {
            Err(short(column))
        }
    }

    fn optional<T: DataType>(&self, column: usize) -> Result<Vec<Option<T::T>>, ParquetError> {
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
struct Fetched {
    from: u64,
    bytes: Bytes,
}

impl Fetched {
    fn at(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start.checked_sub(self.from);
        let at = at.and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| *at <= self.bytes.len()) {
            Some(at) => Ok(self.bytes.slice(at..)),
            None => Err(ParquetError::EOF(format!("there is no byte {start}"))),
        }
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }
}

impl ChunkReader for Fetched {
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
