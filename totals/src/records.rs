//! The records of the event topic, from the archive where it reaches, else from Kafka's log; and never past a gap between
//! them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_archive::ArchiveError;
use stitch_archive::chain::Chain;
use stitch_archive::reader::{Archive, SegmentReader};
use stitch_archive::segment::row_group::{Columns, Rows};
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{Bounds, EventLog, LogError, ObjectStore, Record};
use stitch_common::user_error::UserError;
use stitch_common::wait::yield_now;

use crate::log_records::{LogRecords, LogRecordsError};
use crate::manifest::{SourceKind, SourceSpan};
use crate::rule;

/// Archive and log of one topic.
#[derive(Debug)]
pub struct Records<'a, S, L, C> {
    archive: Option<&'a Archive<S>>,
    log: &'a L,
    clock: &'a C,
    patience: Duration,
}

/// What can be read of each partition at a moment, and where its counting begins.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// A time at which every event in the log was below [`Self::end`].
    pub asked_at: DateTime<Utc>,
    pub chains: BTreeMap<Partition, Chain>,
    pub log: BTreeMap<Partition, Bounds>,
    /// Where counting begins, of the partitions of which that is known.
    pub origins: Offsets,
}

/// Why records cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// Records are neither in the archive nor in the log any more.
    #[error("a gap between offset {from} and offset {to} of partition {partition}: {why}")]
    Gap {
        partition: Partition,
        from: Offset,
        to: Offset,
        why: &'static str,
    },
    /// The log ends before what was counted already.
    #[error(
        "partition {partition} ends at offset {end}, below {counted}, up to which it was counted"
    )]
    Shorter {
        partition: Partition,
        end: Offset,
        counted: Offset,
    },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Log(#[from] LogRecordsError),
}

const GAP: &str = "see docs/operations/totals.md, \"A gap\": use an archive that reaches further back, or earlier totals whose cut lies in \
                   what can still be read";
const SHORTER: &str = "see docs/operations/totals.md, \"The log ends below the totals\": the topic was made again, or has lost \
                       its end";

impl From<RecordsError> for UserError {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Gap { .. } => Self::new(error, GAP),
            RecordsError::Shorter { .. } => Self::new(error, SHORTER),
            RecordsError::Archive(error) => error.into(),
            RecordsError::Log(error) => error.into(),
        }
    }
}

impl From<LogError> for RecordsError {
    fn from(error: LogError) -> Self {
        Self::Log(error.into())
    }
}

impl Reach {
    /// Where the log, or the archive if it is longer, ends: the last cut that can be read.
    pub fn end(&self) -> Offsets {
        let end = |(partition, bounds): (&Partition, &Bounds)| {
            let archived = self.archived(*partition).map(|(_, to)| to);
            (*partition, bounds.end.max(archived.unwrap_or_default()))
        };
        Offsets(self.log.iter().map(end).collect())
    }

    /// Where the archive of a partition begins, else the log.
    pub fn begin(&self, partition: Partition) -> Offset {
        let log = self.log.get(&partition).map(|bounds| bounds.begin);
        let archived = self.archived(partition).map(|(from, _)| from);
        match (archived, log) {
            (Some(archived), Some(log)) => archived.min(log),
            (archived, log) => archived.or(log).unwrap_or_default(),
        }
    }

    /// Where counting begins of each partition in `cut`: at its origin, or, while that is not known, with the first record.
    pub fn counted_from(&self, cut: &Offsets) -> Offsets {
        let from = cut.0.keys().map(|&partition| {
            let origin = self.origins.0.get(&partition).copied();
            (partition, origin.unwrap_or_else(|| self.begin(partition)))
        });
        Offsets(from.collect())
    }

    /// From where on the records of each partition in `to` are read that totals up to `cut` lack. Of a partition that was empty
    /// when they were made they have nothing, and its counting may have begun later.
    pub fn start_behind(&self, cut: &Offsets, to: &Offsets) -> Offsets {
        let mut start = self.counted_from(to);
        for (partition, cut) in &cut.0 {
            start
                .0
                .insert(*partition, self.origins.of(*partition).max(*cut));
        }
        start
    }

    fn archived(&self, partition: Partition) -> Option<(Offset, Offset)> {
        let chain = self.chains.get(&partition)?;
        chain.origin.zip(chain.complete_to())
    }

