//! Reads totals as a stream of cells in scan order, row group by row group.

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use stitch_archive::parquet_part::byte_range;
use stitch_common::cell::{Amount, Bucket, CellSlot, Granularity};
use stitch_common::ports::{ObjectName, ObjectStore};
use stitch_common::token::Token;
use stitch_common::wait::yield_now;

use super::row_group::{Rows, parse_metadata, tokens_of};
use super::{FOOTER, Footer};
use crate::digest::CellSum;
use crate::manifest::{FORMAT, FileEntry, Manifest};
use crate::scan_key::PackedSlot;
use crate::sorted::counter_names::{CounterNames, NameRank};
use crate::sorted::tokens::TokenSelection;
use crate::sorted::{CellTotal, SortedCells};
use crate::totals_error::TotalsError;
use crate::totals_folder::TotalsFolder;

/// Bytes at the end of a file that are read first: its metadata is smaller, but for the longest files.
const TAIL_BYTES: u64 = 64 << 10;

/// The cells of totals whose tokens are wanted. A file that is read as a whole has to have the rows and the
/// digest that its manifest says, and each row group its checksum.
pub struct TotalsReader<'a, S> {
    folder: &'a TotalsFolder<S>,
    manifest: &'a Manifest,
    names: &'a CounterNames,
    tokens: TokenSelection,
    /// The next file of the manifest.
    next_file: usize,
    file: Option<OpenFile<'a>>,
    rows: Rows,
    at: usize,
    cell: Option<RowCell>,
    /// How many row groups were read.
    row_groups_read: u64,
}

struct OpenFile<'a> {
    name: ObjectName,
    entry: &'a FileEntry,
    metadata: Box<ParquetMetaData>,
    footer: Footer,
    /// The next row group.
    next: usize,
    /// Whether all row groups so far were read.
    is_whole: bool,
    count: u64,
    sum: CellSum,
}

#[derive(Clone, Copy)]
struct RowCell {
    token: Token,
    name: NameRank,
    slot: PackedSlot,
    total: Amount,
}

impl<'a, S: ObjectStore> TotalsReader<'a, S> {
    /// The cells of `manifest` in `tokens`. `names` are those of definitions that have all its counters.
    pub fn new(
        folder: &'a TotalsFolder<S>,
        manifest: &'a Manifest,
        names: &'a CounterNames,
        tokens: impl Into<TokenSelection>,
    ) -> Self {
        Self {
            folder,
            manifest,
            names,
            tokens: tokens.into(),
            next_file: 0,
            file: None,
            rows: Rows::default(),
            at: 0,
            cell: None,
            row_groups_read: 0,
        }
    }

    /// How many row groups were read so far.
    pub const fn row_groups_read(&self) -> u64 {
        self.row_groups_read
    }

    /// Opens the next file that can have wanted tokens; `false` at the end.
    async fn open_file(&mut self) -> Result<bool, TotalsError> {
        let bits = self.manifest.subject.definitions.range_bits;
        while let Some(entry) = self.manifest.files.get(self.next_file) {
            self.next_file += 1;
            let first = bits.interval(entry.first_range).first;
            let last = bits.interval(entry.last_range).last;
            if !self.tokens.overlaps(first, last) {
                continue;
            }
            let name = self.folder.file(&self.manifest.id, entry.first_range);
            let metadata = self.metadata(&name, entry).await?;
            let footer = self.footer(&name, entry, &metadata)?;
            self.file = Some(OpenFile {
                name,
                entry,
                metadata,
                footer,
                next: 0,
                is_whole: true,
                count: 0,
                sum: CellSum::default(),
            });
            return Ok(true);
        }
        Ok(false)
    }

    async fn metadata(
        &self,
        name: &ObjectName,
        entry: &FileEntry,
    ) -> Result<Box<ParquetMetaData>, TotalsError> {
        let bytes = entry.bytes;
        let there = self.folder.store().size(name).await?;
        if there != Some(bytes) {
            let there = there.map_or("missing".to_owned(), |there| format!("{there} bytes"));
            return Err(damaged(
                name,
                &format!("it is {there}, and was put with {bytes} bytes"),
            ));
        }
        let mut wanted = TAIL_BYTES.min(bytes);
        loop {
            let of = bytes - wanted..bytes;
            let tail = self.folder.store().get_range(name, of).await?;
            // A file ends with its metadata, their length in four bytes, and four more.
            let length = tail
                .len()
                .checked_sub(8)
                .and_then(|at| tail.get(at..at + 4));
            let length = length.and_then(|length| length.try_into().ok());
            let length = u64::from(length.map_or(u32::MAX, u32::from_le_bytes)) + 8;
            if length > bytes {
                return Err(damaged(name, "its metadata is longer than the object"));
            }
            if length > wanted {
                wanted = length;
                continue;
            }
            let begin = usize::try_from(wanted - length).unwrap_or(usize::MAX);
            if crc32fast::hash(tail.get(begin..).unwrap_or_default()) != entry.metadata_checksum {
                return Err(damaged(name, "the checksum of its metadata differs"));
            }
            let metadata = parse_metadata(&Bytes::from(tail), bytes);
            return metadata.map_err(|error| broken(name, &error));
        }
    }

