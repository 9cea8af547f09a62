//! Imports files of Kafka Connect into the archive: what Kafka has deleted becomes segments like any others, so whoever
//! reads the archive knows nothing of where they came from. What Kafka still has is left to `run`.
//!
//! All files are read and checked before the first segment is put. Records get the offsets that their files prove
//! ([`intervals`]); at the log's beginning they are compared with the log itself. They have neither keys nor times.

use bytes::Bytes;
use serde::Serialize;
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, EventLog, ObjectStore, Record};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use tokio_util::sync::CancellationToken;

use crate::archiver::collector::Sealed;
use crate::archiver::settle::{Patience, Settled, settle};
use crate::chain::{Chain, INDEX_SEGMENTS, Segment, put_index};
use crate::connect::intervals::{self, CountedFile, Intervals};
use crate::connect::lines::{LineReader, count};
use crate::connect::log_reader::LogReader;
use crate::connect::{ConnectError, ConnectFile, bytes, files, seal};
use crate::reader::Archive;
use crate::segment::writer::SegmentWriter;
use crate::{origin, store_check};

/// Attempts to put a segment.
const ATTEMPTS_MAX: u32 = 8;

/// The servers, and time.
pub struct Ports<'a, L, S, C> {
    /// The event topic.
    pub log: &'a L,
    /// The archive of it.
    pub archive: &'a Archive<S>,
    /// Where the files are.
    pub files: &'a S,
    /// Time.
    pub clock: &'a C,
}

/// What was imported of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportedPartition {
    pub partition: Partition,
    /// Files of which records are in the archive now.
    pub files: usize,
    /// Records that were added.
    pub records: u64,
    /// Segments that were put.
    pub segments: u64,
    /// The position up to which the archive is complete; none if there is none.
    pub complete_to: Option<Offset>,
    /// Where Kafka's log begins: from here on `run` archives.
    pub log_begin: Offset,
}

/// Imports the files of every partition.
///
/// # Errors
/// A file breaks a rule, is named, and nothing was put; or a server does not answer: what was put stays, and counts.
pub async fn run<L: EventLog, S: ObjectStore, C: Clock>(
    ports: &Ports<'_, L, S, C>,
    segment_bytes: usize,
    progress: &(impl Progress + ?Sized),
) -> Result<Vec<ImportedPartition>, UserError> {
    store_check::check(ports.archive).await?;
    let topic = ports.archive.folder().topic();
    let files = files(ports.files, topic).await?;
    let partitions = ports.log.partitions().await?;
    let bounds = ports.log.bounds(&partitions).await?;
    progress.begin("reading the files", "bytes", Some(bytes(&files)));
    let mut surveyed = Vec::new();
    for (partition, files) in files {
        let Some(bounds) = bounds.get(&partition) else {
            let name = files[0].name.clone();
            let why = format!("the topic has no partition {partition}");
            return Err(ConnectError::Foreign { name, why }.into());
        };
        surveyed.push(survey(ports, partition, files, *bounds, progress).await?);
    }
    progress.end();
    for survey in &mut surveyed {
        begin(ports, survey).await?;
    }
    let total = surveyed.iter().map(Survey::positions_left).sum();
    progress.begin("importing", "records", Some(total));
    let mut imported = Vec::new();
    for survey in &surveyed {
        imported.push(import(ports, survey, segment_bytes, progress).await?);
    }
    progress.end();
    Ok(imported)
}

/// The files of one partition, checked.
struct Survey {
    partition: Partition,
    files: Vec<CountedFile>,
    log: Bounds,
    chain: Chain,
}

impl Survey {
    fn intervals(&self) -> Result<Intervals<'_>, ConnectError> {
        intervals::check(self.partition, &self.files, self.log)
    }

    /// How many positions the archive will have that it has not yet. There are as many records, or, between transactions,
    /// fewer.
    fn positions_left(&self) -> u64 {
        let Ok(intervals) = self.intervals() else {
            return 0;
        };
        let first = intervals.files.first().map(CountedFile::from);
        let from = self.chain.complete_to().or(first).unwrap_or(intervals.to);
        u64::try_from(intervals.to.0.saturating_sub(from.0)).unwrap_or(0)
    }
}