    /// The spans from which the records of `[from, to)` of each partition in `to` are read.
    ///
    /// # Errors
    /// Some of them cannot be read any more, or the log ends below `from`.
    pub fn spans(&self, from: &Offsets, to: &Offsets) -> Result<Vec<SourceSpan>, RecordsError> {
        let mut spans = Vec::new();
        for (&partition, &to) in &to.0 {
            let from = from.of(partition);
            if to < from && !rule::a_base_has_no_event_above_the_cut() {
                continue;
            }
            if to < from {
                return Err(RecordsError::Shorter {
                    partition,
                    end: to,
                    counted: from,
                });
            }
            self.add_spans(partition, from, to, &mut spans)?;
        }
        Ok(spans)
    }

    fn add_spans(
        &self,
        partition: Partition,
        from: Offset,
        to: Offset,
        spans: &mut Vec<SourceSpan>,
    ) -> Result<(), RecordsError> {
        let mut position = from;
        let archived = self.archived(partition);
        if let Some((origin, complete_to)) = archived
            && origin <= from
            && from < complete_to
            && from < to
        {
            position = complete_to.min(to);
            spans.push(SourceSpan {
                partition,
                from,
                to: position,
                source: SourceKind::Archive,
            });
        }
        if position == to {
            return Ok(());
        }
        let begin = self.log.get(&partition).map(|bounds| bounds.begin);
        let begin = begin.unwrap_or(to);
        if begin > position && !rule::gaps_are_refused() {
            position = begin.min(to);
        }
        if begin > position {
            let why = if position > from {
                "the archive ends at the first, and the log begins at the second"
            } else {
                "records are wanted from the first on, and neither the archive nor the log has any below the second"
            };
            let origin = archived.map(|(origin, _)| origin);
            let next = origin.filter(|origin| *origin > position);
            return Err(RecordsError::Gap {
                partition,
                from: position,
                to: next.map_or(begin, |next| next.min(begin)),
                why,
            });
        }
        spans.push(SourceSpan {
            partition,
            from: position,
            to,
            source: SourceKind::Log,
        });
        Ok(())
    }
}

impl<'a, S: ObjectStore, L: EventLog, C: Clock> Records<'a, S, L, C> {
    /// The records of `archive` and `log`. Reading gives up when nothing of a partition was delivered for `patience`.
    pub const fn new(
        archive: Option<&'a Archive<S>>,
        log: &'a L,
        clock: &'a C,
        patience: Duration,
    ) -> Self {
        Self {
            archive,
            log,
            clock,
            patience,
        }
    }

    /// The archive of the topic, if there is one.
    pub const fn archive(&self) -> Option<&'a Archive<S>> {
        self.archive
    }

    /// Kafka's log.
    pub const fn log(&self) -> &'a L {
        self.log
    }

    /// What can be read now. The archive is asked before the log: what is then deleted from the log shows as a gap. `origins`
    /// are read last: what was deleted of a partition since its counting began, after the one question and before the
    /// other, shows as a gap, too.
    ///
    /// # Errors
    /// Kafka or the object store does not answer, or those of `origins`.
    pub async fn reach<E: From<RecordsError>>(
        &self,
        origins: impl AsyncFnOnce() -> Result<Offsets, E>,
    ) -> Result<Reach, E> {
        let asked_at = self.clock.wall();
        let (chains, log) = self.bounds().await?;
        Ok(Reach {
            asked_at,
            chains,
            log,
            origins: origins().await?,
        })
    }

    async fn bounds(
        &self,
    ) -> Result<(BTreeMap<Partition, Chain>, BTreeMap<Partition, Bounds>), RecordsError> {
        let partitions = self.log.partitions().await?;
        let mut chains = BTreeMap::new();
        if let Some(archive) = self.archive {
            for partition in &partitions {
                chains.insert(*partition, archive.chain(*partition).await?);
            }
        }
        let log = self.log.bounds(&partitions).await?;
        Ok((chains, log))
    }

    /// Checks that the log has still what `spans` were read from, so that nothing can have been missed.
    ///
    /// # Errors
    /// Kafka does not answer, or there may be a gap.
    pub async fn check_again(&self, spans: &[SourceSpan]) -> Result<(), RecordsError> {
        let from_log = spans.iter().filter(|span| span.source == SourceKind::Log);
        let partitions: Vec<_> = from_log.clone().map(|span| span.partition).collect();
        let bounds = self.log.bounds(&partitions).await?;
        for span in from_log {
            let begin = bounds.get(&span.partition).map(|bounds| bounds.begin);
            if let Some(begin) = begin.filter(|begin| *begin > span.from) {
                return Err(RecordsError::Gap {
                    partition: span.partition,
                    from: span.from,
                    to: begin,
                    why: "Kafka deleted records while the log was read",
                });
            }
        }
        Ok(())
    }

    /// Reads `spans`, which are those of `reach`.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn read<'r>(
        &self,
        reach: &'r Reach,
        spans: &'r [SourceSpan],
    ) -> Result<RecordReader<'r, 'a, S, L, C>, RecordsError> {
        let (archived, log): (Vec<_>, Vec<_>) = spans
            .iter()
            .filter(|span| !matches!(span.source, SourceKind::Totals(_)))
            .partition(|span| span.source == SourceKind::Archive);
        let of_log = log.iter().map(|span| (span.partition, span.from..span.to));
        Ok(RecordReader {
            archive: self.archive,
            reach,
            archived,
            next_segment: 0,
            segment: None,
            log: LogRecords::open(self.log, self.clock, self.patience, of_log.collect()).await?,
        })
    }
}

