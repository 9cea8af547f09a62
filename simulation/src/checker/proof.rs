//! I3: what a restoration calls proved is right at the moment at which it gives the range back.

use stitch_common::invariant::Invariant;
use stitch_restorator::report::run::RangeEnd;
use stitch_restorator::report::{RangeReport, RunReport};

use super::{Finding, Kind};
use crate::world::World;

impl World {
    /// A range's exclusive lock goes: from now on others may write.
    pub(super) fn exclusive_ends(&self, session: i64, range: u16) {
        let right = self
            .is_right(session, range)
            .and_then(|()| self.is_settled(range));
        let mut checker = self.checker.borrow_mut();
        if checker.inside.get(&range) == Some(&session) {
            checker.inside.remove(&range);
        }
        checker.proofs.insert((session, range), right);
    }

    /// Whether every cell of the range holds what the events below progress add up to.
    fn is_right(&self, session: i64, range: u16) -> Result<(), String> {
        let checker = self.checker.borrow();
        let cells = self.cluster.cells.borrow();
        let began = checker
            .sessions
            .get(&session)
            .map_or(0, |(_, began)| *began);
        for (index, known) in checker.cells.iter().enumerate() {
            // Nobody can prove a cell that somebody changes by hand meanwhile.
            let meanwhile = known.by_hand.is_some_and(|changed| changed >= began);
            if known.range != range || meanwhile {
                continue;
            }
            let expected = checker.expected(index, |partition| self.progress_of(partition, range));
            let truth = cells.truth(&known.cell).0;
            if truth != expected {
                return Err(format!(
                    "{} holds {truth} instead of {expected}",
                    known.cell
                ));
            }
        }
        Ok(())
    }

    /// Whether nothing is on its way that would change a cell of the range after all.
    fn is_settled(&self, range: u16) -> Result<(), String> {
        let frames = self.cluster.frames.borrow();
        let mut in_doubt = frames.in_doubt();
        match in_doubt.find(|(_, _, of)| *of == range) {
            None => Ok(()),
            Some((_, by, _)) => Err(format!("an increment of session {by:x} is on its way")),
        }
    }

    /// An audit calls no more cells wrong than have a cause to be.
    pub(crate) fn audited(&self, wrong: u64) {
        let suspects = self.checker.borrow().suspects();
        if wrong > u64::try_from(suspects).unwrap_or(u64::MAX) {
            let what = format!("{wrong} cells are called wrong, of which {suspects} can be");
            self.find(Finding::new(Kind::Unexplained, what));
        }
    }

    /// What a restoration says of its ranges.
    pub(crate) fn reported(&self, process: usize, report: &RunReport) {
        // Of a range that was given back, cells count as wrong that are only touched.
        let is_proved = |range: &RangeReport| range.outcome == RangeEnd::Verified;
        if report.ranges.iter().all(is_proved) {
            self.audited(report.cells.wrong);
        }
        let checker = self.checker.borrow();
        let sessions: Vec<i64> = checker
            .sessions
            .iter()
            .filter(|(_, (number, _))| *number == process)
            .map(|(session, _)| *session)
            .collect();
        let mut wrong = None;
        for range in report
            .ranges
            .iter()
            .filter(|range| range.outcome == RangeEnd::Verified)
        {
            for session in &sessions {
                if let Some(Err(why)) = checker.proofs.get(&(*session, range.range.0)) {
                    wrong = Some(format!("range {} is called proved, and {why}", range.range));
                }
            }
        }
        drop(checker);
        if let Some(what) = wrong {
            self.find(Finding::broken(Invariant::VerifiedValues, what));
        }
    }
}
