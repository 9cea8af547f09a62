//! Reads grouped partial sums, as another engine has written them: files that are in scan order one after the other.

use bytes::Bytes;
use parquet::data_type::{ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use stitch_archive::parquet_part::{RowGroupDecoder, byte_range};
use stitch_common::cell::Amount;
use stitch_common::ports::{ObjectEntry, ObjectName, ObjectStore};
use stitch_common::token::Token;
use stitch_common::wait::yield_now;

use super::{COLUMNS, Rows, slot, whole};
use stitch_totals::scan_key::PackedSlot;
use stitch_totals::sorted::counter_names::{CounterNames, NameRank};
use stitch_totals::sorted::{CellTotal, SortedCells};
use stitch_totals::totals_error::TotalsError;

/// Bytes at the end of a file that are read first: its metadata is smaller, but for the longest files.
const TAIL_BYTES: u64 = 64 << 10;

/// The cells of some files, in scan order. That they are is checked, and each is there once.
pub struct GroupedCells<'a, S> {
    store: &'a S,
    names: &'a CounterNames,
    files: std::vec::IntoIter<ObjectEntry>,
    file: Option<OpenFile>,
    rows: Rows,
    at: usize,
    cell: Option<RowCell>,
    /// The last cell of the row group before.
    before: Option<(RowCell, Vec<u8>)>,
    /// By rank.
    sums: Vec<GroupedSum>,
}

/// What the cells of one counter add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupedSum {
    /// How many partial sums they are made of.
    pub partials: i64,
    /// Their sum, modulo 2^64.
    pub sum: Amount,
}

struct OpenFile {
    entry: ObjectEntry,
    metadata: ParquetMetaData,
    /// The next row group.
    next: usize,
}

#[derive(Clone, Copy)]
struct RowCell {
    token: Token,
    name: NameRank,
    slot: PackedSlot,
    total: Amount,
}

impl RowCell {
    const fn with_key<'k>(&self, key: &'k [u8]) -> CellTotal<'k> {
        CellTotal {
            token: self.token,
            name: self.name,
            key,
            slot: self.slot,
            total: self.total,
        }
    }
}

impl<'a, S: ObjectStore> GroupedCells<'a, S> {
    /// The cells of `files`, one after the other.
    pub fn new(store: &'a S, names: &'a CounterNames, files: Vec<ObjectEntry>) -> Self {
        Self {
            store,
            names,
            files: files.into_iter(),
            file: None,
            rows: Rows::default(),
            at: 0,
            cell: None,
            before: None,
            sums: vec![GroupedSum::default(); names.iter().len()],
        }
    }

    /// What the cells so far add up to, by rank.
    pub fn sums(&self) -> &[GroupedSum] {
        &self.sums
    }

    async fn open_file(&mut self) -> Result<bool, TotalsError> {
        let Some(entry) = self.files.next() else {
            return Ok(false);
        };
        let mut wanted = TAIL_BYTES.min(entry.size);
        let metadata = loop {
            let tail = self
                .store
                .get_range(&entry.name, entry.size - wanted..entry.size);
            let tail = Bytes::from(tail.await?);
            let mut reader =
                ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
            match reader.try_parse_sized(&tail, entry.size) {
                Ok(()) => break reader.finish(),
                Err(ParquetError::NeedMoreData(more)) => {
                    let more = u64::try_from(more).unwrap_or(u64::MAX).min(entry.size);
                    if more <= wanted {
                        break Err(ParquetError::EOF("its metadata is cut".to_owned()));
                    }
                    wanted = more;
                }
                Err(error) => break Err(error),
            }
        };
        let metadata = metadata.map_err(|error| damaged(&entry.name, &error))?;
        self.file = Some(OpenFile {
            entry,
            metadata,
            next: 0,
        });
        Ok(true)
    }

