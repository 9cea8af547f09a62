//! I2: progress never passes an unanswered event, never goes back, and passes nothing of a range that is locked.

use stitch_common::checkpoint::{Checkpoint, StoredCheckpoint};
use stitch_common::invariant::Invariant;
use stitch_common::offset::Offset;
use stitch_common::range::RangeId;

use super::{Checker, Finding, Told};
use crate::executor::Micros;
use crate::world::World;

fn decode(data: &[u8]) -> Checkpoint {
    StoredCheckpoint::decode(data)
        .map(|written| written.progress)
        .unwrap_or_default()
}

impl World {
    /// Checkpoint of a partition in a range, as it stands in ZooKeeper.
    pub(crate) fn progress_of(&self, partition: i32, range: u16) -> Offset {
        let progress = self.progress.borrow();
        let of = |progress: &Checkpoint| progress.of(RangeId(range));
        progress.get(&partition).map(of).unwrap_or_default()
    }

    pub(super) fn progress_made(&self, partition: i32, path: &str) {
        let tree = self.keeper.tree.borrow();
        let made = tree.get(path).map(|node| decode(&node.data));
        let mut progress = self.progress.borrow_mut();
        progress.insert(partition, made.unwrap_or_default());
    }

    pub(super) fn progress_written(&self, session: i64, partition: i32, is: &[u8]) {
        let is = decode(is);
        let was = self.progress.borrow_mut().insert(partition, is.clone());
        let was = was.unwrap_or_default();
        let mut wrong = None;
        for range in self.bits.ranges() {
            let (from, to) = (was.of(range), is.of(range));
            let mut checker = self.checker.borrow_mut();
            let excused = checker.is_letting_go(partition, range.0, self.now());
            let passed = checker.passed(session, (partition, range.0), (from, to), excused);
            wrong = wrong.or(passed.err());
        }
        if let Some(what) = wrong {
            self.find(Finding::broken(Invariant::CheckpointNeverAhead, what));
        }
    }
}

impl Checker {
    /// Looks at every event that progress of one range has passed.
    fn passed(
        &mut self,
        session: i64,
        (partition, range): (i32, u16),
        (from, to): (Offset, Offset),
        excused: bool,
    ) -> Result<(), String> {
        if to < from {
            return Err(format!(
                "progress of partition {partition} in range {range} goes back from {from} to {to}"
            ));
        }
        let inside = self.inside.get(&range).copied();
        for offset in from.0..to.0 {
            let Some(Some(index)) = self.places.get(&(partition, offset)).copied() else {
                continue;
            };
            for part in 0..self.events[index].parts.len() {
                let cell = self.events[index].parts[part].0;
                if self.cells[cell].range != range {
                    continue;
                }
                if inside.is_some() {
                    return Err(format!(
                        "offset {offset} of partition {partition} is passed in range {range} while it is locked"
                    ));
                }
                match self.answered(session, index, part, range) {
                    Answered::Well => {}
                    Answered::GivenUp if excused => self.blame(cell, "given up"),
                    Answered::GivenUp => {
                        return Err(format!(
                            "offset {offset} of partition {partition} is passed, and was never applied to {}",
                            self.cells[cell].cell
                        ));
                    }
                    Answered::No(why) => {
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

    fn answered(&self, session: i64, event: usize, part: usize, range: u16) -> Answered {
        let sendings = &self.events[event].parts[part].1.sendings;
        if sendings.iter().any(|sending| sending.told == Told::Applied) {
            return Answered::Well;
        }
        let own = sendings.iter().filter(|sending| sending.session == session);
        for sending in own {
            match sending.told {
                Told::Nothing => return Answered::No("it is on its way"),
                Told::Unknown => {
                    let marked = self
                        .markers
                        .iter()
                        .any(|(by, of, at)| *by == session && *of == range && *at >= sending.at);
                    return match marked {
                        true => Answered::Well,
                        false => Answered::No("its unknown outcome is not marked"),
                    };
                }
                Told::Applied | Told::Not => {}
            }
        }
        Answered::GivenUp
    }

    /// The partition is to change hands: what cannot be applied in time may be given up.
    pub(crate) fn leaving(&mut self, partition: i32, now: Micros) {
        self.leaving.insert(partition, now);
    }

    /// The range is asked for, as the name of a request says, or not any more.
    pub(super) fn asked(&mut self, request: &str, now: Micros) {
        let range = request
            .split('-')
            .next()
            .and_then(|range| range.parse().ok());
        if let Some(range) = range {
            self.asked.insert(range, now);
        }
    }

    /// Whether somebody was asked lately to let go of the partition or the range.
    fn is_letting_go(&self, partition: i32, range: u16, now: Micros) -> bool {
        const LATELY: Micros = 6_000_000;
        let asked = [self.leaving.get(&partition), self.asked.get(&range)];
        asked.into_iter().flatten().any(|at| now < at + LATELY)
    }
}

enum Answered {
    Well,
    /// Never applied, and not on its way.
    GivenUp,
    No(&'static str),
}
