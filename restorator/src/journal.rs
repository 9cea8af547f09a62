//! The journal: every correction, written and flushed before it is sent. For the report and the audit trail; safety
//! does not hang on it, because the next run reads again.

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

/// Where lines are kept.
pub trait Lines {
    /// Appends whole lines; when it returns, a crash of the machine does not lose them.
    ///
    /// # Errors
    /// They may have been written in part.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;
}

impl Lines for File {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write_all(lines)?;
        self.sync_data()
    }
}

/// A journal of one run.
pub struct Journal {
    place: PathBuf,
    lines: RefCell<Box<dyn Lines>>,
}

/// The journal cannot be written, so nothing is sent.
#[derive(Debug, thiserror::Error)]
#[error("the journal {} cannot be written", place.display())]
pub struct JournalError {
    /// The file or folder.
    pub place: PathBuf,
    /// What the system says.
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
    /// A new journal in `folder`, which is made if need be.
    ///
    /// # Errors
    /// The folder or file cannot be made.
    pub fn create(folder: &Path, name: &str) -> Result<Self, JournalError> {
        let place = folder.join(format!("{name}.jsonl"));
        let open = || {
            fs::create_dir_all(folder)?;
            OpenOptions::new().create(true).append(true).open(&place)
        };
        match open() {
            Ok(file) => Ok(Self::new(place, Box::new(file))),
            Err(cause) => Err(JournalError { place, cause }),
        }
    }

    /// A journal that keeps its lines elsewhere; `place` names it in errors.
    #[must_use]
    pub fn new(place: PathBuf, lines: Box<dyn Lines>) -> Self {
        Self {
            place,
            lines: RefCell::new(lines),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Writes down what is about to be sent.
    ///
    /// # Errors
    /// It is not written: nothing of it may be sent.
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
            .try_for_each(|some| lines.append(&encoded(when, range, cut, some)));
        written.map_err(|cause| JournalError {
            place: self.place.clone(),
            cause,
        })
    }
}

/// A range of which everything is wrong is not made into one text.
const LINES_AT_ONCE: usize = 10_000;

fn encoded(
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
    fn each_correction_is_one_line_that_says_what_when_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::create(&folder.path().join("new"), "run").unwrap();
        let when = DateTime::from_timestamp(1, 0).unwrap();
        let cut = offsets(&[(0, 7)]);
        journal
            .write(when, RangeId(3), &cut, &corrections())
            .unwrap();
        let text = fs::read_to_string(journal.place()).unwrap();
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
