//! The report of `sums`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;
use stitch_common::cell::{Amount, CellSlot, Counter, CounterName, Granularity};
use stitch_common::definition::Definitions;
use stitch_common::output::{Exit, Report};
use stitch_common::printable::printable;
use stitch_common::range::RangeId;

use super::{CELLS_IN_TEXT_MAX, CELLS_NAMED_MAX, Exceptions, NOTHING_DOUBTFUL, unnamed_lines};
use crate::sums::SumVerdict;

/// What `sums` has found. Names at most [`CELLS_NAMED_MAX`] sums, so its size does not depend on the table's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Counters (a definition and a key) whose sums were checked.
    pub(crate) counters: u64,
    /// Their cells.
    pub(crate) cells: u64,
    /// Sums that do not agree.
    pub(crate) broken: u64,
    /// Sums that change too often to be judged.
    pub(crate) unjudged: u64,
    /// How many sums do not agree, by range.
    pub(crate) ranges: BTreeMap<RangeId, u64>,
    named: Vec<BrokenSum>,
    uncheckable: BTreeSet<CounterName>,
    unnamed: BTreeMap<CounterName, u64>,
}

impl Findings {
    /// Nothing yet; these definitions have no sums.
    pub(crate) fn new(uncheckable: Vec<CounterName>) -> Self {
        Self {
            uncheckable: uncheckable.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adds what is known of the sum of `part` over the bucket `whole`.
    pub(crate) fn add(
        &mut self,
        range: RangeId,
        counter: &Counter,
        (whole, part): (CellSlot, Option<Granularity>),
        verdict: SumVerdict,
    ) {
        match verdict {
            SumVerdict::Unjudged => self.unjudged += 1,
            SumVerdict::Broken(difference) => {
                self.broken += 1;
                *self.ranges.entry(range).or_default() += 1;
                if self.named.len() < CELLS_NAMED_MAX {
                    let sum = BrokenSum::new(range, counter, (whole, part), difference);
                    self.named.push(sum);
                }
            }
        }
    }

    /// Counts rows of a counter that no definition names.
    pub(crate) fn note_unnamed(&mut self, name: &CounterName, rows: u64) {
        *self.unnamed.entry(name.clone()).or_default() += rows;
    }

    /// Counts a cell that has no sums, if that is because no definition names its counter.
    pub(crate) fn note_unchecked(&mut self, name: &CounterName, definitions: &Definitions) {
        if definitions.counter(&name.0).is_none() {
            self.note_unnamed(name, 1);
        }
    }

    /// Adds the findings of other tokens.
    pub(crate) fn extend(&mut self, other: Self) {
        self.counters += other.counters;
        self.cells += other.cells;
        self.broken += other.broken;
        self.unjudged += other.unjudged;
        for (range, sums) in other.ranges {
            *self.ranges.entry(range).or_default() += sums;
        }
        for (name, rows) in &other.unnamed {
            self.note_unnamed(name, *rows);
        }
        self.uncheckable.extend(other.uncheckable);
        self.named.extend(other.named);
        self.named.truncate(CELLS_NAMED_MAX);
    }
}

/// A bucket that its parts do not add up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokenSum {
    range: RangeId,
    counter: String,
    key: String,
    granularity: &'static str,
    bucket: String,
    /// The granularity of its parts.
    parts: Option<&'static str>,
    /// The sum of the parts minus the bucket.
    difference: i64,
}

impl BrokenSum {
    fn new(
        range: RangeId,
        counter: &Counter,
        (whole, part): (CellSlot, Option<Granularity>),
        difference: Amount,
    ) -> Self {
        Self {
            range,
            counter: counter.name.0.to_string(),
            key: counter.key.0.to_string(),
            granularity: whole.granularity.name(),
            bucket: whole.bucket.to_string(),
            parts: part.map(Granularity::name),
            difference: difference.0,
        }
    }

    fn line(&self) -> String {
        let (counter, key) = (printable(&self.counter), printable(&self.key));
        let (granularity, bucket) = (self.granularity, &self.bucket);
        let parts = self.parts.unwrap_or("part");
        let size = self.difference.unsigned_abs();
        let than = if self.difference < 0 { "less" } else { "more" };
        format!(
            "  {counter}/{key} {granularity} {bucket}: its {parts} cells add up to {size} {than}"
        )
    }
}

/// The report of `sums`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SumsReport {
    /// Counters (a definition and a key) whose sums were checked.
    pub counters: u64,
    /// Their cells.
    pub cells: u64,
    /// Sums that do not agree.
    pub broken: u64,
    /// Sums that events change too often to be judged without a lock.
    pub unjudged: u64,
    /// Up to [`CELLS_NAMED_MAX`] of those that do not agree.
    pub named: Vec<BrokenSum>,
    /// The ranges with sums that do not agree, and how many; each is now doubtful.
    pub ranges: BTreeMap<RangeId, u64>,
    /// Definitions with a single granularity: there is nothing to compare.
    pub unchecked_counters: BTreeSet<CounterName>,
    /// Cells of counters that no definition names.
    pub unnamed_counters: BTreeMap<CounterName, u64>,
    /// What the operator accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exceptions: Option<Exceptions>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Only doubtful ranges were wanted, and there are none: nothing was read.
    #[serde(skip)]
    pub nothing_doubtful: bool,
}

