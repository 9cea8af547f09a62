//! The report of `plan`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use stitch_common::cell::CounterName;
use stitch_common::output::{Exit, Report};

use super::{Exceptions, NOTHING_DOUBTFUL, Totals, Wrongness, total_lines, unnamed_lines};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    pub cells: Cells,
    /// How many cells may remain unjudged before the outcome is `unjudged`.
    pub unjudged_max: u64,
    /// What the operator accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exceptions: Option<Exceptions>,
    pub wrong: Wrongness,
    pub totals: Totals,
    /// Cells of counters that no definition names.
    pub unnamed_counters: BTreeMap<CounterName, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_file: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Only doubtful ranges were wanted, and there are none: nothing was read.
    #[serde(skip)]
    pub nothing_doubtful: bool,
}

/// Numbers of cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cells {
    /// Judged right or wrong.
    pub judged: u64,
    /// Judged wrong.
    pub wrong: u64,
    /// Dirty: events change them too often for them to be judged without a lock.
    pub unjudged: u64,
}

impl Cells {
    /// How many of them may remain unjudged unless the operator says otherwise: one in a hundred.
    pub const fn unjudged_max(self) -> u64 {
        self.judged.saturating_add(self.unjudged) / 100
    }
}

impl PlanReport {
    /// The report of `plan --doubtful` if no range is.
    pub(crate) fn nothing_doubtful() -> Self {
        Self {
            cells: Cells::default(),
            unjudged_max: 0,
            exceptions: None,
            wrong: Wrongness::default(),
            totals: Totals::new(),
            unnamed_counters: BTreeMap::new(),
            plan_file: None,
            notes: Vec::new(),
            nothing_doubtful: true,
        }
    }

    const fn is_unjudged(&self) -> bool {
        self.cells.unjudged > self.unjudged_max
    }
}

impl Report for PlanReport {
    fn outcome(&self) -> &'static str {
        if self.nothing_doubtful {
            "nothing_doubtful"
        } else if self.cells.wrong > 0 {
            "wrong"
        } else if self.is_unjudged() {
            "unjudged"
        } else if self.exceptions.is_some() {
            "nothing_wrong_with_exceptions"
        } else {
            "nothing_wrong"
        }
    }

    fn exit(&self) -> Exit {
        if self.cells.wrong > 0 {
            Exit::DriftFound
        } else if self.is_unjudged() {
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
        let Cells {
            judged,
            wrong,
            unjudged,
        } = self.cells;
        writeln!(
            out,
            "{judged} cells judged: {wrong} wrong, {} right",
            judged - wrong.min(judged)
        )?;
        if unjudged > 0 {
            writeln!(
                out,
                "{unjudged} cells not judged: they have events above the checkpoints, because events change them all \
                 the time or no processor counts; `run` verifies them"
            )?;
        }
        if self.is_unjudged() {
            writeln!(
                out,
                "that is more than the {} that --max-unjudged allows: whether these cells are right is not known",
                self.unjudged_max
            )?;
        }
        for line in self.exceptions.iter().flat_map(Exceptions::lines) {
            writeln!(out, "exception: {line}")?;
        }
        for line in self.wrong.lines() {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "totals by counter, of the cells that were judged:")?;
        for line in total_lines(&self.totals) {
            writeln!(out, "{line}")?;
        }
        for line in unnamed_lines(&self.unnamed_counters)
            .iter()
            .chain(&self.notes)
        {
            writeln!(out, "{line}")?;
        }
        match (&self.plan_file, wrong) {
            (_, 0) => Ok(()),
            (Some(file), _) => writeln!(out, "to repair them: stitch-restorator run {file}"),
            (None, _) => writeln!(
                out,
                "to repair them: stitch-restorator run --now, with the same scope"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::judge::Drift;
    use stitch_common::cell::{Cell, Count, Counter, Granularity};
    use stitch_common::output::{self, Output};
    use stitch_testkit::samples::slot_at;

    fn report(wrong: u64, unjudged_max: u64) -> PlanReport {
        let cell = Cell {
            counter: Counter::new("plays", "a"),
            slot: slot_at(Granularity::Hour, 0),
        };
        let drift = Drift::between(Count(3), Count(6)).unwrap();
        let cells = (0..wrong).map(|_| (&cell, drift));
        PlanReport {
            cells: Cells {
                judged: 10,
                wrong,
                unjudged: 2,
            },
            unjudged_max,
            exceptions: None,
            wrong: Wrongness::of(cells),
            totals: Totals::default(),
            unnamed_counters: BTreeMap::from([(CounterName("skips".into()), 4)]),
            plan_file: None,
            notes: Vec::new(),
            nothing_doubtful: false,
        }
    }

    fn write(report: PlanReport, output: Output) -> (String, u8) {
        let mut out = Vec::new();
        let exit = output::write("plan", &Ok(report), output, &mut out, &mut Vec::new()).unwrap();
        (String::from_utf8(out).unwrap(), exit.code())
    }

    #[test]
    fn wrong_cells_are_counted_by_direction_and_end_with_1() {
        let (text, code) = write(report(25, 0), Output::Text);
        assert!(text.contains("10 cells judged: 25 wrong"), "{text}");
        assert!(text.contains("25 doubled; total change 75"), "{text}");
        assert!(
            text.contains("plays/a hour 1970-01-01T00:00:00Z: 6, should be 3 (doubled)"),
            "{text}"
        );
        assert!(text.contains("and 5 more"), "{text}");
        assert!(text.contains("2 cells not judged"), "{text}");
        assert!(
            text.contains("no definition names the counter \"skips\""),
            "{text}"
        );
        assert!(text.contains("run --now"), "{text}");
        assert_eq!(code, 1);
    }

    #[test]
    fn more_unjudged_cells_than_allowed_are_an_outcome_of_their_own_that_ends_with_2() {
        let (text, code) = write(report(0, 1), Output::Text);
        assert!(
            text.contains("more than the 1 that --max-unjudged allows"),
            "{text}"
        );
        assert_eq!(code, 2);
        let (json, _) = write(report(0, 1), Output::Json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["outcome"], "unjudged");
        assert_eq!(json["unjudged_max"], 1);
        let cells = |judged, unjudged| Cells {
            judged,
            wrong: 0,
            unjudged,
        };
        assert_eq!(cells(50, 1000).unjudged_max(), 10);
        assert_eq!(cells(99, 0).unjudged_max(), 0);
    }

    #[test]
    fn nothing_wrong_ends_with_0() {
        let (json, code) = write(report(0, 2), Output::Json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["command"], "plan");
        assert_eq!(json["outcome"], "nothing_wrong");
        assert_eq!(json["cells"]["unjudged"], 2);
        assert_eq!(json["wrong"]["directions"]["missing"], 0);
        assert_eq!(code, 0);
    }
}
