//! The journal: every correction, written and flushed before it is sent, and what became of it. It is an audit trail;
//! safety does not depend on it, because the next run reads every cell again.
//!
//! JSON lines. The first is a header with the format; a `correction` line has a number, which later `outcome` lines
//! name. The last outcome of a correction counts: the deltas of those whose last outcome is `applied` add up to what was
//! changed. A correction without an outcome may have been applied: the process ended first.

use std::cell::{Cell as StdCell, RefCell};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;
use stitch_common::cell::{Amount, Cell, Count};
use stitch_common::offset::Offsets;
use stitch_common::printable::append_json;
use stitch_common::range::RangeId;
use stitch_control::control_record::ControlEvent;

use crate::plan::judge::Drift;

/// Storage for the lines of a journal.
pub trait Lines {
    /// Appends whole lines: after it returns, the end of this process does not lose them.
    ///
    /// # Errors
    /// A part of the lines may have been written.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;

    /// Makes what was appended durable: after it returns, a crash of the machine does not lose it.
    ///
    /// # Errors
    /// Some of it may be lost.
    fn sync(&mut self) -> io::Result<()>;
}

impl Lines for File {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write_all(lines)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The journal of one run.
pub struct Journal {
    path: PathBuf,
    lines: RefCell<Box<dyn Lines>>,
    /// The number of the next correction.
    next: StdCell<u64>,
    /// Whether the last line may be cut short.
    cut_short: StdCell<bool>,
}

/// The journal cannot be written, so no correction is sent.
#[derive(Debug, thiserror::Error)]
#[error("the journal {} cannot be written", path.display())]
pub struct JournalError {
    pub path: PathBuf,
    #[source]
    pub cause: io::Error,
}

/// The number of a correction within its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CorrectionId(u64);

impl CorrectionId {
    /// The correction that was written `index` lines after this one, by the same call.
    #[must_use]
    pub fn plus(self, index: usize) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(index).unwrap_or(u64::MAX)),
        )
    }
}

/// What became of a correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CorrectionOutcome {
    /// The cell changed by its delta.
    Applied,
    /// It may have been applied, or still be.
    Unknown,
    /// It was sent, and certainly not applied.
    NotApplied,
    /// It was never sent.
    NotSent,
    /// Cassandra acknowledged it, and the cell did not change: a tombstone hides it.
    Ignored,
}

/// The version of the lines.
const FORMAT: u32 = 1;

#[derive(Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line<'a> {
    Header {
        format: u32,
        restoration: &'a str,
    },
    Correction {
        id: CorrectionId,
        when: DateTime<Utc>,
        range: RangeId,
        counter: &'a str,
        key: &'a str,
        granularity: &'static str,
        bucket: String,
        expected: Count,
        current: Count,
        delta: Amount,
        cut: &'a Offsets,
    },
    Outcome {
        id: CorrectionId,
        when: DateTime<Utc>,
        outcome: CorrectionOutcome,
        delta: Amount,
    },
    /// What an operator had the restoration do.
    Control(&'a ControlEvent),
}

impl Line<'_> {
    fn write(&self, bytes: &mut Vec<u8>) {
        append_json(bytes, self).expect("plain data serialises");
        bytes.push(b'\n');
    }
}

impl Journal {
    /// Creates a journal in `folder`, which is created if it is missing. Only its owner can read it, and a file or link
    /// of that name is never opened.
    pub fn create(folder: &Path, restoration: &str) -> Result<Self, JournalError> {
        Self::create_synced(folder, restoration, &File::sync_all)
    }

