//! The restoration of one range (rules R2 to R8), one step a file, in the order in which they happen. Each step's value
//! can only be made by its own module, so none can be skipped or turned around, and the lock is given back by an
//! awaited call on success and on error alike.

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
use crate::plan::audit_findings::AuditFindings;
use crate::plan::converge;
use crate::plan::judge::{Drift, Verdicts, WRONG_CELL_BYTES};
use crate::unverified::Unverified;
use stitch_common::ports::Backends;
use stitch_totals::log_follower::LogFollower;
use stitch_totals::memory_pool::{MemoryReservation, TooLarge};

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
use apply::Sent;
use chunk::{Chunk, Chunks};
use verify::{Checked, Verified};

/// What became of a range.
#[derive(Debug)]
pub(crate) struct Restored {
    /// Which.
    pub(crate) range: RangeId,
    /// Whether every cell in scope is right, or why that is not shown.
    pub(crate) outcome: Result<Verified, Unverified>,
    /// What was corrected; of a range that is not proved, what was sent.
    pub(crate) corrected: BTreeMap<cell::Cell, Drift>,
    /// What the audit right before the lock knew.
    pub(crate) found: AuditFindings,
    /// How long its lock was waited for, all times together.
    pub(crate) waited: Duration,
    /// How long it was held, time after time.
    pub(crate) locked: Vec<Duration>,
}

impl Restored {
    /// A range that was not begun.
    #[must_use]
    pub(crate) fn not_begun(range: RangeId, found: AuditFindings, why: Error) -> Self {
        Self {
            range,
            outcome: Err(why.into()),
            corrected: BTreeMap::new(),
            found,
            waited: Duration::ZERO,
            locked: Vec::new(),
        }
    }
}

/// How often a cell is corrected. Not often: a cell that was deleted by hand swallows what is added to it, and may give
/// it back when its tombstone is gone.
const CORRECTIONS_MAX: usize = 2;
/// How many calms are awaited for corrections of unknown outcome.
const CALMS_MAX: usize = 2;

/// What a cell takes under the lock, beside its verdict: what it should hold and holds, its correction, the request that
/// sends it and the one that reads it again. Measured: 550 where each counter has one such cell, which is the worst.
pub(crate) const LOCKED_CELL_BYTES: usize = 640;

/// Restores a range: closes in once more, so that little is left for the lock, then locks, corrects, verifies and gives
/// the lock back; where much is wrong, a portion at a time. `found` is what is known of this range alone.
pub(crate) async fn run<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    journal: &Journal,
    range: RangeId,
    mut found: AuditFindings,
) -> Restored {
    let mut chunks = Chunks::default();
    let mut corrected = BTreeMap::new();
    let mut kept = context.memory.reservation();
    let (mut waited, mut locked) = (Duration::ZERO, Vec::new());
    let outcome = loop {
        let closing_in = converge::converge(context, follower, &mut found);
        let interrupted = context.lease.interrupted();
        if let Err(error) = match select(pin!(closing_in), pin!(interrupted)).await {
            Either::Left((closed_in, _)) => closed_in,
            Either::Right((why, _)) => Err(Error::Interrupted(why)),
        } {
            break Err(error.into());
        }
        let mut claim = Claim::new(context, range);
        let next = chunks.next(
            context.chunk_sizer.cells(),
            found.of(range),
            follower.totals().of(range),
        );
        let ended = under_one_lock(
            context,
            follower,
            journal,
            &mut claim,
            found.of(range),
            next,
        )
        .await;
        let given_back = release::range(context, claim).await;
        waited += given_back.waited;
        locked.extend(given_back.locked);
        for (cell, drift) in given_back.corrected {
            corrected.entry(cell).or_insert(drift);
        }
        match ended {
            Ok(Ended::Verified(verified)) => break Ok(verified),
            Ok(Ended::Chunk(cells)) => {
                if let Err(error) = made_right(&mut found, range, &cells, &mut kept) {
                    break Err(Error::from(error).into());
                }
            }
            Err(why) => break Err(why),
        }
    };
    Restored {
        range,
        outcome,
        corrected,
        found,
        waited,
        locked,
    }
}

