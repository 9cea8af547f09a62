//! The restoration of one range (rules R1 to R8), one step a file, in order:
//!
//! | step | rule | what it does | yields |
//! |---|---|---|---|
//! | [`mod@converge`] | R1 | audits the cells that later cuts have passed, so that little is left for the lock | `AuditFindings` |
//! | [`acquire`] | R2 | takes the exclusive lock, and waits out what is in doubt | `LockedRange` |
//! | [`cut`] | R3 | reads the cut under the lock | `Cut` |
//! | [`dirty`] | R4 | follows the log to the ceilings: which cells can be wrong, and what they should hold | `DirtyCells` |
//! | [`current`] | R5 | reads what they hold | `CurrentDrift` |
//! | [`delta`] | R6 | computes the corrections, within the operator's limits | `Delta` |
//! | [`apply`] | R6 | writes the journal, then sends each correction once | `AppliedCorrections` |
//! | [`verify`] | R7 | reads the corrected cells again, and checks that nothing broke the protocol | `VerifiedRange` |
//! | [`release`] | R8 | leaves an in-doubt marker if need be, and releases the lock | `ReleasedClaim` |
//!
//! Each value can only be made by its own module, so no step can be skipped or reordered. The lock is released by an
//! awaited call, on success and on error alike. Where much is wrong, the steps are repeated for a [`chunk`] at a time.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::cell::{self, Count};
use stitch_common::clock::Clock;
use stitch_common::range::RangeId;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::failpoint;
use crate::journal::Journal;
use crate::patience::while_kafka_delivers;
use crate::plan::audit_findings::AuditFindings;
use crate::plan::converge;
use crate::plan::judge::{Drift, Verdicts, WRONG_CELL_BYTES};
use crate::unverified::Unverified;
use stitch_common::ports::Backends;
use stitch_totals::log_follower::LogFollower;
use stitch_totals::memory_pool::{MemoryReservation, TooLarge};
use stitch_totals::scan_key::ScanKey;

pub(crate) mod bound;
pub(crate) mod chunk_sizer;
pub mod chunk;
pub(crate) mod acquire;
pub(crate) mod cut;
pub mod dirty;
pub(crate) mod current;
pub(crate) mod delta;
pub(crate) mod apply;
pub mod verify;
pub(crate) mod release;

use acquire::Claim;
use apply::ApplyOutcome;
use chunk::{Chunk, Chunks};
use verify::{VerifiedRange, VerifyOutcome};

/// The outcome of a range.
#[derive(Debug)]
pub(crate) struct RangeResult {
    pub(crate) range: RangeId,
    pub(crate) outcome: Result<VerifiedRange, Unverified>,
    /// What was corrected; in an unverified range, what was sent.
    pub(crate) corrected: BTreeMap<cell::Cell, Drift>,
    /// The cells that no correction changes, with the drift that they still have.
    pub(crate) aside: BTreeMap<cell::Cell, Drift>,
    /// Whether every cell that may be wrong was read under the last lock.
    pub(crate) all_read: bool,
    /// The findings of the audit right before the last lock.
    pub(crate) findings: AuditFindings,
    /// How long its locks were waited for, in total.
    pub(crate) waited: Duration,
    /// How long each of its locks was held.
    pub(crate) locked: Vec<Duration>,
}

impl RangeResult {
    pub(crate) fn not_started(range: RangeId, findings: AuditFindings, why: Error) -> Self {
        Self {
            range,
            outcome: Err(why.into()),
            corrected: BTreeMap::new(),
            aside: BTreeMap::new(),
            all_read: false,
            findings,
            waited: Duration::ZERO,
            locked: Vec::new(),
        }
    }
}

/// How often a cell is corrected. A cell that a correction did not change at all is not corrected again: it was deleted by
/// hand, swallows what is added to it, and may return it once Cassandra's tombstone is gone.
const CORRECTIONS_MAX: usize = 2;
/// How many quiescence barriers are awaited for corrections of unknown outcome.
const BARRIERS_MAX: usize = 2;

