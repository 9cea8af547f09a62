//! I1, I4, I5, I6, I7: which session sends what, when, and how often.

use std::collections::BTreeSet;

use stitch_common::cell::Counter;
use stitch_common::invariant::Invariant;
use stitch_common::outcome::Outcome;
use stitch_common::ports::CounterBatch;
use stitch_common::token::Token;
use stitch_testkit::time::Micros;

use super::{Attempt, Checker, Finding, SenderOutcome, locks};
use crate::process::{Process, Role};
use crate::trace::Tracepoint;
use crate::world::World;
use crate::world::cassandra::IncrementId;

impl World {
    pub(crate) fn increment_sent(
        &self,
        id: IncrementId,
        session: i64,
        process: &Process,
        batch: &CounterBatch,
    ) {
        let result = match process.role {
            Role::Processor | Role::Archiver | Role::Builder | Role::Batch => {
                self.counting_sent(id, session, batch)
            }
            Role::Restorator => self.correction_sent(id, session, batch),
        };
        if let Err(finding) = result {
            self.report(finding);
        }
    }

    /// Checks an increment that counts events.
    fn counting_sent(
        &self,
        id: IncrementId,
        session: i64,
        batch: &CounterBatch,
    ) -> Result<(), Finding> {
        let range = self.range_of(&batch.counter);
        let mut checker = self.checker.borrow_mut();
        if let Some(holder) = checker
            .restoring
            .get(&range)
            .filter(|holder| **holder != session)
        {
            let what = format!(
                "session {session:x} sends to {} while session {holder:x} restores range {range}",
                batch.counter
            );
            return Err(Finding::broken(Invariant::ExclusiveAccess, what));
        }
        let contributions = checker.contributions_of(batch);
        for &(event, index) in &contributions {
            let (partition, offset) = (
                checker.events[event].partition,
                checker.events[event].offset,
            );
            // A session whose lock was deleted by hand learns of it with its next checkpoint, and counts until then.
            let deprived = checker.deprived.contains(&(session, partition));
            if deprived {
                let cell = checker.events[event].contributions[index].0;
                checker.blame(cell, "a lock deleted by hand");
            }
            let holds = locks::has_partition(&self.zookeeper.tree.borrow(), session, partition);
            if !holds && !deprived {
                let what = format!(
                    "session {session:x} sends for offset {offset} of partition {partition} without its lock"
                );
                return Err(Finding::broken(Invariant::SingleSender, what));
            }
            let checkpoint = self.checkpoint_of(partition, range);
            if offset < checkpoint.0 && !deprived {
                let what = format!(
                    "offset {offset} of partition {partition} is sent again in range {range}, where the checkpoint is {checkpoint}"
                );
                return Err(Finding::broken(Invariant::ResumeAtCut, what));
            }
            let ceiling = self.ceiling_of(partition, range);
            if offset >= ceiling.0 && !deprived {
                let what = format!(
                    "offset {offset} of partition {partition} is sent in range {range}, where the ceiling is {ceiling}"
                );
                return Err(Finding::broken(Invariant::BelowCeiling, what));
            }
            if !deprived {
                checker.check_resend(event, index, session)?;
            }
            let attempt = Attempt {
                increment: id,
                session,
                at: self.now(),
                outcome: SenderOutcome::Pending,
            };
            checker.events[event].contributions[index]
                .1
                .attempts
                .push(attempt);
        }
        checker.pending.insert(id, contributions);
        Ok(())
    }

    /// Checks an increment that corrects.
    fn correction_sent(
        &self,
        id: IncrementId,
        session: i64,
        batch: &CounterBatch,
    ) -> Result<(), Finding> {
        let range = self.range_of(&batch.counter);
        if locks::exclusive(&self.zookeeper.tree.borrow(), range) == Some(session) {
            self.is_alone(session, range)?;
        } else if locks::has_restoration(&self.zookeeper.tree.borrow(), session) {
            self.record_point(self.actor(session), Tracepoint::CorrectedAtRest);
            self.are_at_rest(session, range, batch)?;
        } else {
            let what = format!(
                "session {session:x} corrects {} with neither the lock of range {range} nor the restoration's",
                batch.counter
            );
            return Err(Finding::broken(Invariant::ExclusiveAccess, what));
        }
        let mut checker = self.checker.borrow_mut();
        let slots = batch.amounts.iter().map(|(slot, _)| *slot);
        let mut cells = Vec::new();
        for slot in slots {
            let cell = checker.cell(&batch.counter, slot);
            let is_other = |(by, other): &(i64, usize)| {
                *by == session && *other != cell && checker.cells[*other].range == range
            };
            if checker.uncertain.iter().any(is_other) {
                let what = format!(
                    "a correction of {} is begun after another one of its range became unknown",
                    batch.counter
                );
                return Err(Finding::broken(Invariant::SentOnce, what));
            }
            if checker.uncertain.contains(&(session, cell)) {
                let what = format!("{} is corrected again, its outcome unknown", batch.counter);
                return Err(Finding::broken(Invariant::SentOnce, what));
            }
            cells.push(cell);
        }
        checker.corrections.insert(id, cells);
        checker.correctors.insert(session);
        Ok(())
    }

