//! Writes the files of totals, cell by cell in scan order, and puts each into the store when it is whole.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use stitch_common::cell::Granularity;
use stitch_common::ports::ObjectStore;
use stitch_common::range::{RangeBits, RangeId};
use stitch_common::token::Token;
use stitch_common::wait::yield_now;

use super::row_group::Rows;
use super::{COLUMNS, FOOTER, Footer, schema};
use crate::digest::CellSum;
use crate::manifest::{FORMAT, FileEntry, TotalsId};
use crate::scan_key::PackedSlot;
use crate::sorted::CellTotal;
use crate::sorted::counter_names::{CounterNames, NameRank};
use crate::sorted::spill_folder::{SpillFolder, SpillReservation};
use crate::totals_error::TotalsError;
use crate::totals_folder::TotalsFolder;
use stitch_common::digest::Digest;

/// A file ends with the range in which it reaches this size.
const FILE_BYTES: u64 = 64 << 20;
/// Rows in a row group.
const ROW_GROUP_ROWS: usize = 65_536;
/// Bytes of keys in a row group, about.
const ROW_GROUP_KEY_BYTES: usize = 4 << 20;

/// The sizes at which files and row groups end.
#[derive(Clone, Copy, Debug)]
pub struct FileSizes {
    pub file_bytes: u64,
    pub row_group_rows: usize,
}

impl Default for FileSizes {
    fn default() -> Self {
        Self {
            file_bytes: FILE_BYTES,
            row_group_rows: ROW_GROUP_ROWS,
        }
    }
}

/// Writes the files of totals.
pub struct TotalsWriter<'a, S> {
    folder: &'a TotalsFolder<S>,
    id: TotalsId,
    names: &'a CounterNames,
    bits: RangeBits,
    spill: SpillFolder,
    sizes: FileSizes,
    /// By rank.
    texts: Vec<Bytes>,
    granularities: [ByteArray; Granularity::EVERY.len()],
    file: Option<OpenFile>,
    files: Vec<FileEntry>,
    /// By rank: the sum of the cells.
    sums: Vec<i64>,
    last: LastCell,
}

/// The cell that was written last.
#[derive(Debug, Default)]
struct LastCell {
    counter: Option<(Token, NameRank)>,
    key: Bytes,
    slot: Option<PackedSlot>,
}

/// The files that were put, and what their cells add up to.
#[derive(Debug)]
pub struct WrittenFiles {
    pub files: Vec<FileEntry>,
    /// By rank.
    pub sums: Vec<i64>,
}

struct OpenFile {
    first_range: RangeId,
    last_range: RangeId,
    /// It has no name, so that nothing of it is left when the process ends.
    file: File,
    reservation: SpillReservation,
    parquet: SerializedFileWriter<Checksummed<File>>,
    written: u64,
    rows: Rows,
    key_bytes: usize,
    count: u64,
    sum: CellSum,
    checksums: Vec<u32>,
}

/// Adds up the checksum of what is written.
struct Checksummed<W> {
    inner: W,
    hasher: crc32fast::Hasher,
}

impl<W: Write> Write for Checksummed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn properties() -> WriterPropertiesPtr {
    let zstd = ZstdLevel::try_new(1).expect("zstd has a level 1");
    let [token, _, _, _, _, value] = COLUMNS.map(ColumnPath::from);
    let by_token = SortingColumn {
        column_idx: 0,
        descending: false,
        nulls_first: false,
    };
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("stitch ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(zstd))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_sorting_columns(Some(vec![by_token]))
        // Cells of one counter are neighbours, and buckets are few: dictionaries. Totals are seldom equal.
        .set_dictionary_enabled(true)
        .set_column_dictionary_enabled(value, false)
        .set_column_dictionary_page_size_limit(token, 8 * ROW_GROUP_ROWS);
    Arc::new(properties.build())
}

impl<'a, S: ObjectStore> TotalsWriter<'a, S> {
    /// A writer of the totals `id`. Files are kept in `spill` until they are whole.
    pub fn new(
        folder: &'a TotalsFolder<S>,
        id: &TotalsId,
        names: &'a CounterNames,
        bits: RangeBits,
        spill: &SpillFolder,
    ) -> Self {
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Self {
            folder,
            id: id.clone(),
            names,
            bits,
            spill: spill.clone(),
            sizes: FileSizes::default(),
            texts: names.iter().map(|name| text(&name.0)).collect(),
            granularities: Granularity::EVERY.map(|granularity| text(granularity.name()).into()),
            file: None,
            files: Vec::new(),
            sums: vec![0; names.iter().len()],
            last: LastCell::default(),
        }
    }

