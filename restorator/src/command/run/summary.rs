//! Sums up a restoration, range by range, into its report. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use stitch_common::cell::{Cell, CounterName};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_control::restoration_id::RestorationId;

use super::planned_cells::PlannedCells;
use crate::command::plan::Audit;
use crate::context::RestoreContext;
use crate::error::Error;
use crate::lease_keeper::Interruption;
use crate::limits::Exceeded;
use crate::plan::audit_findings::AuditFindings;
use crate::plan::judge::Drift;
use crate::report::run::{Cells, Planned, RangeEnd};
use crate::report::{Exceptions, RangeReport, RunReport, Wrongness};
use crate::restoration::verify::VerifiedRange;
use crate::restoration::{RangeResult, count_judged};
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

pub(super) struct Summary {
    audit: Audit,
    exceptions: Option<Exceptions>,
    planned: Option<Rc<PlannedCells>>,
    restoration: String,
    journal: Option<String>,
    ranges: BTreeMap<RangeId, RangeReport>,
    corrected: Wrongness,
    /// The cells that were corrected, or may have been, in ranges that were paused, or lost, and have begun again.
    before_again: BTreeSet<Cell>,
    /// What the cells of verified ranges should hold, by counter name.
    verified: BTreeMap<CounterName, i128>,
    /// Corrected cells that are in the plan.
    as_planned: u64,
    /// Wrong cells of unverified ranges that were not corrected.
    uncorrected: u64,
    judged: u64,
    unjudged: u64,
    notes: Vec<String>,
}

impl Summary {
    pub(super) fn new(
        audit: Audit,
        exceptions: Option<Exceptions>,
        planned: Option<Rc<PlannedCells>>,
        id: &RestorationId,
    ) -> Self {
        Self {
            audit,
            exceptions,
            planned,
            restoration: id.to_string(),
            journal: None,
            ranges: BTreeMap::new(),
            corrected: Wrongness::default(),
            before_again: BTreeSet::new(),
            verified: BTreeMap::new(),
            as_planned: 0,
            uncorrected: 0,
            judged: 0,
            unjudged: 0,
            notes: Vec::new(),
        }
    }

    pub(super) const fn audit(&self) -> &Audit {
        &self.audit
    }

    pub(super) fn set_journal(&mut self, path: &Path) {
        self.journal = Some(path.display().to_string());
    }

    /// Adds what the operator should know.
    pub(super) fn add_note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds the outcome of one range, or of a part of it.
    pub(super) fn add_range(&mut self, result: RangeResult) {
        let RangeResult {
            range,
            outcome,
            mut corrected,
            unread: _,
            aside,
            all_read,
            findings,
            dirty,
            waited,
            locked,
            begins_again,
        } = result;
        self.add_times(range, waited, locked);
        if begins_again {
            corrected.retain(|cell, _| !aside.contains_key(cell));
            self.add_unfinished(range, &outcome, corrected);
            return;
        }
        let verdicts = findings.of(range);
        let (judged, dirty) = count_judged(verdicts, &dirty);
        let changing: &[Cell] = match &outcome {
            Err(Unverified::KeepsChanging(cells)) => cells,
            Ok(_) | Err(_) => &[],
        };
        for cell in aside.keys().chain(changing) {
            corrected.remove(cell);
            self.uncorrected += u64::from(!verdicts.wrong().contains_key(cell));
        }
        let (end, read, error) = match &outcome {
            Ok(verified) if self.exceptions.is_some() => {
                (RangeEnd::VerifiedWithExceptions, verified.cells(), None)
            }
            Ok(verified) => (RangeEnd::Verified, verified.cells(), None),
            Err(why @ Unverified::Limits(_)) => (RangeEnd::Refused, 0, Some(UserError::from(why))),
            Err(why) => (RangeEnd::Unverified, 0, Some(UserError::from(why))),
        };
        let is_judged = match &outcome {
            Ok(_) => true,
            // Every dirty cell was read under the lock, if it was granted.
            Err(Unverified::Limits(_) | Unverified::IgnoresIncrements(_)) => all_read,
            Err(_) => false,
        };
        self.judged += judged;
        if is_judged {
            self.judged += dirty;
        } else {
            self.unjudged += dirty;
        }
        if end.is_verified() {
            for (name, sum) in verdicts.expected_sums() {
                *self.verified.entry(name.clone()).or_default() += sum;
            }
        } else {
            let known = corrected.keys();
            let known = known.filter(|cell| verdicts.wrong().contains_key(cell));
            self.uncorrected += verdicts.wrong_count() - number(known.count());
        }
        self.note_aside(range, &aside, &outcome);
        // One whose outcome was unknown then may have been corrected again: it is one cell.
        corrected.retain(|cell, _| !self.before_again.contains(cell));
        self.add_corrected(range, &corrected);
        let report = self.report_of(range);
        report.read += number(read);
        if report.outcome.is_verified() {
            report.outcome = end;
            report.error = error;
        }
    }

    /// Adds what was corrected before a range, or a part of it, begins again. What comes then says the rest.
    fn add_unfinished(
        &mut self,
        range: RangeId,
        outcome: &Result<VerifiedRange, Unverified>,
        mut corrected: BTreeMap<Cell, Drift>,
    ) {
        corrected.retain(|cell, _| !self.before_again.contains(cell));
        self.add_corrected(range, &corrected);
        if !matches!(
            outcome,
            Err(Unverified::Error(Error::ResourcesExhausted(_)))
        ) {
            self.before_again.extend(corrected.into_keys());
        }
    }

