//! R6 without the lock: corrects cells at rest.
//!
//! A cell was read at `ALL` after a barrier, and has no event from the cut up to the ceiling, which was read after the cell. So it changes only by events that are not begun yet. Increments commute: what it lacks may be added at any
//! time, whatever is added meanwhile, under the restoration lock alone. Then it is read again: it is right if it still
//! rests; otherwise it is dirty, like every cell with an event, and left to a later round or to the lock.
//!
//! So the exclusive lock is held for cells that never rest, and no longer if more is wrong. A cell is corrected here once: if
//! it is wrong again after that, only the lock can tell why.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures_util::future::{Either, select};
use stitch_common::cell::{Cell, Count};
use stitch_common::ports::Backends;
use stitch_expected::log_follower::LogFollower;
use stitch_protocol::in_doubt;

use super::LOCKED_CELL_BYTES;
use super::delta;
use super::sent::{AppliedCorrections, SendOutcome, SentCorrections};
use crate::cells::{self, Waiting};
use crate::error::Error;
use crate::plan::audit_findings::AuditFindings;
use crate::plan::base_cut::BaseCut;
use crate::plan::ceilings;
use crate::plan::judge::{Drift, Verdicts};
use crate::rule;
use crate::unverified::Unverified;

/// What a round of corrections without the lock has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestOutcome {
    /// No cell at rest is wrong, except those that a correction did not change.
    Nothing,
    Corrected,
    /// The outcome of some corrections is unknown. There is an in-doubt marker, and the cells are judged again.
    InDoubt,
}

/// The most cells that are corrected before they are read again.
const CELLS_AT_ONCE: usize = 10_000;

/// The cells of a range that are wrong and at rest.
pub fn wrong_cells(verdicts: &Verdicts, dirty: &BTreeSet<Cell>) -> Vec<(Cell, Drift)> {
    let nothing = BTreeSet::new();
    let dirty = match rule::only_cells_at_rest_are_corrected_without_the_lock() {
        true => dirty,
        false => &nothing,
    };
    let wrong = verdicts.wrong_and_clean(dirty);
    wrong.map(|(cell, drift)| (cell.clone(), drift)).collect()
}

/// Corrects the cells of the range that are wrong and at rest, once each. `findings` are those of this range alone, right
/// after it has converged. Cells that a correction does not change are put `aside`.
///
/// # Errors
/// No correction is in flight any more, or there is an in-doubt marker or a dead member.
pub(crate) async fn correct<B: Backends>(
    sent: &mut SentCorrections<'_, B>,
    follower: &LogFollower,
    findings: &mut AuditFindings,
    aside: &mut BTreeMap<Cell, Drift>,
) -> Result<RestOutcome, Unverified> {
    let range = sent.range();
    let mut wrong = wrong_cells(findings.of(range), &follower.totals().of(range).dirty());
    wrong.retain(|(cell, _)| !sent.corrected().contains_key(cell));
    if wrong.is_empty() {
        return Ok(RestOutcome::Nothing);
    }
    let memory = &sent.context().memory;
    let fit = memory.available() / 2 / LOCKED_CELL_BYTES;
    let (fit, mut rest) = (fit.clamp(1, CELLS_AT_ONCE), &*wrong);
    while !rest.is_empty() {
        sent.context().wait_for_rate().await?;
        let chunk = fit.min(sent.context().control.chunk_max());
        let wrong;
        (wrong, rest) = rest.split_at(chunk.min(rest.len()));
        let room = memory.try_reserve(wrong.len() * LOCKED_CELL_BYTES);
        let _room = room.map_err(Error::from)?;
        match send(sent, follower, wrong).await? {
            SendOutcome::Applied(applied) => {
                read_again(sent, follower, findings, applied, aside).await?;
            }
            SendOutcome::Unknown => {
                let mut totals = follower.totals_mut();
                let cells = wrong.iter().map(|(cell, _)| cell);
                totals.of_mut(range).judge_again(cells);
                return Ok(RestOutcome::InDoubt);
            }
        }
    }
    Ok(RestOutcome::Corrected)
}

async fn send<B: Backends>(
    sent: &mut SentCorrections<'_, B>,
    follower: &LogFollower,
    wrong: &[(Cell, Drift)],
) -> Result<SendOutcome, Unverified> {
    let (context, range) = (sent.context(), sent.range());
    let cut = follower.totals().of(range).cut().clone();
    let delta = delta::of(sent, wrong.to_vec())?;
    let outcome = sent.send(&cut, delta, None, async { Ok(()) }).await;
    if sent.is_in_doubt() && rule::corrections_in_doubt_without_the_lock_are_marked() {
        let note = "the outcome of some corrections is unknown: their cells are read again after quiescence";
        context.progress.note(note);
        // Until the marker exists, the member node itself has to remain as a dead member.
        context.lease.note_in_doubt();
        if let Err(error) = in_doubt::create(context.session, range).await {
            // The range may begin again: then only the end of this member makes that its requests are waited out.
            context.lease.give_up_session();
            return Err(error.into());
        }
        context.lease.note_marker();
    }
    outcome
}

/// Judges the corrected cells again, and then follows the log to the ceilings: what rests is right, or ignores increments.
async fn read_again<B: Backends>(
    sent: &mut SentCorrections<'_, B>,
    follower: &LogFollower,
    findings: &mut AuditFindings,
    applied: AppliedCorrections,
    aside: &mut BTreeMap<Cell, Drift>,
) -> Result<(), Unverified> {
    let (context, range) = (sent.context(), sent.range());
    let reading = async {
        let corrected = applied.corrections().iter().map(|(cell, _)| cell);
        let read = cells::read(context, Waiting::WithoutLock, corrected).await?;
        ceilings::follow(context, follower, &[range], &BaseCut::default()).await?;
        Ok::<_, Error>(read)
    };
    let read = match select(pin!(reading), pin!(context.interrupted())).await {
        Either::Left((read, _)) => read?,
        Either::Right((why, _)) => return Err(Error::Interrupted(why).into()),
    };
    let read: BTreeMap<Cell, Count> = read.into_iter().collect();
    let dirty = follower.totals().of(range).dirty();
    let (mut ignored, mut unread) = (BTreeMap::new(), BTreeSet::new());
    for (cell, drift) in applied.corrections() {
        if dirty.contains(cell) {
            unread.insert(cell.clone());
        } else if read.get(cell) == Some(&drift.current) {
            ignored.insert(cell.clone(), *drift);
        }
    }
    sent.note_ignored(&applied, &ignored.keys().collect());
    sent.note_unread(&applied, &unread);
    findings
        .change(|verdicts| {
            let verdicts = verdicts.entry(range).or_default();
            for (cell, drift) in applied.corrections() {
                let now = match rule::corrected_cells_are_read_again() {
                    true => read.get(cell).copied().unwrap_or_default(),
                    false => drift.expected,
                };
                verdicts.judge(cell.clone(), drift.expected, now);
            }
            ignored.keys().for_each(|cell| verdicts.judge_right(cell));
        })
        .map_err(Error::from)?;
    aside.append(&mut ignored);
    Ok(())
}
