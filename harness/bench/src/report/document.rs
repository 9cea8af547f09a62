//! The results in the published document: a line for each run with the latest rows of some part, and the rows of all
//! parts. A run of some parts leaves the rows of the others as they are.

use anyhow::{Context, Result};

/// The lines of the document between which the results are.
const BEGIN: &str = "<!-- measured: written by deploy/bench --write -->";
const END: &str = "<!-- end of what was measured -->";
const HEAD: &str =
    "| measured | Stitch | alternative | ratio | aim | met |\n|---|---|---|---|---|---|\n";

/// Runs and rows of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    runs: Vec<Run>,
    /// Rows of the table, each of which begins with the letter of its part.
    rows: Vec<String>,
}

/// A run, and the parts whose latest rows are its.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    parts: Vec<char>,
    /// The machine, the build and the date.
    circumstances: String,
}

impl Measured {
    /// The results of one run.
    pub(super) fn new(circumstances: &str, rows: Vec<String>) -> Self {
        let mut parts: Vec<char> = rows.iter().filter_map(|row| part(row)).collect();
        parts.dedup();
        let run = Run {
            parts,
            circumstances: circumstances.to_owned(),
        };
        Self {
            runs: vec![run],
            rows,
        }
    }

    /// The text that is printed and published.
    pub(super) fn markdown(&self) -> String {
        let runs = self.runs.iter().map(
            |Run {
                 parts,
                 circumstances,
             }| {
                let parts: Vec<String> = parts.iter().map(|part| format!("({part})")).collect();
                format!("- {}: {circumstances}\n", parts.join(", "))
            },
        );
        let rows = self.rows.iter().map(|row| format!("{row}\n"));
        format!(
            "{}\n{HEAD}{}",
            runs.collect::<String>(),
            rows.collect::<String>()
        )
    }

    fn parse(text: &str) -> Self {
        let run = |line: &str| {
            let (parts, circumstances) = line.strip_prefix("- (")?.split_once("): ")?;
            Some(Run {
                parts: parts.chars().filter(char::is_ascii_lowercase).collect(),
                circumstances: circumstances.to_owned(),
            })
        };
        Self {
            runs: text.lines().filter_map(run).collect(),
            rows: text
                .lines()
                .filter(|line| part(line).is_some())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Replaces the same parts of `before`.
    fn over(self, before: Self) -> Self {
        let ours: Vec<char> = self.runs.iter().flat_map(|run| run.parts.clone()).collect();
        let kept = before.runs.into_iter().map(|mut run| {
            run.parts.retain(|part| !ours.contains(part));
            run
        });
        let mut runs: Vec<Run> = kept.chain(self.runs).collect();
        runs.retain(|run| !run.parts.is_empty());
        runs.sort_by_key(|run| run.parts.first().copied());
        let mut rows = before.rows;
        rows.retain(|row| part(row).is_none_or(|part| !ours.contains(&part)));
        rows.extend(self.rows);
        rows.sort_by_key(|row| part(row));
        Self { runs, rows }
    }
}

/// The document with these results.
pub(super) fn with(document: &str, measured: Measured) -> Result<String> {
    let missing = || format!("the document has no line `{BEGIN}` followed by `{END}`");
    let (before, rest) = document.split_once(BEGIN).with_context(missing)?;
    let (old, after) = rest.split_once(END).with_context(missing)?;
    let text = measured.over(Measured::parse(old)).markdown();
    Ok(format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))
}

/// The letter with which a row of the table begins.
fn part(row: &str) -> Option<char> {
    let (part, _) = row.strip_prefix("| (")?.split_once(')')?;
    let mut letters = part.chars();
    let part = letters.next()?;
    letters.next().is_none().then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> String {
        format!("before\n{BEGIN}\n{text}{END}\nafter\n")
    }

    fn measured(circumstances: &str, rows: &[&str]) -> Measured {
        Measured::new(
            circumstances,
            rows.iter().map(|row| (*row).to_owned()).collect(),
        )
    }

    #[test]
    fn measured_rows_are_replaced_and_nothing_else() {
        let all = measured(
            "monday",
            &["| (a) 1 |", "| (a) 2 |", "| (b) 3 |", "| (c) 4 |"],
        );
        let first = with(&document("old\n"), all.clone()).unwrap();
        assert_eq!(first, document(&format!("\n{}\n", all.markdown())));
        assert!(first.contains("- (a), (b), (c): monday\n"), "{first}");
        assert_eq!(with(&first, all).unwrap(), first);
        assert!(with("nothing", Measured::default()).is_err());
    }

    #[test]
    fn parts_that_were_not_measured_keep_their_rows_and_their_run() {
        let all = measured(
            "monday",
            &["| (a) 1 |", "| (b) 2 |", "| (b) 3 |", "| (c) 4 |"],
        );
        let first = with(&document(""), all).unwrap();
        let second = with(&first, measured("tuesday", &["| (b) 5 |"])).unwrap();
        let expected = format!(
            "\n- (a), (c): monday\n- (b): tuesday\n\n{HEAD}| (a) 1 |\n| (b) 5 |\n| (c) 4 |\n\n"
        );
        assert_eq!(second, document(&expected));
        let third = with(
            &second,
            measured("friday", &["| (a) 6 |", "| (c) 7 |", "| (d) 8 |"]),
        );
        let expected = format!(
            "\n- (a), (c), (d): friday\n- (b): tuesday\n\n{HEAD}| (a) 6 |\n| (b) 5 |\n| (c) 7 |\n| (d) 8 |\n\n"
        );
        assert_eq!(third.unwrap(), document(&expected));
    }
}
