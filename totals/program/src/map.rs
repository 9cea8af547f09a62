//! Maps one segment: adds up what its records contribute, puts that as partial sums, and accounts for it.
//!
//! It may be done any number of times, by any number of processes at once: the name of the partial sums says what they are
//! of, the same records make the same file, and where there is one its receipt is taken from it.

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use stitch_archive::ArchiveError;
use stitch_archive::reader::Archive;
use stitch_archive::segment::row_group::Columns;
use stitch_common::ports::{ObjectName, ObjectStore};
use stitch_common::user_error::UserError;
use stitch_common::wait::yield_now;

use crate::job::{FORMAT, Job, MapTask, PartialAccount, Receipt};
use crate::partial::writer::PartialWriter;
use stitch_totals::contributions::{Contributions, Tally};
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::merge::Merge;
use stitch_totals::sorted::sorter::Sorter;
use stitch_totals::sorted::spill_folder::{SpillError, SpillFolder};
use stitch_totals::totals_error::TotalsError;

/// The key of the receipt in the file's metadata.
const RECEIPT: &str = "stitch.receipt";
/// Bytes at the end of partial sums that are read first.
const TAIL_BYTES: u64 = 64 << 10;

/// Why a segment cannot be mapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Totals(#[from] TotalsError),
    /// The job was made by another version, or the task by another job.
    #[error("the task of {partial} cannot be done: {why}")]
    Unusable { partial: String, why: &'static str },
}

impl From<SpillError> for MapError {
    fn from(error: SpillError) -> Self {
        Self::Totals(error.into())
    }
}

impl From<MapError> for UserError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Archive(error) => error.into(),
            MapError::Totals(error) => error.into(),
            MapError::Unusable { .. } => Self::new(
                error,
                "let the executors run the version of Stitch that builds: `program` in [totals.spark]",
            ),
        }
    }
}

/// Memory and disk of one task.
#[derive(Clone, Debug)]
pub struct MapBounds {
    pub memory_bytes_max: usize,
    pub spill: SpillFolder,
}

/// Maps one segment of `archive`, and puts the partial sums into `store`.
///
/// # Errors
/// Nothing counts; the task may be tried again.
pub async fn map<A: ObjectStore, S: ObjectStore>(
    archive: &Archive<A>,
    store: &S,
    job: &Job,
    task: &MapTask,
    bounds: &MapBounds,
) -> Result<Receipt, MapError> {
    let unusable = |why| MapError::Unusable {
        partial: task.partial.clone(),
        why,
    };
    if job.format != FORMAT {
        return Err(unusable("the job was made by another version of Stitch"));
    }
    let definitions = job.passes.get(task.pass);
    let definitions = definitions.ok_or_else(|| unusable("it is of another job"))?;
    if definitions.decoder_version != stitch_common::definition::DECODER_VERSION {
        return Err(unusable("the job was made for another decoder"));
    }
    let name = ObjectName(task.partial.clone());
    if let Some(size) = store.size(&name).await.map_err(TotalsError::from)? {
        return Ok(receipt_of(store, &name, size).await?);
    }
    let names = CounterNames::new(definitions);
    let sorter = Sorter::new(bounds.memory_bytes_max, bounds.spill.clone());
    let mut contributions = Contributions::new(&names, sorter);
    contributions.begin(definitions);
    let opened = archive.open(task.partition, &task.segment, Columns::Values);
    let mut reader = opened.await?;
    while let Some(rows) = reader.next().await? {
        for row in rows.iter() {
            if row.offset < task.from || row.offset >= task.to {
                continue;
            }
            contributions.add(row.value);
            if contributions.is_full() {
                contributions.spill().await?;
            }
        }
        yield_now().await;
    }
    let (streams, tally) = contributions.finish().await?;
    let mut writer = PartialWriter::new(&names, &bounds.spill)?;
    let mut merge = Merge::new(streams);
    while let Some(cell) = merge.next().await? {
        writer.push(&cell, 1).await?;
    }
    let receipt = receipt(task, &names, &tally, writer.cells());
    let entry = serde_json::to_string(&receipt).expect("plain data serialises");
    writer.put(store, &name, (RECEIPT, entry)).await?;
    Ok(receipt)
}

fn receipt(task: &MapTask, names: &CounterNames, tally: &Tally, cells: &[u64]) -> Receipt {
    let accounts = names.iter().enumerate().map(|(rank, name)| {
        let account = PartialAccount {
            contributions: tally.contributions[rank],
            cells: cells[rank],
            sum: tally.sums[rank],
        };
        (name.clone(), account)
    });
    Receipt {
        partial: task.partial.clone(),
        records: tally.records,
        accounts: accounts.collect(),
    }
}

/// The receipt in partial sums that are there already.
async fn receipt_of(
    store: &impl ObjectStore,
    name: &ObjectName,
    size: u64,
) -> Result<Receipt, TotalsError> {
    let damaged = |why: String| TotalsError::Damaged {
        name: name.clone(),
        why,
    };
    let mut wanted = TAIL_BYTES.min(size);
    let metadata = loop {
        let tail = Bytes::from(store.get_range(name, size - wanted..size).await?);
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
        match reader.try_parse_sized(&tail, size) {
            Err(ParquetError::NeedMoreData(_)) if wanted < size => wanted = size,
            parsed => break parsed.and_then(|()| reader.finish()),
        }
    };
    let metadata = metadata.map_err(|error| damaged(error.to_string()))?;
    let entries = metadata.file_metadata().key_value_metadata();
    let mut entries = entries.into_iter().flatten();
    let entry = entries.find(|entry| entry.key == RECEIPT);
    let text = entry.and_then(|entry| entry.value.as_deref());
    let text = text.ok_or_else(|| damaged("it has no receipt".to_owned()))?;
    serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests;
