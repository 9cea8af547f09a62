//! I2: a checkpoint never passes an unacknowledged event, never goes back, and passes no event of a locked range. The
//! ceilings, for I7.

use stitch_common::checkpoint::{Ceiling, Checkpoint, StoredCheckpoint};
use stitch_common::invariant::Invariant;
use stitch_common::offset::Offset;
use stitch_common::range::RangeId;
use stitch_testkit::time::Micros;

use super::{Checker, Event, Finding, SenderOutcome};
use crate::world::World;

fn decode(data: &[u8]) -> StoredCheckpoint {
    StoredCheckpoint::decode(data).unwrap_or_else(|_| none())
}

fn none() -> StoredCheckpoint {
    StoredCheckpoint {
        progress: Checkpoint::default(),
        ceiling: Ceiling::AtCheckpoint,
        inherited: Ceiling::AtCheckpoint,
        writer: None,
    }
}

impl World {
    /// The checkpoint of a partition in a range, as ZooKeeper has it.
    pub(crate) fn checkpoint_of(&self, partition: i32, range: u16) -> Offset {
        let checkpoints = self.checkpoints.borrow();
        let stored = checkpoints.get(&partition);
        stored
            .map(|stored| stored.progress.of(RangeId(range)))
            .unwrap_or_default()
    }

    /// The ceiling of a partition in a range, as ZooKeeper has it.
    pub(super) fn ceiling_of(&self, partition: i32, range: u16) -> Offset {
        let checkpoints = self.checkpoints.borrow();
        let stored = checkpoints.get(&partition);
        let ceiling =
            |stored: &StoredCheckpoint| stored.ceiling.of(RangeId(range), &stored.progress);
        stored.map(ceiling).unwrap_or_default()
    }

    pub(super) fn checkpoint_created(&self, partition: i32, path: &str) {
        let tree = self.zookeeper.tree.borrow();
        let created = tree.get(path).map(|node| decode(&node.data));
        let mut checkpoints = self.checkpoints.borrow_mut();
        checkpoints.insert(partition, created.unwrap_or_else(none));
    }

    pub(super) fn checkpoint_written(&self, session: i64, partition: i32, data: &[u8]) {
        if !self.is_checked.get() {
            return;
        }
        let new = decode(data);
        let old = self.checkpoints.borrow_mut().insert(partition, new.clone());
        let old = old.unwrap_or_else(none);
        let mut wrong = None;
        for range in self.bits.ranges() {
            let (from, to) = (old.progress.of(range), new.progress.of(range));
            let mut checker = self.checker.borrow_mut();
            let may_abandon = checker.may_abandon(partition, range.0, self.now());
            let result =
                checker.check_passed(session, (partition, range.0), (from, to), may_abandon);
            let passed = result.map_err(|what| (Invariant::CheckpointNeverAhead, what));
            let ceiling = new.ceiling.of(range, &new.progress);
            let begun = checker.check_begun(partition, range.0, ceiling);
            let begun = begun.map_err(|what| (Invariant::BelowCeiling, what));
            wrong = wrong.or(passed.and(begun).err());
        }
        if let Some((invariant, what)) = wrong {
            self.report(Finding::broken(invariant, what));
        }
        self.check_certainty();
    }
}

impl Checker {
    /// I7: no event of a range is begun at or above the ceiling that was just written.
    fn check_begun(&self, partition: i32, range: u16, ceiling: Offset) -> Result<(), String> {
        if self.deprived.iter().any(|(_, of)| *of == partition) {
            return Ok(());
        }
        let above = |event: &&Event| event.partition == partition && event.offset >= ceiling.0;
        let begun = |event: &&Event| {
            event.contributions.iter().any(|(cell, contribution)| {
                let mut attempts = contribution.attempts.iter();
                self.cells[*cell].range == range
                    && attempts.any(|attempt| attempt.outcome != SenderOutcome::NotApplied)
            })
        };
        match self.events.iter().filter(above).find(begun) {
            None => Ok(()),
            Some(event) => Err(format!(
                "offset {} of partition {partition} is begun in range {range}, above the ceiling at {ceiling}",
                event.offset
            )),
        }
    }

