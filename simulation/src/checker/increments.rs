//! I1, I4, I5, I6: who sends what, when, and how often.

use stitch_common::cell::Counter;
use stitch_common::invariant::Invariant;
use stitch_common::outcome::Outcome;
use stitch_common::ports::CounterBatch;

use super::{Checker, Finding, Sending, Told, locks};
use crate::cassandra::FrameId;
use crate::executor::Micros;
use crate::notes::Phase;
use crate::process::{Process, Role};
use crate::world::World;

impl World {
    pub(crate) fn increment_sent(
        &self,
        frame: FrameId,
        session: i64,
        process: &Process,
        batch: &CounterBatch,
    ) {
        let sent = match process.role {
            Role::Processor => self.counted(frame, session, batch),
            Role::Restorator => self.corrected(frame, session, batch),
        };
        if let Err(finding) = sent {
            self.find(finding);
        }
    }

    /// An increment for events.
    fn counted(&self, frame: FrameId, session: i64, batch: &CounterBatch) -> Result<(), Finding> {
        let range = self.range_of(&batch.counter);
        let mut checker = self.checker.borrow_mut();
        if let Some(holder) = checker
            .inside
            .get(&range)
            .filter(|holder| **holder != session)
        {
            let what = format!(
                "session {session:x} sends to {} while session {holder:x} restores range {range}",
                batch.counter
            );
            return Err(Finding::broken(Invariant::ExclusiveAccess, what));
        }
        let parts = checker.parts_of(batch);
        for &(event, part) in &parts {
            let (partition, offset) = (
                checker.events[event].partition,
                checker.events[event].offset,
            );
            // Whoever was robbed of the lock by hand learns it when it writes progress; until then it goes on.
            let robbed = checker.robbed.contains(&(session, partition));
            if robbed {
                let cell = checker.events[event].parts[part].0;
                checker.blame(cell, "a lock deleted by hand");
            }
            let holds = locks::has_partition(&self.keeper.tree.borrow(), session, partition);
            if !holds && !robbed {
                let what = format!(
                    "session {session:x} sends for offset {offset} of partition {partition} without its lock"
                );
                return Err(Finding::broken(Invariant::SingleSender, what));
            }
            let progress = self.progress_of(partition, range);
            if offset < progress.0 && !robbed {
                let what = format!(
                    "offset {offset} of partition {partition} is sent again in range {range}, where progress is {progress}"
                );
                return Err(Finding::broken(Invariant::ResumeAtCut, what));
            }
            checker.sent_again(event, part, session)?;
            let sending = Sending {
                frame,
                session,
                at: self.now(),
                told: Told::Nothing,
            };
            checker.events[event].parts[part].1.sendings.push(sending);
        }
        checker.frames.insert(frame, parts);
        Ok(())
    }

    /// An increment that corrects.
    fn corrected(&self, frame: FrameId, session: i64, batch: &CounterBatch) -> Result<(), Finding> {
        let range = self.range_of(&batch.counter);
        if locks::exclusive(&self.keeper.tree.borrow(), range) != Some(session) {
            let what = format!(
                "session {session:x} corrects {} without the lock of range {range}",
                batch.counter
            );
            return Err(Finding::broken(Invariant::ExclusiveAccess, what));
        }
        self.is_alone(session, range)?;
        let mut checker = self.checker.borrow_mut();
        let slots = batch.amounts.iter().map(|(slot, _)| *slot);
        let mut cells = Vec::new();
        for slot in slots {
            let cell = checker.cell(&batch.counter, slot);
            if checker.uncertain.contains(&(session, cell)) {
                let what = format!("{} is corrected again, its outcome unknown", batch.counter);
                return Err(Finding::broken(Invariant::SentOnce, what));
            }
            cells.push(cell);
        }
        checker.corrections.insert(frame, cells);
        Ok(())
    }

    /// A read of one counter: under the range's exclusive lock, its holder is past R2 from then on.
    pub(crate) fn read_asked(&self, session: i64, process: &Process, counter: &Counter) {
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
        if locks::exclusive(&self.keeper.tree.borrow(), range) != Some(session) {
            return;
        }
        checker.inside.insert(range, session);
        drop(checker);
        if let Err(finding) = self.is_alone(session, range) {
            self.find(finding);
        }
    }