/// These cells count as judged from now on. What is known of them is what was corrected, and `kept` for that.
fn made_right(
    found: &mut AuditFindings,
    range: RangeId,
    cells: &[cell::Cell],
    kept: &mut MemoryReservation,
) -> Result<(), TooLarge> {
    found.change(|verdicts| {
        let verdicts = verdicts.entry(range).or_default();
        cells.iter().for_each(|cell| verdicts.right(cell));
    })?;
    kept.try_grow(cells.len() * WRONG_CELL_BYTES)
}

/// How the work under one lock ended.
enum Ended {
    /// The range is proved.
    Verified(Verified),
    /// These cells are right; the others are left to further locks.
    Chunk(Vec<cell::Cell>),
}

/// Corrects what is wrong under one lock: all of it, which is then verified, or a chunk.
async fn under_one_lock<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    journal: &Journal,
    claim: &mut Claim,
    verdicts: &Verdicts,
    chunk: Option<Chunk>,
) -> Result<Ended, Unverified> {
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
    let dirty = dirty::follow(&held, &cut, verdicts, chunk.as_ref()).await?;
    let locked = dirty.expected().len() * LOCKED_CELL_BYTES;
    room.try_resize(locked).map_err(Error::from)?;
    let begun = context.clock.now();
    let (mut corrections, mut calms) = (0, 0);
    loop {
        let current = current::read(&held, &dirty).await?;
        let delta = delta::between(&mut held, current)?;
        let applied = match apply::once(&mut held, &cut, delta).await? {
            Sent::Applied(applied) => applied,
            Sent::Unknown if calms == CALMS_MAX => return Err(Unverified::Unknown),
            Sent::Unknown => {
                calms += 1;
                apply::wait_out(&mut held).await?;
                continue;
            }
        };
        corrections += 1;
        let checked = verify::again(&mut held, &cut, &dirty, applied).await?;
        if calms == 0 {
            let took = context.clock.now().since(begun);
            context.chunk_sizer.learn(dirty.expected().len(), took);
        }
        match checked {
            Checked::Right(verified) => return Ok(Ended::Verified(verified)),
            Checked::Chunk(cells) => return Ok(Ended::Chunk(cells)),
            Checked::Wrong(wrong) if corrections == CORRECTIONS_MAX => return Err(stubborn(wrong)),
            Checked::Wrong(_) => {}
        }
    }
}

/// Cells that did not become right: those that no correction moved take no increments at all.
fn stubborn(wrong: Vec<(cell::Cell, Drift, Count)>) -> Unverified {
    let (deaf, moved): (Vec<_>, Vec<_>) = wrong
        .into_iter()
        .partition(|(_, sent, now)| sent.current == *now);
    let cells = |wrong: Vec<(cell::Cell, Drift, Count)>| {
        wrong.into_iter().map(|(cell, _, _)| cell).collect()
    };
    if deaf.is_empty() {
        Unverified::KeepsChanging(cells(moved))
    } else {
        Unverified::IgnoresIncrements(cells(deaf))
    }
}

/// How many cells of the range the audit has judged: those that the log expects, and phantoms, but for those that were
/// touched since.
#[must_use]
pub(crate) fn judged(follower: &LogFollower, range: RangeId, verdicts: &Verdicts) -> (u64, u64) {
    let totals = follower.totals();
    let totals = totals.of(range);
    let dirty = totals.dirty();
    let phantoms = verdicts
        .wrong()
        .values()
        .filter(|drift| drift.expected == Count(0));
    let cells = totals.cells() + number(phantoms);
    let known = dirty.iter().filter(|cell| {
        let place = stitch_totals::scan_key::ScanKey::of(cell.counter.clone());
        totals.expected(&place, cell.slot) != Count(0) || verdicts.wrong().contains_key(cell)
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
    fn a_cell_that_no_correction_moves_is_named_as_deleted_by_hand() {
        let deaf = stubborn(vec![wrong("a", 0, 0), wrong("b", 1, 2)]);
        assert_eq!(
            deaf,
            Unverified::IgnoresIncrements(vec![wrong("a", 0, 0).0])
        );
        assert!(deaf.to_string().contains("plays/a") && deaf.help().contains("deleted by hand"));
        let restless = stubborn(vec![wrong("b", 1, 2)]);
        assert_eq!(
            restless,
            Unverified::KeepsChanging(vec![wrong("b", 1, 2).0])
        );
    }
}
