//! The restoration of one range (rules R1 to R8), or of each of its [`parts`], one step a file, in order:
//!
//! | step | rule | what it does | yields |
//! |---|---|---|---|
//! | [`mod@converge`] | R1 | audits the cells that later cuts have passed | `AuditFindings` |
//! | [`at_rest`] | R6 | corrects cells at rest, without the lock, and reads them again; then converges again | `RestOutcome` |
//! | [`known_counts`] | R4 | looks up what the cells should hold that will be read under the lock, as far as they are known | `KnownCounts` |
//! | [`acquire`] | R2 | takes the exclusive lock, and waits out what is in doubt | `LockedRange` |
//! | [`cut`] | R3 | reads the cut under the lock | `Cut` |
//! | [`dirty`] | R4 | follows the log to the ceilings: which cells can be wrong, and what they should hold | `DirtyCells` |
//! | [`current`] | R5 | reads what they hold | `CurrentDrift` |
//! | [`delta`] | R6 | computes the corrections, within the operator's limits | `Delta` |
//! | [`apply`] | R6 | writes the journal, then sends each correction once ([`send`], [`sent`]) | `AppliedCorrections` |
//! | [`verify`] | R7 | reads the corrected cells again, and checks that nothing broke the protocol | `VerifiedRange` |
//! | [`release`] | R8 | leaves an in-doubt marker if need be, and releases the lock | `ReleasedClaim` |
//!
//! Each value can only be made by its own module, so no step can be skipped or reordered. The lock is released by an
//! awaited call, on success and on error alike. It is held for the cells that never rest.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::cell::{self, Count};
use stitch_common::range::RangeId;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::failpoint;
use crate::journal::Journal;
use crate::patience::while_kafka_delivers;
use crate::plan::audit_findings::AuditFindings;
use crate::plan::converge;
use crate::plan::judge::{Drift, Verdicts, WRONG_CELL_BYTES};
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;
use stitch_expected::base_part::BasePart;
use stitch_expected::log_follower::LogFollower;
use stitch_expected::memory_pool::MemoryReservation;

pub(crate) mod parts;
mod added_partition;
pub(crate) mod bound;
pub(crate) mod acquire;
pub(crate) mod cut;
pub mod dirty;
pub(crate) mod current;
pub(crate) mod delta;
pub(crate) mod send;
pub(crate) mod sent;
pub mod at_rest;
pub(crate) mod known_counts;
pub(crate) mod apply;
pub mod verify;
pub(crate) mod release;

use acquire::Claim;
use at_rest::RestOutcome;
use known_counts::{KnownCounts, copy_base_part, counts};
use sent::{SendOutcome, SentBefore, SentCorrections, UnreadCorrection};
use verify::{VerifiedRange, VerifyOutcome};

/// The outcome of a range, or of a part of it.
#[derive(Debug)]
pub(crate) struct RangeResult {
    pub(crate) range: RangeId,
    pub(crate) outcome: Result<VerifiedRange, Unverified>,
    /// What was corrected; in an unverified range, what was sent.
    pub(crate) corrected: BTreeMap<cell::Cell, Drift>,
    /// Corrections of which it is not known what became of them.
    pub(crate) unread: Vec<UnreadCorrection>,
    /// The cells that no correction changes, with the drift that they still have.
    pub(crate) aside: BTreeMap<cell::Cell, Drift>,
    /// Whether every cell that may be wrong was read under the lock.
    pub(crate) all_read: bool,
    /// The findings of the audit right before the lock.
    pub(crate) findings: AuditFindings,
    /// The cells that are dirty at the end, and what they should hold.
    pub(crate) dirty: BTreeMap<cell::Cell, Count>,
    /// How long its lock was waited for.
    pub(crate) waited: Duration,
    /// How long its lock was held; `None` if it was never granted.
    pub(crate) locked: Option<Duration>,
    /// Whether it is restored once more: part by part, because it did not fit into memory, or after a pause.
    pub(crate) begins_again: bool,
}

impl RangeResult {
    pub(crate) fn not_started(range: RangeId, findings: AuditFindings, why: Error) -> Self {
        Self::unverified(range, findings, BTreeMap::new(), why.into())
    }

