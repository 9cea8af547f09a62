//! I3: what a restoration calls proved is right at the moment at which it gives the range back.

use stitch_common::invariant::Invariant;
use stitch_restorator::report::RunReport;
use stitch_restorator::report::run::RangeEnd;

use super::Finding;
use crate::world::World;

impl World {
    /// A range's exclusive lock goes: from now on others may write.
    pub(super) fn exclusive_ends(&self, session: i64, range: u16) {
        let right = self.is_right(session, range);
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
            // Nobody can prove a cell that somebody deletes meanwhile.
            let meanwhile = known.deleted.is_some_and(|deleted| deleted >= began);
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

    /// What a restoration says of its ranges.
    pub(crate) fn reported(&self, process: usize, report: &RunReport) {
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
            .filter(|range| range.outcome == RangeEnd::Proved)
        {
            for session in &sessions {
                if let Some(Err(why)) = checker.proofs.get(&(*session, range.range.0)) {
                    wrong = Some(format!("range {} is called proved, and {why}", range.range));
                }
            }
        }
        drop(checker);
        if let Some(what) = wrong {
            self.find(Finding::broken(Invariant::I3, what));
        }
    }
}