    /// I1: nobody else has anything on its way in this range.
    fn is_alone(&self, session: i64, range: u16) -> Result<(), Finding> {
        let frames = self.cluster.frames.borrow();
        let other = frames
            .in_doubt()
            .find(|(_, by, of)| *of == range && *by != session);
        match other {
            None => Ok(()),
            Some((_, by, _)) => {
                let what = format!(
                    "session {session:x} restores range {range} while an increment of session {by:x} is on its way"
                );
                Err(Finding::broken(Invariant::ExclusiveAccess, what))
            }
        }
    }

    pub(crate) fn increment_applied(&self, session: i64, range: u16, batch: &CounterBatch) {
        let inside = self.checker.borrow().inside.get(&range).copied();
        if let Some(holder) = inside.filter(|holder| *holder != session) {
            let what = format!(
                "an increment of session {session:x} to {} lands while session {holder:x} restores range {range}",
                batch.counter
            );
            self.find(Finding::broken(Invariant::ExclusiveAccess, what));
        }
        self.checker.borrow_mut().landed(session, batch, self.now());
    }

    pub(crate) fn increment_answered(
        &self,
        frame: FrameId,
        session: i64,
        outcome: &Outcome,
        batch: &CounterBatch,
    ) {
        let (told, phase) = match outcome {
            Outcome::Applied => (Told::Applied, Phase::Answered),
            Outcome::NotApplied(_) => (Told::Not, Phase::NotApplied),
            Outcome::Refused(_) => (Told::Not, Phase::Refused),
            Outcome::Unknown(_) => (Told::Unknown, Phase::Unknown),
        };
        // What is unknown was noted where it was told.
        if told != Told::Unknown {
            self.note(self.who(session), phase, || {
                format!("{outcome:?}: {}", batch.counter)
            });
        }
        self.checker.borrow_mut().told(frame, session, told);
    }
}

impl Checker {
    /// What two members count at once, because somebody has deleted the lock between them, may land at any time.
    fn landed(&mut self, session: i64, batch: &CounterBatch, now: Micros) {
        if self.robbed.iter().any(|(robbed, _)| *robbed == session) {
            for (slot, _) in &batch.amounts {
                let index = self.cell(&batch.counter, *slot);
                self.cells[index].by_hand = Some(now);
            }
        }
    }

    /// I5: one session sends a part again only if it was told that it was not applied.
    fn sent_again(&self, event: usize, part: usize, session: i64) -> Result<(), Finding> {
        let known = &self.events[event];
        let sendings = &known.parts[part].1.sendings;
        let again = sendings
            .iter()
            .find(|sending| sending.session == session && sending.told != Told::Not);
        match again {
            None => Ok(()),
            Some(sending) => {
                let what = format!(
                    "offset {} of partition {} is sent again by session {session:x}, which was told {:?}",
                    known.offset, known.partition, sending.told
                );
                Err(Finding::broken(Invariant::SentOnce, what))
            }
        }
    }

    fn told(&mut self, frame: FrameId, session: i64, told: Told) {
        for (event, part) in self.frames.get(&frame).cloned().unwrap_or_default() {
            let (cell, part) = &mut self.events[event].parts[part];
            let cell = *cell;
            for sending in &mut part.sendings {
                if sending.frame == frame {
                    sending.told = told;
                }
            }
            if told == Told::Unknown {
                self.blame(cell, "an increment of unknown outcome");
            }
        }
        for cell in self.corrections.get(&frame).cloned().unwrap_or_default() {
            if told == Told::Unknown {
                self.uncertain.push((session, cell));
                self.blame(cell, "a correction of unknown outcome");
            }
        }
    }

    /// A session ended: what it had sent and not told by progress may be counted twice or not at all.
    pub(crate) fn session_ended(&mut self, session: i64) {
        let mut blamed = Vec::new();
        for event in &self.events {
            for (cell, part) in &event.parts {
                if part
                    .sendings
                    .iter()
                    .any(|sending| sending.session == session)
                {
                    blamed.push(*cell);
                }
            }
        }
        blamed.extend(self.corrections.values().flatten());
        for cell in blamed {
            self.blame(cell, "the end of a session");
        }
    }
}