    fn with(self, sent: SentBefore) -> Self {
        let SentBefore { corrected, unread } = sent;
        Self {
            corrected,
            unread,
            ..self
        }
    }

    /// What the next attempt has to know, if it is one at the same cells.
    fn before(&mut self) -> Before {
        Before {
            sent: SentBefore {
                corrected: self.corrected.clone(),
                unread: std::mem::take(&mut self.unread),
            },
            aside: self.aside.clone(),
        }
    }

    /// A range that was not locked.
    fn unverified(
        range: RangeId,
        findings: AuditFindings,
        aside: BTreeMap<cell::Cell, Drift>,
        why: Unverified,
    ) -> Self {
        Self {
            range,
            outcome: Err(why),
            corrected: BTreeMap::new(),
            unread: Vec::new(),
            aside,
            all_read: false,
            findings,
            dirty: BTreeMap::new(),
            waited: Duration::ZERO,
            locked: None,
            begins_again: false,
        }
    }
}

/// What is known of a part of a range that begins again.
#[derive(Debug, Default)]
struct Before {
    sent: SentBefore,
    /// The cells that no correction changes.
    aside: BTreeMap<cell::Cell, Drift>,
}

/// How often a cell is corrected. A cell that a correction did not change at all is not corrected again: it was deleted by
/// hand, swallows what is added to it, and may return it once Cassandra's tombstone is gone.
const CORRECTIONS_MAX: usize = 2;
/// How many quiescence barriers are awaited for corrections of unknown outcome.
const BARRIERS_MAX: usize = 2;

/// The memory of a cell under the lock, besides its verdict: expected and current count, its correction, the request that
/// sends it and the one that reads it again. Measured: 550 if each counter has one such cell, which is the worst case.
pub(crate) const LOCKED_CELL_BYTES: usize = 640;

/// The most rounds of correcting cells at rest: what is wrong then is left to the lock.
const ROUNDS_MAX: usize = 8;

/// Restores a range, or the part of it that is being judged: cells at rest without its lock, all others under it. `findings`
/// are those of this range alone.
async fn run<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    journal: &Journal,
    range: RangeId,
    findings: AuditFindings,
    before: Before,
) -> RangeResult {
    let _held = follower.hold_cuts(&[range]);
    let mut work = RangeWork {
        context,
        follower,
        findings,
        aside: before.aside,
    };
    // Before it converges: the longer ago that is, the more cells become dirty that were not foreseen.
    let part = match copy_base_part(context, follower, range).await {
        Ok(part) => part,
        Err(why) => {
            let result = RangeResult::unverified(range, work.findings, work.aside, why.into());
            return result.with(before.sent);
        }
    };
    let mut sent = SentCorrections::new(context, journal, range, before.sent);
    let prepared = work.correct_at_rest(&mut sent).await;
    let mut result = match prepared {
        Ok(room) => work.restore_locked(sent, &part, room).await,
        Err(why) => {
            RangeResult::unverified(range, work.findings, work.aside, why).with(sent.into_sent())
        }
    };
    let dirty = follower.totals().of(range).dirty();
    result.dirty = counts::<B>(follower, &part, dirty)
        .await
        .unwrap_or_else(|error| {
            // Only how many cells the report calls judged depends on it.
            tracing::warn!(%error, "what dirty cells should hold is not known");
            BTreeMap::new()
        });
    if let Err(error) = journal.sync() {
        context.progress.note(&format!("{error}: {}", error.cause));
    }
    if let (Ok(_), false) = (&result.outcome, result.aside.is_empty()) {
        let ignoring = result.aside.keys().cloned().collect();
        result.outcome = Err(Unverified::IgnoresIncrements(ignoring));
    }
    result
}

/// The work on one range.
struct RangeWork<'a, 'c, B: Backends> {
    context: &'a RestoreContext<'c, B>,
    follower: &'a LogFollower,
    findings: AuditFindings,
    /// The cells that no correction changes: they are left alone.
    aside: BTreeMap<cell::Cell, Drift>,
}

