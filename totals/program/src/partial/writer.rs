//! Writes partial sums, cell by cell in scan order, to a file without a name, and puts it into the store when it is whole.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use stitch_common::ports::{ObjectName, ObjectStore};
use stitch_common::wait::yield_now;

use super::{Rows, halves, numbers, schema};
use stitch_totals::sorted::CellTotal;
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::spill_folder::{SpillError, SpillFolder, SpillReservation};
use stitch_totals::totals_error::TotalsError;

/// Rows in a row group.
const ROW_GROUP_ROWS: usize = 65_536;

/// Writes the partial sums of one segment.
pub struct PartialWriter<'a> {
    names: &'a CounterNames,
    spill: SpillFolder,
    file: File,
    reservation: SpillReservation,
    parquet: SerializedFileWriter<File>,
    texts: Vec<Bytes>,
    rows: Rows,
    /// By rank: the number of cells.
    cells: Vec<u64>,
}

impl<'a> PartialWriter<'a> {
    /// A writer that keeps the file in `spill` until it is whole.
    ///
    /// # Errors
    /// The folder's.
    pub fn new(names: &'a CounterNames, spill: &SpillFolder) -> Result<Self, SpillError> {
        let zstd = ZstdLevel::try_new(1).expect("zstd has a level 1");
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by(concat!("stitch ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(zstd))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true);
        let file = spill.file()?;
        let inner = file.try_clone().map_err(|cause| spill.unusable(&cause))?;
        let parquet = SerializedFileWriter::new(inner, schema(), Arc::new(properties.build()));
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Ok(Self {
            names,
            file,
            reservation: spill.reserve(0)?,
            parquet: parquet.map_err(|error| not_written(spill, &error))?,
            spill: spill.clone(),
            texts: names.iter().map(|name| text(&name.0)).collect(),
            rows: Rows::default(),
            cells: vec![0; names.iter().len()],
        })
    }

    /// Adds a cell, which lies behind the one before. It is made of so many `partials`: 1, unless they were grouped.
    ///
    /// # Errors
    /// The folder's. The writer is of no use then.
    pub async fn push(&mut self, cell: &CellTotal<'_>, partials: i64) -> Result<(), SpillError> {
        let rank = usize::from(cell.name.0);
        let (granularity, bucket_ms) = numbers(cell.slot);
        let (lo, hi) = halves(cell.total);
        let rows = &mut self.rows;
        rows.tokens.push(cell.token.0);
        rows.counters.push(self.texts[rank].clone().into());
        rows.keys.push(ByteArray::from(cell.key.to_vec()));
        rows.granularities.push(granularity);
        rows.buckets.push(bucket_ms);
        rows.los.push(lo);
        rows.his.push(hi);
        rows.partials.push(partials);
        self.cells[rank] += 1;
        if self.rows.tokens.len() >= ROW_GROUP_ROWS {
            self.write_row_group()?;
            yield_now().await;
        }
        Ok(())
    }

    fn write_row_group(&mut self) -> Result<(), SpillError> {
        let rows = std::mem::take(&mut self.rows);
        if rows.tokens.is_empty() {
            return Ok(());
        }
        let before = self.parquet.bytes_written();
        let written = self.parquet.next_row_group();
        let written = written.and_then(|row_group| rows.write(row_group));
        written.map_err(|error| not_written(&self.spill, &error))?;
        let grown = self.parquet.bytes_written() - before;
        self.reservation.grow(grown as u64)
    }

    /// The number of cells so far, by rank.
    pub fn cells(&self) -> &[u64] {
        &self.cells
    }

    /// Puts the file as `name`, with this entry in its metadata.
    ///
    /// # Errors
    /// The folder's, or the store's. May be repeated: the same cells make the same file.
    pub async fn put(
        mut self,
        store: &impl ObjectStore,
        name: &ObjectName,
        entry: (&str, String),
    ) -> Result<(), TotalsError> {
        self.write_row_group()?;
        let (key, value) = entry;
        let entry = KeyValue::new(key.to_owned(), value);
        self.parquet.append_key_value_metadata(entry);
        let written = self.parquet.close();
        written.map_err(|error| not_written(&self.spill, &error))?;
        // Linux opens a file without a name by its descriptor.
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        store.put_file(name, &path).await?;
        Ok(())
    }

    /// The names by whose ranks the cells are counted.
    pub const fn names(&self) -> &CounterNames {
        self.names
    }
}

impl Rows {
    fn write(&self, mut row_group: SerializedRowGroupWriter<'_, File>) -> Result<(), ParquetError> {
        write_column::<Int64Type>(&mut row_group, &self.tokens)?;
        write_column::<ByteArrayType>(&mut row_group, &self.counters)?;
        write_column::<ByteArrayType>(&mut row_group, &self.keys)?;
        write_column::<Int32Type>(&mut row_group, &self.granularities)?;
        write_column::<Int64Type>(&mut row_group, &self.buckets)?;
        write_column::<Int64Type>(&mut row_group, &self.los)?;
        write_column::<Int64Type>(&mut row_group, &self.his)?;
        write_column::<Int64Type>(&mut row_group, &self.partials)?;
        row_group.close()?;
        Ok(())
    }
}

fn write_column<T: DataType>(
    row_group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let column = row_group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("too few columns".to_owned()))?;
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

/// The errors of the format itself cannot happen; those of the file come in its clothes.
fn not_written(spill: &SpillFolder, error: &ParquetError) -> SpillError {
    spill.unusable(&io::Error::other(error.to_string()))
}
