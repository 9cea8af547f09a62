//! A seal says which offsets the records of a file have. It is put once the file was compared with the log, value by value,
//! and it names the file by its digest: so it is true for ever, whatever Kafka deletes.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{EventLog, ObjectError, ObjectStore, Put};

use super::lines::LineReader;
use super::log_reader::LogReader;
use super::{ConnectError, ConnectFile};
use crate::error::ArchiveError;
use crate::names::TopicFolder;
use crate::origin::{FORMAT, decode_json};
use stitch_common::digest::{Digest, DigestSum};

/// The offsets of the records of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    format: u32,
    cluster: String,
    topic: String,
    partition: Partition,
    /// The file's name.
    file: String,
    bytes: u64,
    /// There is no record between this position and the file's first record.
    pub from: Offset,
    /// Behind the last record.
    pub to: Offset,
    pub rows: u64,
    /// The offsets of the records, in order.
    runs: Vec<OffsetRun>,
    /// The sum of the records' hashes.
    pub digest: Digest,
}

/// Offsets without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OffsetRun {
    first: Offset,
    count: i64,
}

impl Seal {
    /// The offsets of the records, in order.
    pub fn offsets(&self) -> impl Iterator<Item = Offset> + '_ {
        let run = |run: &OffsetRun| Range {
            start: run.first.0,
            end: run.first.0 + run.count,
        };
        self.runs.iter().flat_map(run).map(Offset)
    }
}

/// Reads the seal of `file`; `None` if it has none.
///
/// # Errors
/// The store, or the seal is of another file of this name.
pub async fn read(
    store: &impl ObjectStore,
    folder: &TopicFolder,
    file: &ConnectFile,
) -> Result<Option<Seal>, ConnectError> {
    let name = folder.seal(file.partition, file.start);
    let content = match store.get(&name).await {
        Ok(content) => content,
        Err(ObjectError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let seal: Seal = decode_json(&name, &content)?;
    let is_ours = seal.cluster == folder.cluster()
        && seal.topic == folder.topic()
        && seal.partition == file.partition;
    if !is_ours {
        let why = "it is of another cluster, topic or partition".to_owned();
        return Err(ArchiveError::Foreign { name, why }.into());
    }
    if (&seal.file, seal.bytes) != (&file.name.0, file.bytes) {
        let name = file.name.clone();
        return Err(ConnectError::Changed {
            name,
            since: "sealed",
        });
    }
    Ok(Some(seal))
}

/// Puts a seal, unless there is one.
///
/// # Errors
/// The store.
pub async fn put(
    store: &impl ObjectStore,
    folder: &TopicFolder,
    file: &ConnectFile,
    seal: &Seal,
) -> Result<(), ConnectError> {
    let content = serde_json::to_vec(seal).expect("plain data serialises");
    let name = folder.seal(file.partition, file.start);
    match store.put_if_absent(&name, content.into()).await? {
        Put::Created | Put::Exists => Ok(()),
    }
}

/// Compares `file` with the log, from `from` on: the log's records are the file's lines, each of them.
///
/// # Errors
/// A line is not the log's next record, or the log cannot be read.
pub async fn compare<L: EventLog, C: Clock>(
    log: &L,
    clock: &C,
    store: &impl ObjectStore,
    folder: &TopicFolder,
    file: &ConnectFile,
    from: Offset,
) -> Result<Seal, ConnectError> {
    let mut values = LogReader::open(log, clock, file.partition, from).await?;
    let mut reader = LineReader::new(store, file);
    let (mut rows, mut runs, mut sum) = (0, Vec::<OffsetRun>::new(), DigestSum::default());
    let mut to = from;
    while let Some(lines) = reader.next().await? {
        for line in lines {
            rows += 1;
            let differs = |offset, why| ConnectError::Differs {
                name: file.name.clone(),
                line: rows,
                offset,
                why,
            };
            let Some(record) = values.next().await? else {
                return Err(differs(to, "the log has no more records"));
            };
            if rows == 1 && record.offset != file.start {
                return Err(differs(record.offset, "the file begins at another offset"));
            }
            if record.value.as_deref() != Some(&*line) {
                return Err(differs(record.offset, "the values differ"));
            }
            sum.add(file.partition, record.offset, Some(&line));
            match runs.last_mut() {
                Some(run) if run.first.0 + run.count == record.offset.0 => run.count += 1,
                Some(_) | None => runs.push(OffsetRun {
                    first: record.offset,
                    count: 1,
                }),
            }
            to = record.offset.next();
        }
    }
    if rows == 0 {
        let name = file.name.clone();
        return Err(ConnectError::Empty { name });
    }
    Ok(Seal {
        format: FORMAT,
        cluster: folder.cluster().to_owned(),
        topic: folder.topic().to_owned(),
        partition: file.partition,
        file: file.name.0.clone(),
        bytes: file.bytes,
        from,
        to,
        rows,
        runs,
        digest: sum.digest(),
    })
}
