//! One row group: its columns in memory, and back from their bytes.

use bytes::Bytes;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedRowGroupWriter;
use stitch_archive::parquet_part::RowGroupDecoder;
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
        let decoder = RowGroupDecoder::new(metadata, from, bytes)?;
        Ok(Self {
            tokens: decoder.required::<Int64Type>(0)?,
            counters: decoder.required::<ByteArrayType>(1)?,
            keys: decoder.required::<ByteArrayType>(2)?,
            granularities: decoder.required::<ByteArrayType>(3)?,
            buckets: decoder.required::<Int64Type>(4)?,
            values: decoder.required::<Int64Type>(5)?,
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

/// Parses the metadata in `tail`, the last bytes of a file of `size` bytes, which has all of it.
pub(super) fn parse_metadata(
    tail: &Bytes,
    size: u64,
) -> Result<Box<ParquetMetaData>, ParquetError> {
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
    reader.try_parse_sized(tail, size)?;
    Ok(Box::new(reader.finish()?))
}

/// The first and the last token of a row group.
pub(super) fn tokens_of(row_group: &RowGroupMetaData) -> Option<(Token, Token)> {
    let Statistics::Int64(tokens) = row_group.columns().first()?.statistics()? else {
        return None;
    };
    Some((Token(*tokens.min_opt()?), Token(*tokens.max_opt()?)))
}
