//! The table of histories in docs/results/torture.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Row, keep, kept_beside, rows};
use crate::kind::Kind;

/// The lines of the document between which the table is.
const BEGIN: &str = "<!-- tortured: written by deploy/torture --write -->";
const END: &str = "<!-- end of what was tortured -->";
/// A document without a table.
#[cfg(test)]
pub(super) const EMPTY: &str =
    "<!-- tortured: written by deploy/torture --write -->\n<!-- end of what was tortured -->\n";

/// Writes these results, and those that are kept of earlier runs, into the document, and keeps all of them beside it.
pub(crate) fn write_into(document: &Path, results: &Path) -> Result<()> {
    let before = fs::read_to_string(document).with_context(|| document.display().to_string())?;
    let kept = kept_beside(document);
    let rows = rows([kept.as_path(), results])?;
    let after = replace(&before, &table(&rows))?;
    keep(&rows, &kept)?;
    Ok(fs::write(document, after)?)
}

fn replace(document: &str, text: &str) -> Result<String> {
    let missing = || format!("the document has no line `{BEGIN}` followed by `{END}`");
    let (before, rest) = document.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))
}

fn table(rows: &BTreeMap<u64, Row>) -> String {
    let mut text = totals(rows);
    text += "\n| fault | histories | times | description |\n|---|---|---|---|\n";
    for kind in Kind::every() {
        let of_kind = |row: &Row| {
            row.faults
                .iter()
                .filter(|fault| fault.kind == kind.name())
                .count()
        };
        let times: usize = rows.values().map(of_kind).sum();
        let histories = rows.values().filter(|row| of_kind(row) > 0).count();
        let meaning = kind.meaning();
        line(
            &mut text,
            format_args!("| {kind} | {histories} | {times} | {meaning} |"),
        );
    }
    text += "\n<details><summary>every history</summary>\n\n";
    text += "| seed | s | events | cells | faults | restorations | corrected | verdict |\n|---|---|---|---|---|---|---|---|\n";
    for row in rows.values() {
        text += &history(row);
    }
    text += "\n</details>\n";
    text
}

fn totals(rows: &BTreeMap<u64, Row>) -> String {
    let sum = |of: fn(&Row) -> u64| rows.values().map(of).sum::<u64>();
    let right = rows
        .values()
        .filter(|row| row.verdict == super::RIGHT)
        .count();
    let checked = rows.values().filter(|row| row.cross_checked).count();
    let builds: BTreeSet<&str> = rows.values().map(|row| row.build.as_str()).collect();
    let restorations: Vec<_> = rows.values().flat_map(|row| &row.restorations).collect();
    let with = |outcome: &str| {
        let of_outcome = restorations.iter().filter(|one| one.outcome == outcome);
        of_outcome.count()
    };
    format!(
        "{} histories, {right} of them right in every cell: {} events, {} cells, {} faults; {} restorations, of which {} \
         were verified, {} unverified, {} killed; {checked} of the verified ones were checked by a recount before the \
         last restoration. Builds: {}.\n",
        rows.len(),
        sum(|row| row.events),
        sum(|row| row.cells),
        sum(|row| row.faults.len() as u64),
        restorations.len(),
        with("verified"),
        with("unverified"),
        with("killed"),
        Vec::from_iter(builds).join(", "),
    )
}

fn history(row: &Row) -> String {
    let mut faults = BTreeMap::<&str, usize>::new();
    for fault in &row.faults {
        *faults.entry(&fault.kind).or_default() += 1;
    }
    let times = |(kind, times): (&&str, &usize)| match times {
        1 => (*kind).to_owned(),
        times => format!("{times} {kind}"),
    };
    let faults: Vec<String> = faults.iter().map(times).collect();
    let outcomes: Vec<&str> = row
        .restorations
        .iter()
        .map(|one| one.outcome.as_str())
        .collect();
    let corrected: u64 = row.restorations.iter().map(|one| one.corrected).sum();
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "| {} | {} | {} | {} | {} | {} | {corrected} | {} |",
            row.seed,
            row.seconds,
            row.events,
            row.cells,
            faults.join(", "),
            outcomes.join(", "),
            row.verdict
        ),
    );
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(text, "{arguments}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_and_nothing_else() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replace(&document, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert!(replace("nothing", "new").is_err());
    }

    #[test]
    fn a_fault_of_two_histories_is_counted_in_both() {
        let row = |seed: u64, kinds: &[&str]| -> (u64, Row) {
            let faults: Vec<_> = kinds
                .iter()
                .map(|kind| serde_json::json!({"kind": kind}))
                .collect();
            let row = serde_json::json!({
                "build": "b", "verdict": "right", "seed": seed, "seconds": 60, "events": 10, "cells": 5,
                "cross_checked": true, "faults": faults,
                "restorations": [{"outcome": "verified", "corrected": 3}],
            });
            (seed, serde_json::from_value(row).unwrap())
        };
        let rows = BTreeMap::from([
            row(1, &["kill-processor", "kill-processor"]),
            row(2, &["kill-processor", "kafka-line"]),
        ]);
        let text = table(&rows);
        assert!(text.contains("| kill-processor | 2 | 3 |"), "{text}");
        assert!(
            text.contains("| 1 | 60 | 10 | 5 | 2 kill-processor | verified | 3 | right |"),
            "{text}"
        );
    }
}
