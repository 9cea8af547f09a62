//! The report of `run`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use stitch_common::cell::CounterName;
use stitch_common::output::{Exit, Report};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_control::control_record::ControlRequest;
use stitch_control::restoration_record::RestorationState;

use super::{Exceptions, NOTHING_DOUBTFUL, Totals, Wrongness, total_lines, unnamed_lines};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunReport {
    pub cells: Cells,
    pub ranges: Vec<RangeReport>,
    /// What the operator accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exceptions: Option<Exceptions>,
    pub corrected: Wrongness,
    pub totals: Totals,
    /// Compared with the plan file, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    /// Cells of counters that no definition names.
    pub unnamed_counters: BTreeMap<CounterName, u64>,
    /// The restoration's id in ZooKeeper; absent if only doubtful ranges were wanted, and there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restoration: Option<String>,
    /// The file to which every correction was written before it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// Who ended it before every range was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aborted: Option<ControlRequest>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why not every range is verified.
    #[serde(skip)]
    pub failure: Option<UserError>,
}

/// Numbers of cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cells {
    /// Judged right or wrong, in the audit or under a lock.
    pub judged: u64,
    /// Wrong, in the audit or under a lock.
    pub wrong: u64,
    pub corrected: u64,
    /// Neither shown right nor wrong: dirty cells of ranges that were released unverified.
    pub unjudged: u64,
}

/// The corrections, compared with a plan file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Cells that are wrong in the plan.
    pub cells: u64,
    /// Those of them that were corrected; `None` if memory was too short to keep the plan's cells.
    pub corrected: Option<u64>,
    /// Corrected cells that are not in the plan: found since.
    pub found_since: Option<u64>,
}

/// The outcome of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeEnd {
    /// Every cell in scope is right.
    Verified,
    /// Every cell in scope is right, as far as the exceptions allow.
    VerifiedWithExceptions,
    /// The corrections would have exceeded a limit.
    Refused,
    /// Released before every cell was shown right.
    Unverified,
    /// Left as it was, because the restoration was aborted.
    NotBegun,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RangeReport {
    pub range: RangeId,
    pub outcome: RangeEnd,
    /// How long it was locked: the longest wait of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_ms: Option<u64>,
    /// How long its lock was waited for.
    pub waited_ms: u64,
    /// Cells that were read under the lock.
    pub read: u64,
    /// Cells that were corrected.
    pub corrected: u64,
    /// Why it is not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<UserError>,
}

impl RangeEnd {
    /// Whether every cell was shown right, with exceptions or without.
    pub const fn is_verified(self) -> bool {
        matches!(self, Self::Verified | Self::VerifiedWithExceptions)
    }
}

impl RunReport {
    /// The report of `run --now --doubtful` if no range is.
    pub(crate) fn nothing_doubtful() -> Self {
        Self {
            cells: Cells::default(),
            ranges: Vec::new(),
            exceptions: None,
            corrected: Wrongness::default(),
            totals: Totals::new(),
            planned: None,
            unnamed_counters: BTreeMap::new(),
            restoration: None,
            journal: None,
            aborted: None,
            notes: Vec::new(),
            failure: None,
        }
    }

    /// The outcome of the whole: an unverified range takes precedence over known drift.
    pub fn state(&self) -> RestorationState {
        let ended = |end: RangeEnd| self.ranges.iter().any(|range| range.outcome == end);
        if self.aborted.is_some() {
            RestorationState::Aborted
        } else if ended(RangeEnd::Unverified) || self.cells.unjudged > 0 {
            RestorationState::Unverified
        } else if ended(RangeEnd::Refused) {
            RestorationState::DriftRemains
        } else if self.exceptions.is_some() {
            RestorationState::VerifiedWithExceptions
        } else {
            RestorationState::Verified
        }
    }

    /// Notes who has aborted the restoration, if that kept a range from being verified.
    pub(crate) fn note_abort(&mut self, abort: Option<ControlRequest>) {
        let is_left = self.ranges.iter().any(|range| !range.outcome.is_verified());
        self.aborted = abort.filter(|_| is_left);
    }