    /// Whether cells that are corrected without the lock can be at rest. An event that was begun before the process had its
    /// first session, and that no checkpoint has passed yet, lies between cut and ceiling, whichever of them it has read.
    fn are_at_rest(&self, session: i64, range: u16, batch: &CounterBatch) -> Result<(), Finding> {
        let mut checker = self.checker.borrow_mut();
        let start = checker.start_of_process(session);
        for (slot, _) in &batch.amounts {
            let cell = checker.cell(&batch.counter, *slot);
            let dirty = checker.events.iter().find(|event| {
                let checkpoint = self.checkpoint_of(event.partition, range).0;
                event.offset >= checkpoint && checker.was_begun(event, cell, start)
            });
            if let Some(event) = dirty {
                let what = format!(
                    "{} is corrected without the lock, and does not rest: offset {} of partition {}",
                    batch.counter, event.offset, event.partition
                );
                return Err(Finding::broken(Invariant::VerifiedValues, what));
            }
        }
        Ok(())
    }

    /// Notes a read of one counter: with the first one under the exclusive lock, its holder is past R2.
    pub(crate) fn read_begins(&self, session: i64, process: &Process, counter: &Counter) {
        let range = self.range_of(counter);
        if process.role != Role::Restorator {
            return;
        }
        let mut checker = self.checker.borrow_mut();
        let cells = &checker.cells;
        let of_counter: Vec<usize> = (0..cells.len())
            .filter(|cell| cells[*cell].cell.counter == *counter)
            .collect();
        checker
            .uncertain
            .retain(|(by, cell)| *by != session || !of_counter.contains(cell));
        if locks::exclusive(&self.zookeeper.tree.borrow(), range) != Some(session) {
            return;
        }
        checker.restoring.insert(range, session);
        drop(checker);
        if let Err(finding) = self.is_alone(session, range) {
            self.report(finding);
        }
    }

    /// Notes a scan: as after a read of these cells, what became of corrections of them is known by what they hold.
    pub(crate) fn scan_begins(&self, session: i64, within: impl Fn(Token) -> bool) {
        let checker = &mut *self.checker.borrow_mut();
        let cells = &checker.cells;
        let is_scanned = |cell: &usize| within(cells[*cell].cell.counter.token());
        checker
            .uncertain
            .retain(|(by, cell)| *by != session || !is_scanned(cell));
    }

    /// I1: no other session has an increment in flight in this range.
    fn is_alone(&self, session: i64, range: u16) -> Result<(), Finding> {
        let pending = self.cluster.pending.borrow();
        let other = pending
            .in_doubt()
            .find(|(_, by, of)| *of == range && *by != session);
        match other {
            None => Ok(()),
            Some((_, by, _)) => {
                let what = format!(
                    "session {session:x} restores range {range} while an increment of session {by:x} is in flight"
                );
                Err(Finding::broken(Invariant::ExclusiveAccess, what))
            }
        }
    }

    pub(crate) fn increment_applied(&self, session: i64, range: u16, batch: &CounterBatch) {
        if let Some(on_applied) = &*self.on_applied.borrow() {
            on_applied(batch);
        }
        let restoring = self.checker.borrow().restoring.get(&range).copied();
        if let Some(holder) = restoring.filter(|holder| *holder != session) {
            let what = format!(
                "an increment of session {session:x} to {} lands while session {holder:x} restores range {range}",
                batch.counter
            );
            self.report(Finding::broken(Invariant::ExclusiveAccess, what));
        }
        self.checker
            .borrow_mut()
            .applied(session, batch, self.now());
        self.check_certainty();
    }