/// The memory of a cell under the lock, besides its verdict: expected and current count, its correction, the request that
/// sends it and the one that reads it again. Measured: 550 if each counter has one such cell, which is the worst case.
pub(crate) const LOCKED_CELL_BYTES: usize = 640;

/// Restores a range, a chunk at a time where much is wrong. `findings` are those of this range alone.
pub(crate) async fn run<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    journal: &Journal,
    range: RangeId,
    mut findings: AuditFindings,
) -> RangeResult {
    let _held = follower.hold_cuts(&[range]);
    let mut chunks = Chunks::default();
    let (mut corrected, mut aside) = (BTreeMap::new(), BTreeMap::new());
    let mut all_read = false;
    let mut kept = context.memory.reservation();
    let (mut waited, mut locked) = (Duration::ZERO, Vec::new());
    let outcome = loop {
        if let Err(error) = converge(context, follower, range, &mut findings, &aside).await {
            break Err(error.into());
        }
        let mut claim = Claim::new(context, range, std::mem::take(&mut corrected));
        let (verdicts, cells_max) = (findings.of(range), context.chunk_sizer.cells());
        let chunk = chunks.next(cells_max, verdicts, follower.totals().of(range));
        let locking = Locking {
            context,
            follower,
            journal,
            verdicts,
        };
        let result = locking.under_one_lock(&mut claim, chunk, &mut aside).await;
        let released = release::range(context, claim).await;
        if let Err(error) = journal.sync() {
            context.progress.note(&format!("{error}: {}", error.cause));
        }
        waited += released.waited;
        locked.extend(released.locked);
        all_read = released.all_read;
        corrected = released.corrected;
        match result {
            Ok(LockResult::Verified(_)) if !aside.is_empty() => {
                break Err(Unverified::IgnoresIncrements(
                    aside.keys().cloned().collect(),
                ));
            }
            Ok(LockResult::Verified(verified)) => break Ok(verified),
            Ok(LockResult::Chunk(cells)) => {
                if let Err(error) = note_corrected(&mut findings, range, &cells, &mut kept) {
                    break Err(Error::from(error).into());
                }
            }
            Err(why) => break Err(why),
        }
    };
    RangeResult {
        range,
        outcome,
        corrected,
        aside,
        all_read,
        findings,
        waited,
        locked,
    }
}

/// Converges, unless the process has to stop. What is set `aside` needs no lock any more.
async fn converge<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    range: RangeId,
    findings: &mut AuditFindings,
    aside: &BTreeMap<cell::Cell, Drift>,
) -> Result<(), Error> {
    let converging = converge::converge(context, follower, findings);
    let converging = while_kafka_delivers(context, follower, converging);
    let interrupted = context.lease.interrupted();
    match select(pin!(converging), pin!(interrupted)).await {
        Either::Left((converged, _)) => converged?,
        Either::Right((why, _)) => return Err(Error::Interrupted(why)),
    }
    findings.change(|verdicts| {
        let verdicts = verdicts.entry(range).or_default();
        aside.keys().for_each(|cell| verdicts.judge_right(cell));
    })?;
    Ok(())
}

/// Notes that these cells were corrected, and so are judged right. `kept` is the memory for what was corrected.
fn note_corrected(
    findings: &mut AuditFindings,
    range: RangeId,
    cells: &[cell::Cell],
    kept: &mut MemoryReservation,
) -> Result<(), TooLarge> {
    findings.change(|verdicts| {
        let verdicts = verdicts.entry(range).or_default();
        cells.iter().for_each(|cell| verdicts.judge_right(cell));
    })?;
    kept.try_grow(cells.len() * WRONG_CELL_BYTES)
}

/// The result of the work under one lock.
enum LockResult {
    /// The range is verified.
    Verified(VerifiedRange),
    /// These cells are right; the others are left to later locks.
    Chunk(Vec<cell::Cell>),
}