    /// What an aborted restoration has left.
    fn aborted_line(&self) -> Option<String> {
        let request = self.aborted.as_ref()?;
        let not_begun = |range: &&RangeReport| range.outcome == RangeEnd::NotBegun;
        let not_begun = self.ranges.iter().filter(not_begun).count();
        Some(format!(
            "aborted {request}; {not_begun} ranges were left as they were, and what was corrected in others is right"
        ))
    }

    /// How long events had to wait.
    fn locked_line(&self) -> Option<String> {
        let ranges = self.ranges.iter();
        let mut locked: Vec<u64> = ranges.filter_map(|range| range.locked_ms).collect();
        locked.sort_unstable();
        let (longest, median) = (locked.last()?, locked.get(locked.len() / 2)?);
        Some(format!(
            "ranges were locked for {median} ms in the median, {longest} ms at the longest"
        ))
    }

    /// The unverified ranges, grouped by reason.
    fn unverified_lines(&self) -> Vec<String> {
        let mut reasons = BTreeMap::<(&str, &str), Vec<String>>::new();
        for range in &self.ranges {
            if let Some(UserError { message, help }) = &range.error {
                let ranges = reasons.entry((message, help)).or_default();
                ranges.push(range.range.to_string());
            }
        }
        let line = |((message, help), ranges): ((&str, &str), Vec<String>)| {
            let word = if ranges.len() == 1 { "range" } else { "ranges" };
            let ranges = ranges.join(" ");
            format!("{word} {ranges} not verified: {message}\n  help: {help}")
        };
        reasons.into_iter().map(line).collect()
    }
}