    /// Checks every event that the checkpoint of one range has passed.
    fn check_passed(
        &mut self,
        session: i64,
        (partition, range): (i32, u16),
        (from, to): (Offset, Offset),
        may_abandon: bool,
    ) -> Result<(), String> {
        if to < from {
            return Err(format!(
                "the checkpoint of partition {partition} in range {range} goes back from {from} to {to}"
            ));
        }
        let restoring = self.restoring.get(&range).copied();
        for offset in from.0..to.0 {
            let Some(Some(index)) = self.records.get(&(partition, offset)).copied() else {
                continue;
            };
            for contribution in 0..self.events[index].contributions.len() {
                let cell = self.events[index].contributions[contribution].0;
                if self.cells[cell].range != range {
                    continue;
                }
                if restoring.is_some() {
                    return Err(format!(
                        "offset {offset} of partition {partition} is passed in range {range} while it is locked"
                    ));
                }
                match self.acknowledgement(session, index, contribution, range) {
                    Acknowledgement::Complete => {}
                    Acknowledgement::Abandoned if may_abandon => self.blame(cell, "given up"),
                    Acknowledgement::Abandoned => {
                        return Err(format!(
                            "offset {offset} of partition {partition} is passed, and was never applied to {}",
                            self.cells[cell].cell
                        ));
                    }
                    Acknowledgement::Missing(why) => {
                        return Err(format!(
                            "offset {offset} of partition {partition} is passed, and {why} in {}",
                            self.cells[cell].cell
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn acknowledgement(
        &self,
        session: i64,
        event: usize,
        index: usize,
        range: u16,
    ) -> Acknowledgement {
        let attempts = &self.events[event].contributions[index].1.attempts;
        if attempts
            .iter()
            .any(|attempt| attempt.outcome == SenderOutcome::Applied)
        {
            return Acknowledgement::Complete;
        }
        let own = attempts.iter().filter(|attempt| attempt.session == session);
        for attempt in own {
            match attempt.outcome {
                SenderOutcome::Pending => return Acknowledgement::Missing("it is in flight"),
                SenderOutcome::Unknown => {
                    let marked = self
                        .markers
                        .iter()
                        .any(|(by, of, at)| *by == session && *of == range && *at >= attempt.at);
                    return if marked {
                        Acknowledgement::Complete
                    } else {
                        Acknowledgement::Missing("its unknown outcome is not marked")
                    };
                }
                SenderOutcome::Applied | SenderOutcome::NotApplied => {}
            }
        }
        Acknowledgement::Abandoned
    }

    /// Notes that a partition is to be handed over: what cannot be applied in time may be given up.
    pub(crate) fn hand_over(&mut self, partition: i32, now: Micros) {
        self.hand_overs.insert(partition, now);
    }

    /// Notes that a revocation request was created or deleted.
    pub(super) fn revocation_changed(&mut self, request: &str, now: Micros) {
        let range = request
            .split('-')
            .next()
            .and_then(|range| range.parse().ok());
        if let Some(range) = range {
            self.revocations.insert(range, now);
        }
    }

    /// Whether the partition or the range was to be given back lately.
    fn may_abandon(&self, partition: i32, range: u16, now: Micros) -> bool {
        const LATELY: Micros = 6_000_000;
        let since = [
            self.hand_overs.get(&partition),
            self.revocations.get(&range),
        ];
        since.into_iter().flatten().any(|at| now < at + LATELY)
    }
}

/// Whether a contribution is acknowledged.
enum Acknowledgement {
    Complete,
    /// Never applied, and not in flight.
    Abandoned,
    Missing(&'static str),
}