impl<B: Backends> RangeWork<'_, '_, B> {
    /// Converges, and corrects what is wrong and rests, until nothing of that is left. Returns the memory for the lock:
    /// nothing is locked unless there is enough for the cells that are known to need it.
    async fn correct_at_rest(
        &mut self,
        sent: &mut SentCorrections<'_, B>,
    ) -> Result<MemoryReservation, Unverified> {
        let range = sent.range();
        let mut kept = self.context.memory.reservation();
        let mut barriers = 0;
        for round in 0.. {
            self.converge(range).await?;
            // If any correction was in doubt, there was its marker, and so a barrier.
            sent.note_waited_out();
            self.resolve(sent);
            let outcome = match round < ROUNDS_MAX {
                true => {
                    let (findings, aside) = (&mut self.findings, &mut self.aside);
                    at_rest::correct(sent, self.follower, findings, aside).await?
                }
                false => RestOutcome::Nothing,
            };
            let corrected = sent.corrected().len() * WRONG_CELL_BYTES;
            kept.try_resize(corrected).map_err(Error::from)?;
            match outcome {
                RestOutcome::Nothing => break,
                RestOutcome::InDoubt if barriers == BARRIERS_MAX => {
                    return Err(Unverified::Unknown);
                }
                RestOutcome::InDoubt => barriers += 1,
                RestOutcome::Corrected => {}
            }
        }
        let wrong = self.findings.of(range).wrong().len();
        let cells = wrong + self.follower.totals().of(range).dirty_count();
        kept.try_grow(cells * LOCKED_CELL_BYTES)
            .map_err(Error::from)?;
        Ok(kept)
    }

    /// Converges, unless the process has to stop. What is set aside is judged no more.
    async fn converge(&mut self, range: RangeId) -> Result<(), Error> {
        let converging = converge::converge(self.context, self.follower, &mut self.findings);
        let converging = while_kafka_delivers(self.context, self.follower, converging);
        let interrupted = self.context.interrupted();
        match select(pin!(converging), pin!(interrupted)).await {
            Either::Left((converged, _)) => converged?,
            Either::Right((why, _)) => return Err(Error::Interrupted(why)),
        }
        self.judge_aside_right(range)
    }

    fn judge_aside_right(&mut self, range: RangeId) -> Result<(), Error> {
        let aside = &self.aside;
        self.findings.change(|verdicts| {
            let verdicts = verdicts.entry(range).or_default();
            aside.keys().for_each(|cell| verdicts.judge_right(cell));
        })?;
        Ok(())
    }

    /// Finds out by the new verdicts what became of corrections whose outcome was not known.
    fn resolve(&mut self, sent: &mut SentCorrections<'_, B>) {
        let dirty = self.follower.totals().of(sent.range()).dirty();
        let ignored = sent.resolve(self.findings.of(sent.range()).wrong(), &dirty);
        self.aside.extend(ignored);
    }

    /// Restores the range under its lock, and releases it.
    async fn restore_locked(
        mut self,
        sent: SentCorrections<'_, B>,
        part: &BasePart,
        mut room: MemoryReservation,
    ) -> RangeResult {
        let range = sent.range();
        let known = match self.judge_aside_right(range) {
            Ok(()) => {
                let verdicts = self.findings.of(range);
                KnownCounts::look_up(self.context, self.follower, range, part, verdicts).await
            }
            Err(why) => Err(why),
        };
        let known = match known {
            Ok(known) => known,
            Err(why) => {
                let result = RangeResult::unverified(range, self.findings, self.aside, why.into());
                return result.with(sent.into_sent());
            }
        };
        failpoint::pass("r2-closed-in");
        let mut claim = Claim::new(self.context, sent);
        let outcome = self.under_the_lock(&mut claim, &known, &mut room).await;
        let released = release::range(self.context, claim).await;
        RangeResult {
            range,
            outcome,
            corrected: released.sent.corrected,
            unread: released.sent.unread,
            aside: self.aside,
            all_read: released.all_read,
            findings: self.findings,
            dirty: BTreeMap::new(),
            waited: released.waited,
            locked: released.locked,
            begins_again: false,
        }
    }