    fn footer(
        &self,
        name: &ObjectName,
        entry: &FileEntry,
        metadata: &ParquetMetaData,
    ) -> Result<Footer, TotalsError> {
        let values = metadata.file_metadata().key_value_metadata();
        let mut values = values.into_iter().flatten();
        let value = values.find(|value| value.key == FOOTER);
        let text = value.and_then(|value| value.value.as_deref());
        let footer: Footer = serde_json::from_str(text.unwrap_or_default())
            .map_err(|error| damaged(name, &format!("its footer: {error}")))?;
        if footer.format != FORMAT {
            return Err(TotalsError::Newer {
                name: name.clone(),
                format: footer.format,
            });
        }
        if footer.id != self.manifest.id || footer.first_range != entry.first_range {
            let why = format!(
                "it is range {} of the totals {}",
                footer.first_range, footer.id
            );
            return Err(damaged(name, &why));
        }
        if footer.checksums.len() != metadata.num_row_groups() {
            return Err(damaged(name, "it has not as many row groups as checksums"));
        }
        Ok(footer)
    }

    /// Reads the next row group of the open file that can have wanted tokens; `false` at the file's end.
    async fn read_row_group(&mut self) -> Result<bool, TotalsError> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        while let Some(row_group) = file.metadata.row_groups().get(file.next) {
            let at = file.next;
            file.next += 1;
            let (first, last) = tokens_of(row_group)
                .ok_or_else(|| damaged(&file.name, "a row group has no statistics"))?;
            if !self.tokens.overlaps(first, last) {
                file.is_whole = false;
                continue;
            }
            let range = byte_range(row_group)
                .ok_or_else(|| damaged(&file.name, "a row group has no bytes"))?;
            let from = range.start;
            let bytes = self.folder.store().get_range(&file.name, range).await?;
            if crc32fast::hash(&bytes) != file.footer.checksums[at] {
                return Err(damaged(&file.name, "the checksum of a row group differs"));
            }
            self.rows = Rows::decode(row_group, from, Bytes::from(bytes))
                .map_err(|error| broken(&file.name, &error))?;
            self.at = 0;
            self.row_groups_read += 1;
            yield_now().await;
            return Ok(true);
        }
        Ok(false)
    }

    /// Checks what was read of the file that ends here.
    fn end_file(&mut self) -> Result<(), TotalsError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let read = (file.count, file.sum.digest());
        if file.is_whole && read != (file.entry.rows, file.entry.digest) {
            let why = "its cells are not those that its manifest has";
            return Err(damaged(&file.name, why));
        }
        Ok(())
    }

    /// Moves to the first wanted cell from row `at` on; `false` if the row group has none.
    fn find_cell(&mut self) -> Result<bool, TotalsError> {
        while self.at < self.rows.len() {
            let cell = self.decode_cell()?;
            if self.tokens.contains(cell.token) {
                self.cell = Some(cell);
                return Ok(true);
            }
            self.at += 1;
        }
        self.cell = None;
        Ok(false)
    }

    fn decode_cell(&mut self) -> Result<RowCell, TotalsError> {
        let file = self.file.as_mut().expect("rows are those of a file");
        let at = self.at;
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let name = self.rows.counters[at].data();
        let rank = self
            .names
            .rank(text(name))
            .ok_or_else(|| damaged(&file.name, "it has a counter of no definition"))?;
        let granularity = Granularity::from_name(text(self.rows.granularities[at].data()))
            .ok_or_else(|| damaged(&file.name, "it has an unknown granularity"))?;
        let slot = CellSlot {
            granularity,
            bucket: Bucket(self.rows.buckets[at]),
        };
        let packed = PackedSlot::pack(slot)
            .ok_or_else(|| damaged(&file.name, "it has a bucket that no event can be in"))?;
        let total = self.rows.values[at];
        file.sum.add(name, self.rows.keys[at].data(), slot, total);
        file.count += 1;
        Ok(RowCell {
            token: Token(self.rows.tokens[at]),
            name: rank,
            slot: packed,
            total: Amount(total),
        })
    }
}

fn damaged(name: &ObjectName, why: &str) -> TotalsError {
    TotalsError::Damaged {
        name: name.clone(),
        why: why.to_owned(),
    }
}

fn broken(name: &ObjectName, error: &ParquetError) -> TotalsError {
    damaged(name, &error.to_string())
}

impl<S: ObjectStore> SortedCells for TotalsReader<'_, S> {
    type Error = TotalsError;

    fn current(&self) -> Option<CellTotal<'_>> {
        let cell = self.cell.as_ref()?;
        Some(CellTotal {
            token: cell.token,
            name: cell.name,
            key: self.rows.keys[self.at].data(),
            slot: cell.slot,
            total: cell.total,
        })
    }

    fn step(&mut self) -> Result<bool, TotalsError> {
        self.at += 1;
        self.find_cell()
    }

    async fn load(&mut self) -> Result<bool, TotalsError> {
        loop {
            while self.read_row_group().await? {
                if self.find_cell()? {
                    return Ok(true);
                }
            }
            self.cell = None;
            self.end_file()?;
            if !self.open_file().await? {
                return Ok(false);
            }
        }
    }
}