    /// Reads the next row group of the open file, if it has one.
    async fn read_row_group(&mut self) -> Result<bool, TotalsError> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        let name = &file.entry.name;
        let Some(row_group) = file.metadata.row_groups().get(file.next) else {
            self.file = None;
            return Ok(false);
        };
        file.next += 1;
        let range = byte_range(row_group).filter(|range| range.end <= file.entry.size);
        let impossible = || ParquetError::EOF("a row group lies beyond the end".to_owned());
        let range = range.ok_or_else(|| damaged(name, &impossible()))?;
        let from = range.start;
        let bytes = Bytes::from(self.store.get_range(name, range).await?);
        let decoder = RowGroupDecoder::new(row_group, from, bytes);
        let rows = decoder.and_then(|decoder| Rows::decode(row_group, &decoder));
        self.rows = rows.map_err(|error| damaged(name, &error))?;
        yield_now().await;
        Ok(!self.rows.tokens.is_empty())
    }

    /// Takes the row that it is at, which has to lie behind the one before.
    fn take(&mut self) -> Result<(), TotalsError> {
        let (rows, at) = (&self.rows, self.at);
        let name = std::str::from_utf8(rows.counters[at].data()).ok();
        let rank = match self.cell {
            Some(last) if name == Some(&*self.names.name(last.name).0) => Some(last.name),
            Some(_) | None => name.and_then(|name| self.names.rank(name)),
        };
        let cell = rank.zip(slot(rows.granularities[at], rows.buckets[at]));
        let Some((name, slot)) = cell else {
            return Err(self.wrong("a row is no cell of these counters"));
        };
        let cell = RowCell {
            token: Token(rows.tokens[at]),
            name,
            slot,
            total: whole(rows.los[at], rows.his[at]),
        };
        let key = rows.keys[at].data();
        let last = match (at.checked_sub(1), &self.cell, &self.before) {
            (Some(before), Some(last), _) => Some(last.with_key(rows.keys[before].data())),
            (None, _, Some((last, key))) => Some(last.with_key(key)),
            (_, _, _) => None,
        };
        let position = cell.with_key(key).position();
        if last.is_some_and(|last| last.position() >= position) {
            return Err(self.wrong("a row does not lie behind the one before"));
        }
        let sum = &mut self.sums[usize::from(name.0)];
        sum.partials = sum.partials.wrapping_add(rows.partials[at]);
        sum.sum = sum.sum.plus(cell.total);
        self.cell = Some(cell);
        Ok(())
    }

    fn wrong(&self, why: &str) -> TotalsError {
        let file = self.file.as_ref();
        TotalsError::Damaged {
            name: file.map_or_else(|| ObjectName(String::new()), |file| file.entry.name.clone()),
            why: why.to_owned(),
        }
    }
}

impl Rows {
    fn decode(
        row_group: &RowGroupMetaData,
        decoder: &RowGroupDecoder<'_>,
    ) -> Result<Self, ParquetError> {
        let columns = Columns { row_group, decoder };
        Ok(Self {
            tokens: columns.values::<Int64Type>(0)?,
            counters: columns.values::<ByteArrayType>(1)?,
            keys: columns.values::<ByteArrayType>(2)?,
            granularities: columns.values::<Int32Type>(3)?,
            buckets: columns.values::<Int64Type>(4)?,
            los: columns.values::<Int64Type>(5)?,
            his: columns.values::<Int64Type>(6)?,
            partials: columns.values::<Int64Type>(7)?,
        })
    }
}

struct Columns<'a> {
    row_group: &'a RowGroupMetaData,
    decoder: &'a RowGroupDecoder<'a>,
}

impl Columns<'_> {
    /// The values of a column. Engines make every column nullable; no value of these is null.
    fn values<T: DataType>(&self, column: usize) -> Result<Vec<T::T>, ParquetError> {
        let (name, _) = COLUMNS[column];
        let wrong = |what: &str| ParquetError::General(format!("the column {name} {what}"));
        let metadata = self.row_group.columns().get(column);
        let description = metadata.map(ColumnChunkMetaData::column_descr);
        let description = description.filter(|description| description.name() == name);
        let description = description.ok_or_else(|| wrong("is missing"))?;
        if description.max_def_level() == 0 {
            return self.decoder.required::<T>(column);
        }
        let values = self.decoder.optional::<T>(column)?;
        let values: Option<Vec<T::T>> = values.into_iter().collect();
        values.ok_or_else(|| wrong("has a null"))
    }
}

fn damaged(name: &ObjectName, error: &ParquetError) -> TotalsError {
    TotalsError::Damaged {
        name: name.clone(),
        why: error.to_string(),
    }
}

impl<S: ObjectStore> SortedCells for GroupedCells<'_, S> {
    type Error = TotalsError;

    fn current(&self) -> Option<CellTotal<'_>> {
        let cell = self.cell.as_ref()?;
        let key = self.rows.keys.get(self.at)?;
        Some(cell.with_key(key.data()))
    }

    fn step(&mut self) -> Result<bool, TotalsError> {
        if self.at + 1 >= self.rows.tokens.len() {
            return Ok(false);
        }
        self.at += 1;
        self.take()?;
        Ok(true)
    }

    async fn load(&mut self) -> Result<bool, TotalsError> {
        if let (Some(cell), Some(key)) = (self.cell, self.rows.keys.last()) {
            self.before = Some((cell, key.data().to_vec()));
        }
        self.rows = Rows::default();
        self.at = 0;
        loop {
            if self.read_row_group().await? {
                self.take()?;
                return Ok(true);
            }
            if self.file.is_none() && !self.open_file().await? {
                self.cell = None;
                return Ok(false);
            }
        }
    }
}
