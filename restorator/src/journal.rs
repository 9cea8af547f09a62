//! The journal: every correction, written and flushed before it is sent. It is an audit trail; safety does not depend on
//! it, because the next run reads every cell again.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;
use stitch_common::cell::{Amount, Cell, Count};
use stitch_common::offset::Offsets;
use stitch_common::range::RangeId;

use crate::plan::judge::Drift;

/// Storage for the lines of a journal.
pub trait Lines {
    /// Appends whole lines durably: after it returns, a crash of the machine does not lose them.
    ///
    /// # Errors
    /// A part of the lines may have been written.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;
}

impl Lines for File {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write_all(lines)?;
        self.sync_data()
    }
}

/// The journal of one run.
pub struct Journal {
    path: PathBuf,
    lines: RefCell<Box<dyn Lines>>,
}

/// The journal cannot be written, so no correction is sent.
#[derive(Debug, thiserror::Error)]
#[error("the journal {} cannot be written", path.display())]
pub struct JournalError {
    pub path: PathBuf,
    #[source]
    pub cause: io::Error,
}

#[derive(Serialize)]
struct Entry<'a> {
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
}

impl Journal {
    /// Opens a journal in `folder`, which is created if it is missing.
    pub fn create(folder: &Path, name: &str) -> Result<Self, JournalError> {
        let path = folder.join(format!("{name}.jsonl"));
        let open = || {
            fs::create_dir_all(folder)?;
            OpenOptions::new().create(true).append(true).open(&path)
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
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the corrections that are about to be sent.
    ///
    /// # Errors
    /// They are not written, so none of them may be sent.
    pub fn write(
        &self,
        when: DateTime<Utc>,
        range: RangeId,
        cut: &Offsets,
        corrections: &[(Cell, Drift)],
    ) -> Result<(), JournalError> {
        let mut lines = self.lines.borrow_mut();
        let written = corrections
            .chunks(LINES_AT_ONCE)
            .try_for_each(|some| lines.append(&encode(when, range, cut, some)));
        written.map_err(|cause| JournalError {
            path: self.path.clone(),
            cause,
        })
    }
}

/// Bounds the memory for encoding a range in which everything is wrong.
const LINES_AT_ONCE: usize = 10_000;

fn encode(
    when: DateTime<Utc>,
    range: RangeId,
    cut: &Offsets,
    corrections: &[(Cell, Drift)],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (cell, drift) in corrections {
        let entry = Entry {
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
        serde_json::to_writer(&mut bytes, &entry).expect("plain data serialises");
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::{Counter, Granularity};
    use stitch_testkit::samples::{offsets, slot_at};

    fn corrections() -> Vec<(Cell, Drift)> {
        let cell = Cell {
            counter: Counter::new("plays", "a\nb"),
            slot: slot_at(Granularity::Hour, 0),
        };
        let drift = Drift::between(Count(3), Count(5)).unwrap();
        vec![(cell.clone(), drift), (cell, drift)]
    }

    #[test]
    fn each_correction_is_one_line_with_its_time_cell_counts_and_cut() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::create(&folder.path().join("new"), "run").unwrap();
        let when = DateTime::from_timestamp(1, 0).unwrap();
        let cut = offsets(&[(0, 7)]);
        journal
            .write(when, RangeId(3), &cut, &corrections())
            .unwrap();
        let text = fs::read_to_string(journal.path()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let entry: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(entry["key"], "a\nb");
        assert_eq!(entry["delta"], -2);
        assert_eq!(entry["cut"]["0"], 7);
        assert_eq!(entry["bucket"], "1970-01-01T00:00:00Z");
        assert_eq!(entry["when"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        struct Full;
        impl Lines for Full {
            fn append(&mut self, _lines: &[u8]) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let journal = Journal::new("j/run.jsonl".into(), Box::new(Full));
        let when = DateTime::from_timestamp(1, 0).unwrap();
        let refused = journal.write(when, RangeId(0), &offsets(&[]), &corrections());
        assert!(refused.unwrap_err().to_string().contains("j/run.jsonl"));
    }
}