impl SumsReport {
    pub(crate) fn new(findings: Findings, exceptions: Option<Exceptions>) -> Self {
        Self {
            counters: findings.counters,
            cells: findings.cells,
            broken: findings.broken,
            unjudged: findings.unjudged,
            named: findings.named,
            ranges: findings.ranges,
            unchecked_counters: findings.uncheckable,
            unnamed_counters: findings.unnamed,
            exceptions,
            notes: Vec::new(),
            nothing_doubtful: false,
        }
    }

    /// The report of `sums --doubtful` if no range is.
    pub(crate) fn nothing_doubtful() -> Self {
        Self {
            nothing_doubtful: true,
            ..Self::new(Findings::default(), None)
        }
    }
}

impl Report for SumsReport {
    fn outcome(&self) -> &'static str {
        if self.nothing_doubtful {
            "nothing_doubtful"
        } else if self.broken > 0 {
            "sums_differ"
        } else if self.unjudged > 0 {
            "unjudged"
        } else if self.exceptions.is_some() {
            "sums_agree_with_exceptions"
        } else {
            "sums_agree"
        }
    }

    fn exit(&self) -> Exit {
        if self.broken > 0 {
            Exit::DriftFound
        } else if self.unjudged > 0 {
            Exit::Failed
        } else if self.exceptions.is_some() {
            Exit::Exceptions
        } else {
            Exit::Success
        }
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.nothing_doubtful {
            return writeln!(out, "{NOTHING_DOUBTFUL}");
        }
        let (counters, cells) = (self.counters, self.cells);
        writeln!(
            out,
            "{cells} cells of {counters} counters read: {} sums do not agree",
            self.broken
        )?;
        for sum in self.named.iter().take(CELLS_IN_TEXT_MAX) {
            writeln!(out, "{}", sum.line())?;
        }
        let shown = u64::try_from(CELLS_IN_TEXT_MAX).unwrap_or(u64::MAX);
        if self.broken > shown {
            writeln!(out, "  … and {} more", self.broken - shown)?;
        }
        if self.unjudged > 0 {
            writeln!(
                out,
                "{} sums not judged: events change them all the time; run it again, or audit these counters with `plan`",
                self.unjudged
            )?;
        }
        for name in &self.unchecked_counters {
            writeln!(
                out,
                "{} has a single granularity: it has no sums to compare",
                printable(&name.0)
            )?;
        }
        for line in self.exceptions.iter().flat_map(Exceptions::lines) {
            writeln!(out, "exception: {line}")?;
        }
        for line in unnamed_lines(&self.unnamed_counters)
            .iter()
            .chain(&self.notes)
        {
            writeln!(out, "{line}")?;
        }
        if self.broken > 0 {
            return writeln!(
                out,
                "{} ranges are doubtful now; to repair them: stitch-restorator run --now --doubtful",
                self.ranges.len()
            );
        }
        writeln!(
            out,
            "what is wrong in every granularity alike breaks no sum: only `plan` finds it"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::output::{self, Output};
    use stitch_testkit::samples::slot_at;

    fn findings(broken: u64, unjudged: u64) -> Findings {
        let mut findings = Findings::new(vec![CounterName("bytes".into())]);
        let day = slot_at(Granularity::Day, 0);
        let counter = Counter::new("plays", "a");
        for _ in 0..broken {
            let sum = (day, Some(Granularity::Hour));
            findings.add(RangeId(3), &counter, sum, SumVerdict::Broken(Amount(-2)));
        }
        for _ in 0..unjudged {
            findings.add(RangeId(3), &counter, (day, None), SumVerdict::Unjudged);
        }
        findings
    }

    fn write(findings: Findings, output: Output) -> (String, u8) {
        let report = SumsReport::new(findings, None);
        let mut out = Vec::new();
        let exit = output::write("sums", &Ok(report), output, &mut out, &mut Vec::new()).unwrap();
        (String::from_utf8(out).unwrap(), exit.code())
    }

    #[test]
    fn broken_sums_are_named_and_end_with_1_even_if_others_are_unjudged() {
        let (text, code) = write(findings(25, 1), Output::Text);
        assert!(text.contains("25 sums do not agree"), "{text}");
        let line = "plays/a day 1970-01-01T00:00:00Z: its hour cells add up to 2 less";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("and 5 more"), "{text}");
        assert!(text.contains("bytes has a single granularity"), "{text}");
        assert!(text.contains("run --now --doubtful"), "{text}");
        assert_eq!(code, 1);
        let (json, _) = write(findings(25, 1), Output::Json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["outcome"], "sums_differ");
        assert_eq!(json["ranges"]["3"], 25);
        assert_eq!(json["named"][0]["difference"], -2);
    }

    #[test]
    fn unjudged_sums_end_with_2_and_none_with_0() {
        let (text, code) = write(findings(0, 1), Output::Text);
        assert!(text.contains("1 sums not judged"), "{text}");
        assert_eq!(code, 2);
        let (text, code) = write(findings(0, 0), Output::Text);
        assert!(text.contains("only `plan` finds it"), "{text}");
        assert_eq!(code, 0);
    }

    #[test]
    fn however_many_sums_are_broken_a_bounded_number_is_named() {
        let mut all = Findings::default();
        for _ in 0..3 {
            all.extend(findings(700, 0));
        }
        assert_eq!((all.broken, all.named.len()), (2100, CELLS_NAMED_MAX));
        assert_eq!(all.ranges, BTreeMap::from([(RangeId(3), 2100)]));
    }
}