    /// The report of a range so far.
    fn report_of(&mut self, range: RangeId) -> &mut RangeReport {
        self.ranges.entry(range).or_insert(RangeReport {
            range,
            outcome: RangeEnd::Verified,
            locked_ms: None,
            waited_ms: 0,
            read: 0,
            corrected: 0,
            error: None,
        })
    }

    /// Each part of a range has a lock of its own.
    fn add_times(&mut self, range: RangeId, waited: Duration, locked: Option<Duration>) {
        let report = self.report_of(range);
        report.locked_ms = report.locked_ms.max(locked.map(milliseconds));
        report.waited_ms = report.waited_ms.max(milliseconds(waited));
    }

    fn add_corrected(&mut self, range: RangeId, corrected: &BTreeMap<Cell, Drift>) {
        self.report_of(range).corrected += number(corrected.len());
        for (cell, drift) in corrected {
            self.corrected.add(cell, *drift);
            let planned = self.planned.as_ref();
            if planned.and_then(|planned| planned.contain(cell)) == Some(true) {
                self.as_planned += 1;
            }
        }
    }

    /// Names the cells that were set aside where the error does not.
    fn note_aside(
        &mut self,
        range: RangeId,
        aside: &BTreeMap<Cell, Drift>,
        outcome: &Result<VerifiedRange, Unverified>,
    ) {
        if aside.is_empty() || matches!(outcome, Err(Unverified::IgnoresIncrements(_)) | Ok(_)) {
            return;
        }
        let ignoring = Unverified::IgnoresIncrements(aside.keys().cloned().collect());
        self.notes
            .push(format!("range {range}: {ignoring}; {}", ignoring.help()));
    }

    /// Adds a range that an aborted restoration leaves as it is.
    pub(super) fn add_not_begun(&mut self, range: RangeId, findings: AuditFindings) {
        self.add_aborted(range, findings);
        self.report_of(range).outcome = RangeEnd::NotBegun;
    }

    /// Adds a range that an aborted restoration does not finish.
    pub(super) fn add_aborted(&mut self, range: RangeId, findings: AuditFindings) {
        let why = Error::Interrupted(Interruption::Aborted);
        self.add_range(RangeResult::not_started(range, findings, why));
    }

    /// The report of a restoration that was aborted before any range was begun.
    pub(super) fn aborted<B: Backends>(self, context: &RestoreContext<'_, B>) -> RunReport {
        let why = Error::Interrupted(Interruption::Aborted);
        self.without_ranges(context, RangeEnd::NotBegun, why.into())
    }

    /// The report of a restoration that is refused before any lock: it exceeds a limit.
    pub(super) fn refused<B: Backends>(
        self,
        context: &RestoreContext<'_, B>,
        exceeded: Exceeded,
    ) -> RunReport {
        let failure = UserError::from(&Unverified::Limits(exceeded));
        self.without_ranges(context, RangeEnd::Refused, failure)
    }

    fn without_ranges<B: Backends>(
        self,
        context: &RestoreContext<'_, B>,
        outcome: RangeEnd,
        failure: UserError,
    ) -> RunReport {
        let (judged, wrong, unjudged) = (
            self.audit.cells.judged,
            self.audit.cells.wrong,
            self.audit.cells.unjudged,
        );
        let ranges = context.scope.ranges().map(|range| RangeReport {
            range,
            outcome,
            locked_ms: None,
            waited_ms: 0,
            read: 0,
            corrected: 0,
            error: Some(failure.clone()),
        });
        let ranges = ranges.collect();
        let cells = Cells {
            judged,
            wrong,
            corrected: 0,
            unjudged,
        };
        self.report(cells, ranges, Some(failure))
    }

    /// The report after the last range.
    pub(super) fn finish(mut self) -> RunReport {
        let ranges: Vec<_> = std::mem::take(&mut self.ranges).into_values().collect();
        for (name, sum) in std::mem::take(&mut self.verified) {
            self.audit.totals.entry(name).or_default().after = Some(sum);
        }
        let corrected = self.corrected.extent().cells;
        let cells = Cells {
            judged: self.judged,
            wrong: corrected + self.uncorrected,
            corrected,
            unjudged: self.unjudged,
        };
        let mut unverified = ranges.iter().filter(|range| !range.outcome.is_verified());
        let first = unverified
            .next()
            .and_then(|range| Some((range.range, range.error.clone()?)));
        let more = unverified.count();
        let failure = first.map(|(range, failure)| {
            let others = if more > 0 {
                format!(" and {more} more ranges")
            } else {
                String::new()
            };
            let message = format!("range {range}{others} not verified: {}", failure.message);
            UserError::new(message, failure.help)
        });
        self.report(cells, ranges, failure)
    }

    fn report(
        self,
        cells: Cells,
        ranges: Vec<RangeReport>,
        failure: Option<UserError>,
    ) -> RunReport {
        let corrected = self.corrected.extent().cells;
        let planned = self.planned.as_ref().map(|planned| Planned {
            cells: planned.number(),
            corrected: planned.are_kept().then_some(self.as_planned),
            found_since: planned.are_kept().then_some(corrected - self.as_planned),
        });
        RunReport {
            cells,
            ranges,
            exceptions: self.exceptions,
            corrected: self.corrected,
            totals: self.audit.totals,
            planned,
            unnamed_counters: self.audit.unnamed,
            aborted: None,
            restoration: Some(self.restoration),
            journal: self.journal,
            notes: self.notes,
            failure,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
