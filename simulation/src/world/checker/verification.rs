//! I3: a range that a restoration calls verified is right when the restoration gives it back.

use stitch_common::invariant::Invariant;
use stitch_restorator::report::run::RangeEnd;
use stitch_restorator::report::{RangeReport, RunReport};

use super::{Finding, Kind, Wrong};
use crate::world::World;

impl World {
    /// Checks a range whose exclusive lock is released: from now on others may write.
    pub(super) fn exclusive_released(&self, session: i64, range: u16) {
        let mut wrong = self.wrong_cells(session, range);
        wrong.extend(self.in_flight_in(range));
        let mut checker = self.checker.borrow_mut();
        if checker.restoring.get(&range) == Some(&session) {
            checker.restoring.remove(&range);
        }
        checker.verifications.insert((session, range), wrong);
    }

    /// The cells of the range that do not equal the total of the events below the checkpoint.
    fn wrong_cells(&self, session: i64, range: u16) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let checker = self.checker.borrow();
        let cells = self.cluster.table.borrow();
        // What an audit has judged stays judged when its process goes on in another session.
        let began = checker.start_of_process(session);
        for (index, checked) in checker.cells.iter().enumerate() {
            // A cell that is changed by hand meanwhile cannot be verified.
            let meanwhile = checked
                .changed_by_hand
                .is_some_and(|changed| changed >= began);
            if checked.range != range || meanwhile {
                continue;
            }
            let expected =
                checker.expected(index, |partition| self.checkpoint_of(partition, range));
            let truth = cells.count(&checked.cell).0;
            if truth != expected {
                wrong.push(Wrong {
                    counter: Some(checked.cell.counter.name.clone()),
                    text: format!("{} holds {truth} instead of {expected}", checked.cell),
                });
            }
        }
        wrong
    }

    /// An increment in flight that could still change a cell of the range.
    fn in_flight_in(&self, range: u16) -> Option<Wrong> {
        let pending = self.cluster.pending.borrow();
        let mut in_doubt = pending.in_doubt();
        let (_, by, _) = in_doubt.find(|(_, _, of)| *of == range)?;
        Some(Wrong {
            counter: None,
            text: format!("an increment of session {by:x} is in flight"),
        })
    }

    /// Checks an audit: it finds no more wrong cells than have a cause to be.
    pub(crate) fn check_audit(&self, wrong: u64) {
        let suspects = self.checker.borrow().suspects();
        if wrong > u64::try_from(suspects).unwrap_or(u64::MAX) {
            let what = format!("{wrong} cells are called wrong, but only {suspects} can be");
            self.report(Finding::new(Kind::Unexplained, what));
        }
    }

    /// Checks the report of a restoration of all counters, or of one.
    pub(crate) fn check_report(&self, process: usize, counter: Option<&str>, report: &RunReport) {
        // A range that was given back counts cells as wrong that are only dirty.
        let is_verified = |range: &RangeReport| range.outcome == RangeEnd::Verified;
        if report.ranges.iter().all(is_verified) {
            self.check_audit(report.cells.wrong);
        }
        let checker = self.checker.borrow();
        // A range that its process has lost with a session began again in a later one. Ids of sessions may be given again.
        let began = |session: &i64| {
            let of_session = checker.sessions.get(session);
            let own = of_session.filter(|(number, _)| *number == process);
            own.map(|(_, began)| *began)
        };
        let last_release = |range: u16| {
            let releases = checker.verifications.iter();
            let releases = releases.filter(|((_, of), _)| *of == range);
            let releases = releases.filter_map(|((by, _), wrong)| Some((began(by)?, wrong)));
            releases.max_by_key(|(began, _)| *began)
        };
        let mut wrong = None;
        for range in report
            .ranges
            .iter()
            .filter(|range| range.outcome == RangeEnd::Verified)
        {
            let in_scope = |wrong: &&Wrong| match (&wrong.counter, counter) {
                (Some(of), Some(scoped)) => *of.0 == *scoped,
                (None, _) | (_, None) => true,
            };
            let found = last_release(range.range.0).map(|(_, found)| found);
            if let Some(Wrong { text, .. }) = found.into_iter().flatten().find(in_scope) {
                wrong = Some(format!(
                    "range {} is called verified, and {text}",
                    range.range
                ));
            }
        }
        drop(checker);
        if let Some(what) = wrong {
            self.report(Finding::broken(Invariant::VerifiedValues, what));
        }
    }
}