/// Reads spans of records, each record once.
pub struct RecordReader<'r, 'a, S, L: EventLog, C> {
    archive: Option<&'a Archive<S>>,
    reach: &'r Reach,
    /// The spans that are left, the current one first.
    archived: Vec<&'r SourceSpan>,
    /// The segment of the current span that comes next.
    next_segment: usize,
    segment: Option<SegmentReader<'a, S>>,
    log: LogRecords<'a, L, C>,
}

impl<S: ObjectStore, L: EventLog, C: Clock> RecordReader<'_, '_, S, L, C> {
    /// The next records; `None` when all were read.
    ///
    /// # Errors
    /// The reader is of no use then, nor when the call is cancelled.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, RecordsError> {
        while let Some(&span) = self.archived.first() {
            if let Some(batch) = self.next_of_archive(span).await? {
                return Ok(Some(batch));
            }
            self.archived.remove(0);
            self.next_segment = 0;
        }
        let batch = self.log.next().await?;
        Ok(batch.map(|(partition, records)| RecordBatch::Log { partition, records }))
    }

    async fn next_of_archive(
        &mut self,
        span: &SourceSpan,
    ) -> Result<Option<RecordBatch>, RecordsError> {
        let (Some(archive), Some(chain)) = (self.archive, self.reach.chains.get(&span.partition))
        else {
            return Ok(None);
        };
        let segments = chain.at_or_above(span.from);
        loop {
            if let Some(reader) = &mut self.segment {
                if let Some(rows) = reader.next().await? {
                    yield_now().await;
                    let (from, to) = (span.from, span.to);
                    return Ok(Some(RecordBatch::Archive { rows, from, to }));
                }
                self.segment = None;
            }
            let segment = segments.get(self.next_segment);
            let Some(segment) = segment.filter(|segment| segment.from < span.to) else {
                return Ok(None);
            };
            self.next_segment += 1;
            let opened = archive.open(span.partition, segment, Columns::Values);
            self.segment = Some(opened.await?);
        }
    }
}

/// Some records of one partition.
#[derive(Debug)]
pub enum RecordBatch {
    Log {
        partition: Partition,
        records: Vec<Record>,
    },
    /// Those of a row group; the ones from `from` up to `to` are wanted.
    Archive {
        rows: Rows,
        from: Offset,
        to: Offset,
    },
}

impl RecordBatch {
    /// How many there are.
    pub fn records(&self) -> u64 {
        self.values().fold(0, |records, _| records + 1)
    }

    /// The values of the records, in the order of offsets.
    pub fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let (records, rows) = match self {
            Self::Log { records, .. } => (Some(records), None),
            Self::Archive { rows, from, to } => (None, Some((rows, *from..*to))),
        };
        let of_log = records.into_iter().flatten();
        let of_archive = rows
            .into_iter()
            .flat_map(|(rows, wanted)| rows.iter().filter(move |row| wanted.contains(&row.offset)));
        of_log
            .map(|record| record.value.as_deref())
            .chain(of_archive.map(|row| row.value))
    }
}

#[cfg(test)]
mod tests;