    /// Corrects under the lock all cells that are still wrong, and verifies the range.
    async fn under_the_lock(
        &mut self,
        claim: &mut Claim<'_, B>,
        known: &KnownCounts<'_>,
        room: &mut MemoryReservation,
    ) -> Result<VerifiedRange, Unverified> {
        let range = claim.range();
        let mut held = acquire::range(self.context, self.follower, claim).await?;
        let cut = cut::find(&held).await?;
        let mut dirty = dirty::follow(&held, &cut, self.findings.of(range), known).await?;
        self.findings
            .change(|verdicts| {
                verdicts
                    .entry(range)
                    .or_default()
                    .note_passed(dirty.passed())
            })
            .map_err(Error::from)?;
        dirty.set_aside(self.aside.keys());
        let locked = dirty.expected().len() * LOCKED_CELL_BYTES;
        room.try_resize(room.bytes().max(locked))
            .map_err(Error::from)?;
        let (mut corrections, mut barriers) = (0, 0);
        loop {
            if !rule::a_pause_gives_the_lock_back() {
                self.context.wait_while_paused().await?;
            }
            let mut current = current::read(&held, &dirty).await?;
            held.claim.note_all_read();
            let now = current.wrong().iter().cloned().collect();
            let ignored = held.claim.sent_mut().resolve(&now, &BTreeSet::new());
            current.set_aside(&ignored);
            dirty.set_aside(ignored.keys());
            self.aside.extend(ignored);
            let delta = delta::of(held.claim.sent_mut(), current.into_wrong())?;
            let applied = match apply::once(&mut held, &cut, delta).await? {
                SendOutcome::Applied(applied) => applied,
                SendOutcome::Unknown if barriers == BARRIERS_MAX => {
                    return Err(Unverified::Unknown);
                }
                SendOutcome::Unknown => {
                    barriers += 1;
                    apply::wait_out(&mut held).await?;
                    continue;
                }
            };
            corrections += 1;
            let wrong = match verify::again(&mut held, cut.doubts(), &dirty, applied).await? {
                VerifyOutcome::Right(verified) => return Ok(verified),
                VerifyOutcome::Wrong(wrong) => wrong,
            };
            let (unchanged, changed) = unchanged(wrong);
            dirty.set_aside(unchanged.keys());
            self.aside.extend(unchanged);
            if corrections >= CORRECTIONS_MAX && !changed.is_empty() {
                return Err(Unverified::KeepsChanging(changed));
            }
        }
    }
}

/// Divides cells that are still wrong after a correction into those that it did not change at all, and the others.
fn unchanged(
    wrong: Vec<(cell::Cell, Drift, Count)>,
) -> (BTreeMap<cell::Cell, Drift>, Vec<cell::Cell>) {
    let (mut unchanged, mut changed) = (BTreeMap::new(), Vec::new());
    for (cell, sent, now) in wrong {
        if sent.current == now {
            unchanged.insert(cell, sent);
        } else {
            changed.push(cell);
        }
    }
    (unchanged, changed)
}

/// How many cells of a range the audit has judged, and how many are dirty: `dirty` has these, and what they should hold.
/// Judged are the cells that should hold something, and phantoms, without those that have become dirty since.
pub(crate) fn count_judged(verdicts: &Verdicts, dirty: &BTreeMap<cell::Cell, Count>) -> (u64, u64) {
    let phantoms = verdicts
        .wrong()
        .values()
        .filter(|drift| drift.expected == Count(0));
    let cells = verdicts.expected_cells() + number(phantoms);
    let known = dirty
        .iter()
        .filter(|(cell, expected)| **expected != Count(0) || verdicts.wrong().contains_key(*cell));
    (cells.saturating_sub(number(known)), number(dirty.iter()))
}

fn number<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |number, _| number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::{Cell, Counter, Granularity};
    use stitch_testkit::samples::slot_at;

    fn wrong(key: &str, sent: i64, now: i64) -> (Cell, Drift, Count) {
        let cell = Cell {
            counter: Counter::new("plays", key),
            slot: slot_at(Granularity::All, 0),
        };
        let drift = Drift::between(Count(9), Count(sent)).unwrap();
        (cell, drift, Count(now))
    }

    #[test]
    fn a_cell_that_a_correction_did_not_change_is_set_apart_from_one_that_keeps_changing() {
        let (aside, changing) = unchanged(vec![wrong("a", 0, 0), wrong("b", 1, 2)]);
        let (a, drift, _) = wrong("a", 0, 0);
        assert_eq!(aside, BTreeMap::from([(a, drift)]));
        assert_eq!(changing, [wrong("b", 1, 2).0]);
    }
}
