//! What came of the histories: a line of JSON for each, a summary, and the table of docs/results/torture.md.

mod document;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::attempts::Outcome;
use crate::history::Told;

pub(crate) use document::write_into;

/// The verdict of a history that went well.
pub(crate) const RIGHT: &str = "right";

/// The results of this run and, in their file, of those before.
pub(crate) struct Results {
    file: File,
    build: String,
    /// Of this run.
    pub(crate) told: Vec<Told>,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    build: &'a str,
    verdict: &'a str,
    #[serde(flatten)]
    told: &'a Told,
}

/// As much of a line of the file as the table takes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) build: String,
    pub(crate) verdict: String,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) events: u64,
    pub(crate) cells: u64,
    pub(crate) contradictable: bool,
    pub(crate) faults: Vec<RowFault>,
    pub(crate) restorations: Vec<RowRestoration>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RowFault {
    pub(crate) kind: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RowRestoration {
    pub(crate) outcome: String,
    pub(crate) corrected: u64,
}

impl Results {
    /// Adds to this file; `build` is the version of the product.
    pub(crate) fn into(path: &Path, build: String) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self {
            file: file.with_context(|| path.display().to_string())?,
            build,
            told: Vec::new(),
        })
    }

    /// Keeps the result of a history.
    pub(crate) fn add(&mut self, told: Told) -> Result<()> {
        let line = Line {
            build: &self.build,
            verdict: if told.wrong.is_empty() {
                RIGHT
            } else {
                "failed"
            },
            told: &told,
        };
        let line = serde_json::to_string(&line)? + "\n";
        self.file.write_all(line.as_bytes())?;
        self.told.push(told);
        Ok(())
    }

    /// Whether there are histories, and all went well.
    pub(crate) fn all_right(&self) -> bool {
        !self.told.is_empty() && self.told.iter().all(|told| told.wrong.is_empty())
    }

    /// Histories, faults by kind, restorations by outcome; the last line counts like a test's.
    pub(crate) fn summary(&self, out: &mut impl Write) -> Result<()> {
        let mut faults = BTreeMap::<_, usize>::new();
        let mut restorations = BTreeMap::<_, usize>::new();
        for told in &self.told {
            for fault in &told.faults {
                *faults.entry(fault.kind).or_default() += 1;
            }
            for record in &told.restorations {
                *restorations.entry(record.outcome).or_default() += 1;
            }
        }
        writeln!(out, "\n{} histories; faults:", self.told.len())?;
        for (kind, count) in faults {
            writeln!(out, "  {kind:<20} {count:>5}")?;
        }
        writeln!(out, "restorations:")?;
        for (outcome, count) in restorations {
            writeln!(out, "  {:<20} {count:>5}", outcome.words())?;
        }
        let held = self.told.iter().filter(|told| told.contradictable).count();
        writeln!(
            out,
            "proofs held against a recount before the last restoration: {held}"
        )?;
        let failed: Vec<u64> = self
            .told
            .iter()
            .filter(|told| !told.wrong.is_empty())
            .map(|told| told.seed)
            .collect();
        if !failed.is_empty() {
            writeln!(out, "failed seeds: {failed:?}")?;
        }
        writeln!(
            out,
            "{} passed, {} failed",
            self.told.len() - failed.len(),
            failed.len()
        )?;
        Ok(())
    }
}

impl Told {
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
            Self::Unverified => "not proved",
            Self::Killed => "killed",
            Self::Strange => "strange",
        }
    }
}

/// All results that the file has, of this build; the last of each seed.
pub(crate) fn rows(path: &Path, build: Option<&str>) -> Result<BTreeMap<u64, Row>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut rows = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        let row: Row = serde_json::from_str(&line?)?;
        if build.is_none_or(|build| row.build == build) {
            rows.insert(row.seed, row);
        }
    }
    Ok(rows)
}

/// The seeds whose last result was right.
pub(crate) fn right(path: &Path) -> Result<BTreeSet<u64>> {
    let rows = rows(path, None)?.into_values();
    let right = rows.filter(|row| row.verdict == RIGHT);
    Ok(right.map(|row| row.seed).collect())
}

/// Where the results are kept, below a folder.
pub(crate) fn file_in(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    Ok(folder.join("results.jsonl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_well_at_last_is_left_out_and_nothing_else() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = file_in(folder.path())?;
        let line = |seed: u64, verdict: &str| {
            let row = serde_json::json!({
                "build": "b", "verdict": verdict, "seed": seed, "seconds": 60, "events": 10, "cells": 5,
                "contradictable": false, "faults": [], "restorations": [],
            });
            row.to_string() + "\n"
        };
        let lines = [
            (1, RIGHT),
            (2, "failed"),
            (3, "failed"),
            (3, RIGHT),
            (4, RIGHT),
            (4, "failed"),
        ];
        fs::write(
            &file,
            lines.map(|(seed, verdict)| line(seed, verdict)).concat(),
        )?;
        assert_eq!(right(&file)?, BTreeSet::from([1, 3]));
        Ok(())
    }
}