async fn survey<L: EventLog, S: ObjectStore, C: Clock>(
    ports: &Ports<'_, L, S, C>,
    partition: Partition,
    files: Vec<ConnectFile>,
    log: Bounds,
    progress: &(impl Progress + ?Sized),
) -> Result<Survey, ConnectError> {
    let mut counted = Vec::new();
    for file in files {
        // What begins where Kafka has it is left to `run`.
        let seal = seal::read(ports.archive.store(), ports.archive.folder(), &file).await?;
        let from = seal.as_ref().map_or(file.start, |seal| seal.from);
        let rows = if from < log.begin {
            count(ports.files, &file).await?
        } else {
            0
        };
        progress.advance(file.bytes);
        if seal
            .as_ref()
            .is_some_and(|seal| rows > 0 && seal.rows != rows)
        {
            let name = file.name.clone();
            return Err(ConnectError::Changed {
                name,
                since: "sealed",
            });
        }
        counted.push(CountedFile { file, rows, seal });
    }
    let chain = ports.archive.chain(partition).await?;
    let survey = Survey {
        partition,
        files: counted,
        log,
        chain,
    };
    let intervals = survey.intervals()?;
    adjoins(&survey.chain, &intervals)?;
    let is_imported = survey.chain.complete_to() >= Some(intervals.to);
    if let Some(last) = intervals.unconfirmed.filter(|_| !is_imported) {
        let (name, to) = (last.file.name.clone(), intervals.to);
        return Err(ConnectError::Unconfirmed {
            partition,
            name,
            to,
        });
    }
    if let Some(last) = intervals.files.last() {
        agrees_with_log(ports, last, log).await?;
    }
    for file in intervals.files.iter().filter(|file| file.seal.is_some()) {
        is_as_sealed(ports, file).await?;
    }
    Ok(survey)
}

/// Checks that the archive, if there is one, ends within the files and does not begin after them.
fn adjoins(chain: &Chain, intervals: &Intervals<'_>) -> Result<(), ConnectError> {
    let (Some(first), Some(from), Some(to)) =
        (intervals.files.first(), chain.origin, chain.complete_to())
    else {
        return Ok(());
    };
    let why = if from > first.from() {
        "an archive is not extended at its beginning: import into an archive at another url, and let that go on"
    } else if to < first.from() {
        "what is between them is missing"
    } else {
        return Ok(());
    };
    Err(ConnectError::NotAdjoining {
        partition: chain.partition,
        from,
        to,
        name: first.file.name.clone(),
        start: first.from(),
        why,
    })
}

/// Lets the archive begin where the files do, unless it has begun already: since the survey, maybe, where Kafka's log does.
async fn begin<L: EventLog, S: ObjectStore, C: Clock>(
    ports: &Ports<'_, L, S, C>,
    survey: &mut Survey,
) -> Result<(), ConnectError> {
    let (archive, partition) = (ports.archive, survey.partition);
    let intervals = survey.intervals()?;
    let Some(first) = intervals.files.first() else {
        return Ok(());
    };
    let origin = origin::create(archive.store(), archive.folder(), partition, first.from());
    let chain = Chain {
        origin: Some(origin.await?),
        ..survey.chain.clone()
    };
    adjoins(&chain, &intervals)?;
    survey.chain = chain;
    Ok(())
}

/// Compares what both the last file and the log have. So a file whose end no other file confirms is confirmed, and a topic
/// that was made again is found out.
async fn agrees_with_log<L: EventLog, S: ObjectStore, C: Clock>(
    ports: &Ports<'_, L, S, C>,
    last: &CountedFile,
    log: Bounds,
) -> Result<(), ConnectError> {
    if last.to() <= log.begin {
        return Ok(());
    }
    let partition = last.file.partition;
    let mut values = LogReader::open(ports.log, ports.clock, partition, log.begin).await?;
    let mut lines = OffsetLines::new(ports.files, last);
    while let Some(part) = lines.next().await? {
        for (line, offset, value) in part {
            if offset < log.begin {
                continue;
            }
            let differs = |why| ConnectError::Differs {
                name: last.file.name.clone(),
                line,
                offset,
                why,
            };
            let Some(record) = values.next().await? else {
                return Err(differs("the log has no more records"));
            };
            if record.offset != offset {
                return Err(differs("the log has no record there"));
            }
            if record.value.as_deref() != Some(&*value) {
                return Err(differs("the values differ"));
            }
        }
    }
    Ok(())
}

/// Checks that a file is the one that was sealed.
async fn is_as_sealed<L: EventLog, S: ObjectStore, C: Clock>(
    ports: &Ports<'_, L, S, C>,
    file: &CountedFile,
) -> Result<(), ConnectError> {
    let mut lines = OffsetLines::new(ports.files, file);
    let mut sum = stitch_common::digest::DigestSum::default();
    while let Some(part) = lines.next().await? {
        for (_, offset, value) in part {
            sum.add(file.file.partition, offset, Some(&value));
        }
    }
    match &file.seal {
        Some(seal) if seal.digest != sum.digest() => Err(ConnectError::Changed {
            name: file.file.name.clone(),
            since: "sealed",
        }),
        Some(_) | None => Ok(()),
    }
}