    pub(crate) fn increment_answered(
        &self,
        id: IncrementId,
        session: i64,
        outcome: &Outcome,
        batch: &CounterBatch,
    ) {
        let (known, point) = match outcome {
            Outcome::Applied => (SenderOutcome::Applied, Tracepoint::Acknowledged),
            Outcome::NotApplied(_) => (SenderOutcome::NotApplied, Tracepoint::NotApplied),
            Outcome::Refused(_) | Outcome::Unauthorized(_) => {
                (SenderOutcome::NotApplied, Tracepoint::Refused)
            }
            Outcome::Unknown(_) => (SenderOutcome::Unknown, Tracepoint::Unknown),
        };
        // An unknown outcome was recorded with its cause.
        if known != SenderOutcome::Unknown {
            self.record(self.actor(session), point, || {
                format!("{outcome:?}: {}", batch.counter)
            });
        }
        self.checker.borrow_mut().set_outcome(id, session, known);
    }
}

impl Checker {
    /// Notes an increment that was applied. Those of a session whose lock was deleted by hand may come at any time.
    fn applied(&mut self, session: i64, batch: &CounterBatch, now: Micros) {
        if self
            .deprived
            .iter()
            .any(|(deprived, _)| *deprived == session)
        {
            for (slot, _) in &batch.amounts {
                let index = self.cell(&batch.counter, *slot);
                self.cells[index].changed_by_hand = Some(now);
            }
        }
    }

    /// I5: one session sends a contribution again only if it knows that it was not applied.
    fn check_resend(&self, event: usize, index: usize, session: i64) -> Result<(), Finding> {
        let event = &self.events[event];
        let attempts = &event.contributions[index].1.attempts;
        let again = attempts.iter().find(|attempt| {
            attempt.session == session && attempt.outcome != SenderOutcome::NotApplied
        });
        match again {
            None => Ok(()),
            Some(attempt) => {
                let what = format!(
                    "offset {} of partition {} is sent again by session {session:x}, which knows its outcome: {:?}",
                    event.offset, event.partition, attempt.outcome
                );
                Err(Finding::broken(Invariant::SentOnce, what))
            }
        }
    }

    fn set_outcome(&mut self, id: IncrementId, session: i64, outcome: SenderOutcome) {
        let mut blamed = BTreeSet::new();
        for (event, index) in self.pending.get(&id).cloned().unwrap_or_default() {
            let (cell, contribution) = &mut self.events[event].contributions[index];
            blamed.insert(*cell);
            for attempt in &mut contribution.attempts {
                if attempt.increment == id {
                    attempt.outcome = outcome;
                }
            }
        }
        if outcome == SenderOutcome::Unknown {
            for cell in blamed {
                self.blame(cell, "an increment of unknown outcome");
            }
        }
        for cell in self.corrections.get(&id).cloned().unwrap_or_default() {
            if outcome == SenderOutcome::Unknown {
                self.uncertain.push((session, cell));
                self.blame(cell, "a correction of unknown outcome");
            }
        }
    }

    /// Notes the end of a session that nothing could prepare: what it had sent and not checkpointed may be counted twice,
    /// or not at all. `is_checkpointed` says of an event, by its partition, range and offset, whether it is passed.
    pub(crate) fn session_lost(
        &mut self,
        session: i64,
        is_checkpointed: impl Fn(i32, u16, i64) -> bool,
    ) {
        let mut blamed = BTreeSet::new();
        for event in &self.events {
            for (cell, contribution) in &event.contributions {
                let range = self.cells[*cell].range;
                let passed = is_checkpointed(event.partition, range, event.offset);
                let may_drift = |attempt: &Attempt| {
                    let applied = attempt.outcome == SenderOutcome::Applied;
                    attempt.session == session && !(applied && passed)
                };
                if contribution.attempts.iter().any(may_drift) {
                    blamed.insert(*cell);
                }
            }
        }
        blamed.extend(self.corrections.values().flatten());
        for cell in blamed {
            self.blame(cell, "the loss of a session");
        }
    }

    /// Notes that a process has begun to stop, asked or by itself, and must have drained at `deadline`.
    pub(crate) fn stop_begun(&mut self, process: usize, deadline: Micros) {
        self.stop_deadlines.entry(process).or_insert(deadline);
    }

    /// Whether what a session leaves behind is excused when its process closes it. A processor that stops has drained
    /// before, or has taken all the time that it had.
    pub(crate) fn may_close_undrained(&self, process: usize, role: Role, now: Micros) -> bool {
        let deadline = self.stop_deadlines.get(&process);
        role == Role::Restorator || deadline.is_some_and(|deadline| now >= *deadline)
    }
}