    /// With other sizes.
    #[must_use]
    pub const fn with_sizes(mut self, sizes: FileSizes) -> Self {
        self.sizes = sizes;
        self
    }

    /// Adds a cell, which lies behind the one before.
    ///
    /// # Errors
    /// The totals are of no use.
    pub async fn push(&mut self, cell: &CellTotal<'_>) -> Result<(), TotalsError> {
        let is_same_counter = self.check_order(cell)?;
        if !is_same_counter {
            self.last.key = Bytes::copy_from_slice(cell.key);
            self.last.counter = Some((cell.token, cell.name));
            self.begin_range(self.bits.range_of(cell.token)).await?;
        }
        self.last.slot = Some(cell.slot);
        let rank = usize::from(cell.name.0);
        self.sums[rank] = self.sums[rank].wrapping_add(cell.total.0);
        let slot = cell.slot.unpack();
        let file = self.file.as_mut().expect("begin_range opens a file");
        let name = self.texts[rank].clone();
        file.sum.add(&name, cell.key, slot, cell.total.0);
        file.count += 1;
        if !is_same_counter {
            file.key_bytes += cell.key.len();
        }
        let rows = &mut file.rows;
        rows.tokens.push(cell.token.0);
        rows.counters.push(name.into());
        rows.keys.push(self.last.key.clone().into());
        let granularity = Granularity::EVERY
            .iter()
            .position(|granularity| *granularity == slot.granularity)
            .expect("every granularity is one of them");
        rows.granularities
            .push(self.granularities[granularity].clone());
        rows.buckets.push(slot.bucket.0);
        rows.values.push(cell.total.0);
        if rows.len() >= self.sizes.row_group_rows || file.key_bytes >= ROW_GROUP_KEY_BYTES {
            file.write_row_group(&self.spill)?;
            yield_now().await;
        }
        Ok(())
    }

    /// Checks that the cell lies behind the one before. Returns whether it is of the same counter.
    fn check_order(&self, cell: &CellTotal<'_>) -> Result<bool, TotalsError> {
        let (Some((token, name)), Some(slot)) = (self.last.counter, self.last.slot) else {
            return Ok(false);
        };
        let key: &[u8] = &self.last.key;
        let last = (token, name, key.len(), key, slot);
        if cell.position() <= last {
            let what = "its cells are not in scan order".to_owned();
            return Err(TotalsError::Inconsistent(what));
        }
        Ok((token, name) == (cell.token, cell.name) && key == cell.key)
    }

    async fn begin_range(&mut self, range: RangeId) -> Result<(), TotalsError> {
        if let Some(file) = &mut self.file {
            if file.last_range == range || file.written < self.sizes.file_bytes {
                file.last_range = range;
                return Ok(());
            }
            self.put_file().await?;
        }
        self.file = Some(OpenFile::new(range, &self.spill)?);
        Ok(())
    }

    async fn put_file(&mut self) -> Result<(), TotalsError> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        file.write_row_group(&self.spill)?;
        let name = self.folder.file(&self.id, file.first_range);
        let (entry, local, reservation) = file.finish(&self.id, &self.spill)?;
        // Linux opens a file without a name by its descriptor.
        let path = PathBuf::from(format!("/proc/self/fd/{}", local.as_raw_fd()));
        self.folder.store().put_file(&name, &path).await?;
        drop((local, reservation));
        self.files.push(entry);
        Ok(())
    }