/// Reads the lines of a file with the offsets of their records.
struct OffsetLines<'a, S> {
    reader: LineReader<'a, S>,
    offsets: Box<dyn Iterator<Item = Offset> + 'a>,
    file: &'a CountedFile,
    line: u64,
}

impl<'a, S: ObjectStore> OffsetLines<'a, S> {
    fn new(store: &'a S, file: &'a CountedFile) -> Self {
        let start = file.file.start.0;
        let offsets: Box<dyn Iterator<Item = Offset>> = match &file.seal {
            Some(seal) => Box::new(seal.offsets()),
            None => Box::new((start..).map(Offset)),
        };
        Self {
            reader: LineReader::new(store, &file.file),
            offsets,
            file,
            line: 0,
        }
    }

    /// The next lines: the number of each, its offset and the value. There may be none in a part.
    async fn next(&mut self) -> Result<Option<Vec<(u64, Offset, Bytes)>>, ConnectError> {
        let changed = || ConnectError::Changed {
            name: self.file.file.name.clone(),
            since: "counted",
        };
        let Some(lines) = self.reader.next().await? else {
            return if self.line == self.file.rows {
                Ok(None)
            } else {
                Err(changed())
            };
        };
        let mut part = Vec::with_capacity(lines.len());
        for line in lines {
            self.line += 1;
            let offset = self.offsets.next().filter(|_| self.line <= self.file.rows);
            part.push((self.line, offset.ok_or_else(changed)?, line));
        }
        Ok(Some(part))
    }
}

async fn import<L: EventLog, S: ObjectStore, C: Clock>(
    ports: &Ports<'_, L, S, C>,
    survey: &Survey,
    segment_bytes: usize,
    progress: &(impl Progress + ?Sized),
) -> Result<ImportedPartition, ConnectError> {
    let (archive, partition) = (ports.archive, survey.partition);
    let intervals = survey.intervals()?;
    let mut importer = Importer {
        archive,
        clock: ports.clock,
        chain: survey.chain.clone(),
        imported: ImportedPartition {
            partition,
            files: 0,
            records: 0,
            segments: 0,
            complete_to: survey.chain.complete_to(),
            log_begin: survey.log.begin,
        },
    };
    if intervals.files.is_empty() {
        return Ok(importer.imported);
    }
    let from = importer.chain.complete_to().unwrap_or_default();
    let mut segment = SegmentWriter::new(partition, from);
    for file in intervals.files {
        if file.to() <= from {
            continue;
        }
        importer.imported.files += 1;
        let mut lines = OffsetLines::new(ports.files, file);
        while let Some(part) = lines.next().await? {
            for (_, offset, value) in part {
                if offset < from || offset >= intervals.to {
                    continue;
                }
                segment.push(&Record {
                    offset,
                    timestamp_ms: None,
                    key: None,
                    value: Some(value.as_ref().into()),
                });
                progress.advance(1);
                if segment.bytes() >= segment_bytes {
                    let next = SegmentWriter::new(partition, offset.next());
                    let full = std::mem::replace(&mut segment, next);
                    importer.put(full, offset.next()).await?;
                }
            }
        }
    }
    if segment.from() < intervals.to {
        importer.put(segment, intervals.to).await?;
    }
    importer.imported.complete_to = importer.chain.complete_to();
    Ok(importer.imported)
}

struct Importer<'a, S, C> {
    archive: &'a Archive<S>,
    clock: &'a C,
    chain: Chain,
    imported: ImportedPartition,
}

impl<S: ObjectStore, C: Clock> Importer<'_, S, C> {
    async fn put(&mut self, segment: SegmentWriter, to: Offset) -> Result<(), ConnectError> {
        let (partition, at) = (self.chain.partition, segment.from());
        let (footer, content) = segment.finish(self.archive.folder(), to);
        let segment = Segment::new(&footer, content.len() as u64);
        let sealed = Sealed {
            segment: segment.clone(),
            content: content.into(),
        };
        let patience = Patience {
            attempts_max: Some(ATTEMPTS_MAX),
            last_attempt: CancellationToken::new(),
        };
        match settle(self.archive, self.clock, partition, &sealed, &patience).await {
            Settled::Archived => {}
            Settled::Overtaken | Settled::Conflict(_) => {
                return Err(ConnectError::Overtaken { partition, at });
            }
            Settled::GaveUp(error) => return Err(error.into()),
        }
        self.imported.segments += 1;
        self.imported.records += segment.rows;
        self.chain.segments.push(segment);
        let segments = &self.chain.segments;
        if segments.len().is_multiple_of(INDEX_SEGMENTS) {
            let last = &segments[segments.len() - INDEX_SEGMENTS..];
            let (store, folder) = (self.archive.store(), self.archive.folder());
            put_index(store, folder, partition, last).await?;
        }
        Ok(())
    }
}
