//! Reads one row group of a file.

use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use stitch_common::offset::Offset;
use stitch_common::ports::Record;

use crate::parquet_part::RowGroupDecoder;

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

/// Decodes a row group from `bytes`, which begin at `from` in the file.
pub(crate) fn decode(
    metadata: &RowGroupMetaData,
    from: u64,
    bytes: Vec<u8>,
    columns: Columns,
) -> Result<Rows, ParquetError> {
    let decoder = RowGroupDecoder::new(metadata, from, bytes.into())?;
    let mut decoded = Rows {
        offsets: decoder.required::<Int64Type>(0)?,
        values: decoder.optional::<ByteArrayType>(3)?,
        ..Rows::default()
    };
    if columns == Columns::All {
        decoded.timestamps = decoder.optional::<Int64Type>(1)?;
        decoded.keys = decoder.optional::<ByteArrayType>(2)?;
    }
    Ok(decoded)
}
