//! Which offsets the files of a partition have, and whether they are all of them. Pure.
//!
//! A file has no offsets but that of its first record, so its records are at `start`, `start + 1`, … only if the next file
//! begins where that ends: `start[i + 1] = start[i] + rows[i]`. Whatever is left out, doubled, split by a line end in a value
//! or behind a transaction's marker breaks that rule. A sealed file has the offsets that its seal says.

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Bounds;

use super::seal::Seal;
use super::{ConnectError, ConnectFile, ConnectFormat};

/// A file, and how many lines it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedFile {
    pub file: ConnectFile,
    pub rows: u64,
    pub seal: Option<Seal>,
}

impl CountedFile {
    /// Every record at or above this position and below [`CountedFile::to`] is in the file.
    #[must_use]
    pub fn from(&self) -> Offset {
        self.seal.as_ref().map_or(self.file.start, |seal| seal.from)
    }

    /// Behind the last record, by the seal, else if every offset is one of a record.
    #[must_use]
    pub fn to(&self) -> Offset {
        let rows = i64::try_from(self.rows).unwrap_or(i64::MAX);
        let counted = Offset(self.file.start.0.saturating_add(rows));
        self.seal.as_ref().map_or(counted, |seal| seal.to)
    }
}

/// The files, in order, that have what Kafka has deleted, and the position up to which they have it: where the log begins.
/// The last one may go on behind it; the log says whether its records are at these offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intervals<'a> {
    pub files: &'a [CountedFile],
    pub to: Offset,
    /// The last one, if neither a file that begins where it ends, nor the log, nor a seal says that it ends there: with a
    /// transaction's marker in it its last record is the first one of the log.
    pub unconfirmed: Option<&'a CountedFile>,
}

/// Checks that `files`, which are all of a partition, in order, chain without a gap up to where the log begins.
///
/// # Errors
/// They do not; the first one that breaks the rule is named.
pub fn check(
    partition: Partition,
    files: &[CountedFile],
    log: Bounds,
) -> Result<Intervals<'_>, ConnectError> {
    let needed = files.partition_point(|file| file.from() < log.begin);
    let (files, others) = files.split_at(needed);
    let to = log.begin;
    for file in files {
        if file.file.format == ConnectFormat::Json && file.seal.is_none() {
            let name = file.file.name.clone();
            return Err(ConnectError::Rewritten { name });
        }
    }
    for pair in files.windows(2) {
        let [file, next] = pair else { continue };
        follows(file, next)?;
    }
    let Some(last) = files.last() else {
        return Ok(Intervals {
            files,
            to,
            unconfirmed: None,
        });
    };
    let name = last.file.name.clone();
    let end = last.to();
    if end < to {
        return Err(ConnectError::LogLater {
            partition,
            name,
            to: end,
            begin: to,
        });
    }
    if end > log.end {
        return Err(ConnectError::LogShorter {
            partition,
            name,
            to: end,
            end: log.end,
        });
    }
    let mut unconfirmed = None;
    // Behind the log's beginning the log itself is compared.
    if end == to && last.seal.is_none() {
        match others.first() {
            Some(next) => follows(last, next)?,
            None if log.end > to => unconfirmed = Some(last),
            // There is no record that the file could have beside the log.
            None => {}
        }
    }
    Ok(Intervals {
        files,
        to,
        unconfirmed,
    })
}

/// Checks that `next` begins where `file` ends.
fn follows(file: &CountedFile, next: &CountedFile) -> Result<(), ConnectError> {
    let (end, start) = (file.to(), next.from());
    let (name, after) = (file.file.name.clone(), next.file.name.clone());
    let start_of_next = next.file.start;
    // A seal may begin to look for records before the end of the file before.
    if start == end || (next.seal.is_some() && start <= end && start_of_next >= end) {
        return Ok(());
    }
    Err(if start_of_next < end {
        ConnectError::Overlap {
            name,
            to: end,
            next: after,
            start: start_of_next,
        }
    } else {
        ConnectError::Gap {
            name,
            to: end,
            next: after,
            start: start_of_next,
        }
    })
}
