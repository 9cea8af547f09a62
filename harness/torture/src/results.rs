//! The results of histories: a line of JSON for each, a summary, and the table of docs/results/torture.md.

mod document;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::history::HistoryResult;
use crate::restorations::Outcome;

pub(crate) use document::write_into;

/// The verdict of a history without failures.
pub(crate) const RIGHT: &str = "right";

/// The results of this run; their file also has those of earlier runs.
pub(crate) struct Results {
    file: File,
    build: String,
    pub(crate) histories: Vec<HistoryResult>,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    build: &'a str,
    verdict: &'a str,
    #[serde(flatten)]
    result: &'a HistoryResult,
}

/// The part of a line of the file that the table uses, and that is kept beside the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) build: String,
    pub(crate) verdict: String,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) events: u64,
    pub(crate) cells: u64,
    pub(crate) cross_checked: bool,
    pub(crate) faults: Vec<RowFault>,
    pub(crate) restorations: Vec<RowRestoration>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RowFault {
    pub(crate) kind: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RowRestoration {
    pub(crate) outcome: String,
    pub(crate) corrected: u64,
}

impl Results {
    /// Appends to this file; `build` is the version of the product.
    pub(crate) fn into(path: &Path, build: String) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self {
            file: file.with_context(|| path.display().to_string())?,
            build,
            histories: Vec::new(),
        })
    }

    /// Appends the result of a history.
    pub(crate) fn add(&mut self, result: HistoryResult) -> Result<()> {
        let line = Line {
            build: &self.build,
            verdict: if result.wrong.is_empty() {
                RIGHT
            } else {
                "failed"
            },
            result: &result,
        };
        let line = serde_json::to_string(&line)? + "\n";
        self.file.write_all(line.as_bytes())?;
        self.histories.push(result);
        Ok(())
    }

    /// Whether there is at least one history, and all are right.
    pub(crate) fn all_right(&self) -> bool {
        !self.histories.is_empty() && self.histories.iter().all(|result| result.wrong.is_empty())
    }

    /// Prints histories, faults by kind and restorations by outcome; the last line has the format of test results.
    pub(crate) fn summary(&self, out: &mut impl Write) -> Result<()> {
        let mut faults = BTreeMap::<_, usize>::new();
        let mut restorations = BTreeMap::<_, usize>::new();
        for result in &self.histories {
            for fault in &result.faults {
                *faults.entry(fault.kind).or_default() += 1;
            }
            for record in &result.restorations {
                *restorations.entry(record.outcome).or_default() += 1;
            }
        }
        writeln!(out, "\n{} histories; faults:", self.histories.len())?;
        for (kind, count) in faults {
            writeln!(out, "  {kind:<20} {count:>5}")?;
        }
        writeln!(out, "restorations:")?;
        for (outcome, count) in restorations {
            writeln!(out, "  {:<20} {count:>5}", outcome.words())?;
        }
        let checked = self
            .histories
            .iter()
            .filter(|result| result.cross_checked)
            .count();
        writeln!(
            out,
            "verified restorations checked by a recount before the last one: {checked}"
        )?;
        let failed: Vec<u64> = self
            .histories
            .iter()
            .filter(|result| !result.wrong.is_empty())
            .map(|result| result.seed)
            .collect();
        if !failed.is_empty() {
            writeln!(out, "failed seeds: {failed:?}")?;
        }
        writeln!(
            out,
            "{} passed, {} failed",
            self.histories.len() - failed.len(),
            failed.len()
        )?;
        Ok(())
    }
}

impl HistoryResult {
    /// `2 verified, 1 killed`.
    pub(crate) fn restorations_in_words(&self) -> String {
        let mut counts = BTreeMap::<Outcome, usize>::new();
        for record in &self.restorations {
            *counts.entry(record.outcome).or_default() += 1;
        }
        let words = counts
            .iter()
            .map(|(outcome, count)| format!("{count} {}", outcome.words()));
        words.collect::<Vec<_>>().join(", ")
    }
}

impl Outcome {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Killed => "killed",
            Self::Strange => "strange",
        }
    }
}

/// The last result of each seed in these files, of which the later ones have precedence. A file that is missing has none.
pub(crate) fn rows<'p>(files: impl IntoIterator<Item = &'p Path>) -> Result<BTreeMap<u64, Row>> {
    let mut rows = BTreeMap::new();
    for path in files {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        for line in BufReader::new(file).lines() {
            let row: Row =
                serde_json::from_str(&line?).with_context(|| path.display().to_string())?;
            rows.insert(row.seed, row);
        }
    }
    Ok(rows)
}

/// The seeds whose last result was right.
pub(crate) fn right(rows: &BTreeMap<u64, Row>) -> BTreeSet<u64> {
    let right = rows.values().filter(|row| row.verdict == RIGHT);
    right.map(|row| row.seed).collect()
}

/// The file beside the document that keeps what its table is made of, so that other runs go on from there.
pub(crate) fn kept_beside(document: &Path) -> PathBuf {
    document.with_extension("jsonl")
}

/// Writes a line for each of these rows.
fn keep(rows: &BTreeMap<u64, Row>, file: &Path) -> Result<()> {
    let mut lines = String::new();
    for row in rows.values() {
        lines += &serde_json::to_string(row)?;
        lines.push('\n');
    }
    fs::write(file, lines).with_context(|| file.display().to_string())
}

/// The file of results in a folder.
pub(crate) fn file_in(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    Ok(folder.join("results.jsonl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seed: u64, build: &str, verdict: &str) -> String {
        let row = serde_json::json!({
            "build": build, "verdict": verdict, "seed": seed, "seconds": 60, "events": 10, "cells": 5,
            "cross_checked": false, "faults": [], "restorations": [],
        });
        row.to_string() + "\n"
    }

    #[test]
    fn seeds_whose_last_result_is_right_are_skipped_and_no_others() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = file_in(folder.path())?;
        let lines = [
            (1, RIGHT),
            (2, "failed"),
            (3, "failed"),
            (3, RIGHT),
            (4, RIGHT),
            (4, "failed"),
        ];
        let lines = lines.map(|(seed, verdict)| line(seed, "b", verdict));
        fs::write(&file, lines.concat())?;
        assert_eq!(right(&rows([file.as_path()])?), BTreeSet::from([1, 3]));
        Ok(())
    }

    #[test]
    fn a_run_goes_on_from_what_is_kept_beside_the_table() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let document = folder.path().join("torture.md");
        fs::write(&document, document::EMPTY)?;
        let first = folder.path().join("first.jsonl");
        fs::write(&first, line(1, "old", RIGHT) + &line(2, "old", "failed"))?;
        write_into(&document, &first)?;
        let second = folder.path().join("second.jsonl");
        fs::write(&second, line(2, "new", RIGHT) + &line(3, "new", RIGHT))?;
        write_into(&document, &second)?;
        let kept = kept_beside(&document);
        let rows = rows([kept.as_path()])?;
        assert_eq!(right(&rows), BTreeSet::from([1, 2, 3]));
        let builds: Vec<&str> = rows.values().map(|row| row.build.as_str()).collect();
        assert_eq!(builds, ["old", "new", "new"]);
        let table = fs::read_to_string(&document)?;
        assert!(table.contains("3 histories, 3 of them right"), "{table}");
        Ok(())
    }
}