/// What the work under every lock of a range needs.
struct Locking<'a, 'c, B: Backends> {
    context: &'a RestoreContext<'c, B>,
    follower: &'a LogFollower,
    journal: &'a Journal,
    verdicts: &'a Verdicts,
}

impl<B: Backends> Locking<'_, '_, B> {
    /// Corrects under one lock all cells that are wrong, and verifies the range; or corrects a chunk. Cells that no
    /// correction changes are put `aside`, and left alone from then on.
    async fn under_one_lock(
        &self,
        claim: &mut Claim,
        chunk: Option<Chunk>,
        aside: &mut BTreeMap<cell::Cell, Drift>,
    ) -> Result<LockResult, Unverified> {
        let Self {
            context,
            follower,
            journal,
            verdicts,
        } = *self;
        let cells = match &chunk {
            Some(chunk) => chunk.cells().len(),
            None => verdicts.wrong().len() + follower.totals().of(claim.range).dirty_count(),
        };
        // Nothing is locked unless there is memory for the cells that are known to need the lock.
        let room = context.memory.try_reserve(cells * LOCKED_CELL_BYTES);
        let mut room = room.map_err(Error::from)?;
        failpoint::pass("r2-closed-in");
        let mut held = acquire::range(context, follower, journal, claim).await?;
        let cut = cut::find(&held).await?;
        let mut dirty = dirty::follow(&held, &cut, verdicts, chunk.as_ref()).await?;
        dirty.set_aside(aside.keys());
        let locked = dirty.expected().len() * LOCKED_CELL_BYTES;
        room.try_resize(locked).map_err(Error::from)?;
        let start = context.clock.now();
        let (mut corrections, mut barriers) = (0, 0);
        loop {
            let mut current = current::read(&held, &dirty).await?;
            held.claim.all_read = dirty.is_all();
            let ignored = apply::resolve(&mut held, &current);
            current.set_aside(&ignored);
            dirty.set_aside(ignored.keys());
            aside.extend(ignored);
            let delta = delta::between(&mut held, current)?;
            let applied = match apply::once(&mut held, &cut, delta).await? {
                ApplyOutcome::Applied(applied) => applied,
                ApplyOutcome::Unknown if barriers == BARRIERS_MAX => {
                    return Err(Unverified::Unknown);
                }
                ApplyOutcome::Unknown => {
                    barriers += 1;
                    apply::wait_out(&mut held).await?;
                    continue;
                }
            };
            corrections += 1;
            let checked = verify::again(&mut held, cut.doubts(), &dirty, applied).await?;
            if barriers == 0 {
                let took = context.clock.now().since(start);
                context.chunk_sizer.learn(dirty.expected().len(), took);
            }
            let wrong = match checked {
                VerifyOutcome::Right(verified) => return Ok(LockResult::Verified(verified)),
                VerifyOutcome::Chunk(cells) => return Ok(LockResult::Chunk(cells)),
                VerifyOutcome::Wrong(wrong) => wrong,
            };
            let (unchanged, changed) = unchanged(wrong);
            dirty.set_aside(unchanged.keys());
            aside.extend(unchanged);
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

/// How many cells of the range the audit has judged, and how many are dirty. Judged are the cells that the log expects,
/// and phantoms, without those that have become dirty since.
pub(crate) fn count_judged(
    follower: &LogFollower,
    range: RangeId,
    verdicts: &Verdicts,
) -> (u64, u64) {
    let totals = follower.totals();
    let totals = totals.of(range);
    let dirty = totals.dirty();
    let phantoms = verdicts
        .wrong()
        .values()
        .filter(|drift| drift.expected == Count(0));
    let cells = totals.cells() + number(phantoms);
    let known = dirty.iter().filter(|cell| {
        let key = ScanKey::of(cell.counter.clone());
        totals.expected(&key, cell.slot) != Count(0) || verdicts.wrong().contains_key(cell)
    });
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