    fn create_synced(
        folder: &Path,
        restoration: &str,
        sync: &dyn Fn(&File) -> io::Result<()>,
    ) -> Result<Self, JournalError> {
        let path = folder.join(format!("{restoration}.jsonl"));
        let open = || -> io::Result<File> {
            let changed = changed_by_creation(folder)?;
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
            let mut options = OpenOptions::new();
            let mut file = options
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            let mut header = Vec::new();
            let line = Line::Header {
                format: FORMAT,
                restoration,
            };
            line.write(&mut header);
            file.write_all(&header)?;
            sync(&file)?;
            // Without it a crash of the machine could lose the file as a whole.
            for folder in changed {
                sync(&File::open(folder)?)?;
            }
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Self::new(path, Box::new(file))),
            Err(cause) => Err(JournalError { path, cause }),
        }
    }

    /// A journal with its own storage; `path` names it in errors.
    pub fn new(path: PathBuf, lines: Box<dyn Lines>) -> Self {
        Self {
            path,
            lines: RefCell::new(lines),
            next: StdCell::new(1),
            cut_short: StdCell::new(false),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the corrections that are about to be sent, durably. Returns the number of the first; the others follow it.
    ///
    /// # Errors
    /// They are not written, so none of them may be sent.
    pub fn corrections(
        &self,
        when: DateTime<Utc>,
        range: RangeId,
        cut: &Offsets,
        corrections: &[(Cell, Drift)],
    ) -> Result<CorrectionId, JournalError> {
        let first = CorrectionId(self.next.get());
        self.next.set(first.plus(corrections.len()).0);
        let mut id = first;
        for some in corrections.chunks(LINES_AT_ONCE) {
            self.append(encode(when, range, cut, id, some))?;
            id = id.plus(some.len());
        }
        self.sync()?;
        Ok(first)
    }

    /// Writes what became of corrections. [`Journal::sync`] makes it durable.
    ///
    /// # Errors
    /// Some of it is not written.
    pub fn outcomes(
        &self,
        when: DateTime<Utc>,
        outcomes: impl IntoIterator<Item = (CorrectionId, CorrectionOutcome, Amount)>,
    ) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        for (id, outcome, delta) in outcomes {
            let line = Line::Outcome {
                id,
                when,
                outcome,
                delta,
            };
            line.write(&mut bytes);
        }
        self.append(bytes)
    }

    /// Writes what an operator had the restoration do.
    ///
    /// # Errors
    /// It is not written.
    pub fn control(&self, event: &ControlEvent) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        Line::Control(event).write(&mut bytes);
        self.append(bytes)
    }

    /// Makes the outcomes durable. Not under a lock: it waits for the disk.
    ///
    /// # Errors
    /// Some of them may be lost.
    pub fn sync(&self) -> Result<(), JournalError> {
        let synced = self.lines.borrow_mut().sync();
        synced.map_err(|cause| self.error(cause))
    }

    fn append(&self, mut lines: Vec<u8>) -> Result<(), JournalError> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.cut_short.get() {
            lines.insert(0, b'\n');
        }
        let appended = self.lines.borrow_mut().append(&lines);
        self.cut_short.set(appended.is_err());
        appended.map_err(|cause| self.error(cause))
    }

    fn error(&self, cause: io::Error) -> JournalError {
        JournalError {
            path: self.path.clone(),
            cause,
        }
    }
}

/// The folders that get a new entry when a file is created in `folder`, the innermost first: `folder` itself, and each one
/// above until one that is there already.
fn changed_by_creation(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = std::path::absolute(folder)?;
    let mut changed = Vec::new();
    for ancestor in folder.ancestors() {
        changed.push(ancestor.to_owned());
        if ancestor.exists() {
            break;
        }
    }
    Ok(changed)
}

/// Bounds the memory for encoding a range in which everything is wrong.
const LINES_AT_ONCE: usize = 10_000;

fn encode(
    when: DateTime<Utc>,
    range: RangeId,
    cut: &Offsets,
    first: CorrectionId,
    corrections: &[(Cell, Drift)],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, (cell, drift)) in corrections.iter().enumerate() {
        let line = Line::Correction {
            id: first.plus(index),
            when,
            range,
            counter: &cell.counter.name.0,
            key: &cell.counter.key.0,
            granularity: cell.slot.granularity.name(),
            bucket: cell.slot.bucket.to_string(),
            expected: drift.expected,
            current: drift.current,
            delta: drift.correction(),
            cut,
        };
        line.write(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests;