    /// Puts the last file.
    ///
    /// # Errors
    /// The totals are of no use.
    pub async fn finish(mut self) -> Result<WrittenFiles, TotalsError> {
        self.put_file().await?;
        Ok(WrittenFiles {
            files: self.files,
            sums: self.sums,
        })
    }

    /// The names by whose ranks the sums are.
    pub const fn names(&self) -> &CounterNames {
        self.names
    }
}

impl OpenFile {
    fn new(range: RangeId, spill: &SpillFolder) -> Result<Self, TotalsError> {
        let file = spill.file()?;
        let inner = file.try_clone().map_err(|cause| spill.unusable(&cause))?;
        let hasher = crc32fast::Hasher::new();
        let checksummed = Checksummed { inner, hasher };
        let parquet = SerializedFileWriter::new(checksummed, schema(), properties());
        Ok(Self {
            first_range: range,
            last_range: range,
            file,
            reservation: spill.reserve(0)?,
            parquet: parquet.map_err(|error| not_written(spill, &error))?,
            written: 0,
            rows: Rows::default(),
            key_bytes: 0,
            count: 0,
            sum: CellSum::default(),
            checksums: Vec::new(),
        })
    }

    fn write_row_group(&mut self, spill: &SpillFolder) -> Result<(), TotalsError> {
        let rows = std::mem::take(&mut self.rows);
        self.key_bytes = 0;
        if rows.len() == 0 {
            return Ok(());
        }
        // What precedes the row group is not of it.
        self.flushed(spill)?;
        let row_group = self.parquet.next_row_group();
        let row_group = row_group.map_err(|error| not_written(spill, &error))?;
        rows.write(row_group)
            .map_err(|error| not_written(spill, &error))?;
        let checksum = self.flushed(spill)?;
        self.checksums.push(checksum);
        let written = self.parquet.bytes_written() as u64;
        self.reservation.grow(written - self.written)?;
        self.written = written;
        Ok(())
    }

    /// Writes out what is buffered. Returns the checksum of what was written since the last time.
    fn flushed(&mut self, spill: &SpillFolder) -> Result<u32, TotalsError> {
        self.parquet
            .flush()
            .map_err(|cause| spill.unusable(&cause))?;
        let hasher = &mut self.parquet.inner_mut().hasher;
        Ok(std::mem::take(hasher).finalize())
    }

    fn finish(
        mut self,
        id: &TotalsId,
        spill: &SpillFolder,
    ) -> Result<(FileEntry, File, SpillReservation), TotalsError> {
        let footer = Footer {
            format: FORMAT,
            id: id.clone(),
            first_range: self.first_range,
            checksums: self.checksums,
        };
        let footer = serde_json::to_string(&footer).expect("plain data serialises");
        let entry = KeyValue::new(FOOTER.to_owned(), footer);
        self.parquet.append_key_value_metadata(entry);
        let file = self.parquet.into_inner();
        let written = file.map_err(|error| not_written(spill, &error))?;
        let metadata_checksum = written.hasher.finalize();
        let metadata = self.file.metadata();
        let bytes = metadata.map_err(|cause| spill.unusable(&cause))?.len();
        self.reservation.grow(bytes.saturating_sub(self.written))?;
        let entry = FileEntry {
            first_range: self.first_range,
            last_range: self.last_range,
            rows: self.count,
            bytes,
            digest: self.sum.digest(),
            metadata_checksum,
        };
        Ok((entry, self.file, self.reservation))
    }
}

/// The errors of the format itself cannot happen; those of the file come in its clothes.
fn not_written(spill: &SpillFolder, error: &ParquetError) -> TotalsError {
    spill.unusable(&io::Error::other(error.to_string())).into()
}

impl WrittenFiles {
    /// The number of cells.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// The digest of all cells.
    pub fn digest(&self) -> Digest {
        let digests = self.files.iter().map(|file| file.digest);
        digests.fold(Digest::default(), Digest::plus)
    }
}