impl Report for RunReport {
    fn outcome(&self) -> &'static str {
        match self.state() {
            _ if self.restoration.is_none() => "nothing_doubtful",
            RestorationState::Verified => "verified",
            RestorationState::VerifiedWithExceptions => "verified_with_exceptions",
            RestorationState::DriftRemains => "drift_remains",
            RestorationState::Aborted => "aborted",
            RestorationState::Unverified | RestorationState::Running | RestorationState::Paused => {
                "unverified"
            }
        }
    }

    fn exit(&self) -> Exit {
        match self.state() {
            RestorationState::Verified => Exit::Success,
            RestorationState::VerifiedWithExceptions => Exit::Exceptions,
            RestorationState::DriftRemains => Exit::DriftFound,
            RestorationState::Aborted => Exit::Aborted,
            RestorationState::Unverified | RestorationState::Running | RestorationState::Paused => {
                Exit::Failed
            }
        }
    }

    fn error(&self) -> Option<&UserError> {
        self.failure.as_ref()
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(restoration) = &self.restoration else {
            return writeln!(out, "{NOTHING_DOUBTFUL}");
        };
        let verified = self
            .ranges
            .iter()
            .filter(|range| range.outcome.is_verified());
        let (verified, ranges) = (verified.count(), self.ranges.len());
        let with = if self.exceptions.is_some() {
            " with exceptions"
        } else {
            ""
        };
        writeln!(out, "{verified} of {ranges} ranges verified{with}")?;
        for line in self.exceptions.iter().flat_map(Exceptions::lines) {
            writeln!(out, "exception: {line}")?;
        }
        if let Some(line) = self.aborted_line() {
            writeln!(out, "{line}")?;
        }
        let Cells {
            judged,
            wrong,
            corrected,
            unjudged,
        } = self.cells;
        writeln!(
            out,
            "{judged} cells judged, {wrong} wrong, {corrected} corrected, {unjudged} not verified"
        )?;
        if let Some(line) = self.locked_line() {
            writeln!(out, "{line}")?;
        }
        for line in self.corrected.lines() {
            writeln!(out, "{line}")?;
        }
        if let Some(Planned {
            cells,
            corrected,
            found_since,
        }) = self.planned
        {
            match corrected.zip(found_since) {
                Some((corrected, found_since)) => writeln!(
                    out,
                    "of the {cells} cells of the plan {corrected} were corrected; {found_since} were found since"
                ),
                None => writeln!(
                    out,
                    "the plan has {cells} cells: memory_mib_max has no room to say how many of them were corrected"
                ),
            }?;
        }
        writeln!(out, "totals by counter:")?;
        for line in total_lines(&self.totals) {
            writeln!(out, "{line}")?;
        }
        for line in self.unverified_lines() {
            writeln!(out, "{line}")?;
        }
        for line in unnamed_lines(&self.unnamed_counters)
            .iter()
            .chain(&self.notes)
        {
            writeln!(out, "{line}")?;
        }
        if let Some(journal) = &self.journal {
            writeln!(out, "every correction is written in {journal}")?;
        }
        writeln!(out, "restoration {restoration}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::output::{self, Output};

    fn range(range: u16, outcome: RangeEnd) -> RangeReport {
        let error =
            (outcome != RangeEnd::Verified).then(|| UserError::new("a node is down", "start it"));
        RangeReport {
            range: RangeId(range),
            outcome,
            locked_ms: Some(41),
            waited_ms: 7,
            read: 5,
            corrected: 2,
            error,
        }
    }

    fn report(ranges: Vec<RangeReport>, unjudged: u64) -> RunReport {
        RunReport {
            cells: Cells {
                judged: 9,
                wrong: 2,
                corrected: 2,
                unjudged,
            },
            ranges,
            exceptions: None,
            corrected: Wrongness::of([]),
            totals: Totals::default(),
            planned: Some(Planned {
                cells: 3,
                corrected: Some(2),
                found_since: Some(0),
            }),
            unnamed_counters: BTreeMap::new(),
            restoration: Some("r".to_owned()),
            journal: None,
            aborted: None,
            notes: Vec::new(),
            failure: None,
        }
    }

    fn write(report: RunReport, output: Output) -> (String, u8) {
        let mut out = Vec::new();
        let exit = output::write("run", &Ok(report), output, &mut out, &mut Vec::new()).unwrap();
        (String::from_utf8(out).unwrap(), exit.code())
    }

    #[test]
    fn the_exit_code_is_0_if_all_is_verified_1_for_known_drift_2_for_unverified_ranges() {
        use RangeEnd::{Refused, Unverified, Verified};
        let code = |ends: &[RangeEnd], unjudged| {
            let ranges = ends.iter().map(|end| range(0, *end)).collect();
            write(report(ranges, unjudged), Output::Text).1
        };
        assert_eq!(code(&[Verified, Verified], 0), 0);
        assert_eq!(code(&[Verified, Refused], 0), 1);
        assert_eq!(code(&[Refused, Unverified], 0), 2);
        assert_eq!(
            code(&[Refused], 3),
            2,
            "refused, and cells that were not judged"
        );
    }

    #[test]
    fn the_json_object_has_the_fields_that_programs_read() {
        let ranges = vec![range(3, RangeEnd::Verified), range(4, RangeEnd::Unverified)];
        let (json, _) = write(report(ranges, 0), Output::Json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["outcome"], "unverified");
        for field in ["judged", "wrong", "corrected", "unjudged"] {
            assert!(json["cells"][field].is_u64(), "{json}");
        }
        assert_eq!(json["ranges"][0]["range"], 3);
        assert_eq!(json["ranges"][0]["outcome"], "verified");
        assert_eq!(json["ranges"][0]["locked_ms"], 41);
        assert_eq!(json["ranges"][1]["error"]["help"], "start it");
        assert_eq!(json["planned"]["found_since"], 0);
    }

    #[test]
    fn unverified_ranges_are_reported_with_help() {
        let ranges = vec![range(3, RangeEnd::Verified), range(4, RangeEnd::Unverified)];
        let (text, _) = write(report(ranges, 0), Output::Text);
        assert!(text.contains("1 of 2 ranges verified"), "{text}");
        assert!(
            text.contains("range 4 not verified: a node is down\n  help: start it"),
            "{text}"
        );
    }
}
