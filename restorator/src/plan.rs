//! The audit (rule R1): finds what is wrong, without any lock and without changing the store.
//!
//! It reads a base cut `c`, then in-doubt markers and dead members, and awaits a quiescence barrier if there are any. It
//! compares what all events below `c` add up to ([`base_totals`]: totals at an earlier cut, and the events since) with what
//! the table holds. Then it reads the ceilings, and judges only the
//! cells without an event from `c` up to there. [`converge`] repeats this with later cuts for the cells that are dirty.
//!
//! Reading the log takes as long as the log is. As long as nothing is judged by it, a cut costs nothing: it moves up once
//! the log is read, whenever many events lie above it ([`moving_cut`]), and right before cells are first judged. So what has
//! to be remembered of later events is seconds of the log, and not hours.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::cell::{Cell, Count};
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{EventLog, Nodes};
use stitch_common::range::RangeId;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::expected::{expected_cells, expected_of_dirty};
use crate::preflight;
use stitch_common::ports::Backends;
use stitch_expected::log_follower::LogFollower;

pub(crate) mod base_cut;
pub(crate) mod base_totals;
pub(crate) mod moving_cut;
pub(crate) mod ceilings;
pub mod judge;
pub(crate) mod audit_findings;
pub(crate) mod merge;
pub(crate) mod range_part;
pub(crate) mod scan;
pub(crate) mod converge;
pub mod file;
pub(crate) mod draft;

use audit_findings::AuditFindings;
use base_cut::BaseCut;
use base_totals::AddedUp;
use judge::{TEXTS_BYTES, Verdicts, WRONG_CELL_BYTES};
use range_part::RangePart;

/// The most rounds of converging: cells that change all the time are left to the lock.
const ROUNDS_MAX: usize = 8;

/// What an audit starts from, before it reads the table.
#[derive(Debug)]
pub(crate) struct AuditBaseline {
    pub(crate) cut: BaseCut,
    pub(crate) follower: LogFollower,
    /// What the operator should know of the totals that it starts from.
    pub(crate) notes: Vec<String>,
}

/// How far an audit has come, so that another member can go on with it.
#[derive(Debug)]
pub(crate) struct AuditProgress {
    findings: AuditFindings,
    remaining: VecDeque<RangePart>,
    slice: Option<Slice>,
    kept_bytes_max: usize,
}

/// Ranges that are audited together, or a part of one.
#[derive(Debug)]
struct Slice {
    parts: Vec<RangePart>,
    ranges: Vec<RangeId>,
    /// `None` until every cell was judged once, and if the verdicts are of no use.
    findings: Option<AuditFindings>,
    /// The cut by which cells were judged, until the log was followed to the ceilings.
    judged_at: Option<BaseCut>,
}

impl AuditProgress {
    /// Nothing is audited yet, and the log has been read.
    pub(crate) fn new<B: Backends>(context: &RestoreContext<'_, B>) -> Self {
        let bits = context.definitions().range_bits;
        let ranges = context.scope.ranges();
        Self {
            findings: AuditFindings::new(context.memory, []),
            remaining: ranges.map(|range| RangePart::whole(bits, range)).collect(),
            slice: None,
            kept_bytes_max: context.memory.available() / 4,
        }
    }

    /// Takes the findings of the whole scope, once all of it is audited.
    pub(crate) fn take_findings<B: Backends>(
        &mut self,
        context: &RestoreContext<'_, B>,
    ) -> AuditFindings {
        std::mem::replace(&mut self.findings, AuditFindings::new(context.memory, []))
    }
}

/// Reads a base cut, and adds up the log below it; then the cut moves up. Refuses checkpoints that contradict what the
/// consumer group had `committed` before. What may still change the store is waited out while the log is read; what appears
/// meanwhile, before cells are judged.
pub(crate) async fn begin<B: Backends>(
    context: &RestoreContext<'_, B>,
    committed: &BTreeMap<Partition, Offset>,
) -> Result<AuditBaseline, Error> {
    let ring = context.nodes.ring().await?;
    context.known.borrow_mut().learn(&ring);
    *context.ring.borrow_mut() = ring;
    let (cut, in_doubt) = BaseCut::read_with_in_doubt(context, context.scope.ranges()).await?;
    preflight(context, &cut, committed).await?;
    let mut added = None;
    let adding = async {
        added = Some(base_totals::add_up(context, &cut).await?);
        Ok(())
    };
    let rested = in_doubt.wait_out_before_reading(context);
    read_and_rest(context, adding, rested).await?;
    let AddedUp {
        totals,
        from,
        notes,
    } = added.expect("it was added up");
    let later = match BaseCut::read(context).await {
        Ok(later) => later,
        // What was read is not thrown away: the next member moves the cut.
        Err(_) if context.is_session_lost() => cut,
        Err(error) => return Err(error),
    };
    totals.borrow_mut().advance_free(|range| later.of(range))?;
    Ok(AuditBaseline {
        cut: later,
        follower: LogFollower::new(totals, &from),
        notes,
    })
}

/// How long Kafka may report ends of the log below the checkpoints.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Refuses checkpoints that do not fit the group's commits or the log. A broker that was deposed as leader reports an old
/// end for a while, so a checkpoint beyond the end is looked at again.
async fn preflight<B: Backends>(
    context: &RestoreContext<'_, B>,
    cut: &BaseCut,
    committed: &BTreeMap<Partition, Offset>,
) -> Result<(), Error> {
    let bits = context.definitions().range_bits;
    let until = context.clock.now().plus(END_PATIENCE);
    loop {
        let bounds = context.log.bounds(&cut.partitions()).await?;
        let checked = preflight::checkpoints(cut, committed, &bounds, bits);
        if checked.is_ok()
            || preflight::is_within(cut, &bounds, bits)
            || context.clock.now() >= until
        {
            return checked.map_err(Error::Refused);
        }
        context.clock.sleep(Duration::from_secs(1)).await;
    }
}

/// Reads the log while requests in flight are waited out. If the session is lost meanwhile the log is still read to its
/// end, which may take hours; before cells are read, all is waited out in any case.
async fn read_and_rest<B: Backends>(
    context: &RestoreContext<'_, B>,
    added: impl Future<Output = Result<(), Error>>,
    rested: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let (added, rested) = (pin!(added), pin!(rested));
    match select(added, rested).await {
        Either::Left((added, rested)) => {
            added?;
            match rested.await {
                Err(_) if context.is_session_lost() => Ok(()),
                rested => rested,
            }
        }
        Either::Right((Err(_), added)) if context.is_session_lost() => added.await,
        Either::Right((rested, added)) => {
            rested?;
            added.await
        }
    }
}

/// Judges every cell in scope, and converges until few are dirty; as many ranges at once as fit into memory if all of
/// their cells are wrong, or a part of one, if what is wrong in it does not fit. Passes the verdicts of each range or part to
/// `each`, with its dirty cells and what they should hold, and whether it is the last one of its range, before any of them is
/// forgotten: where much is wrong, only the number of wrong cells is kept.
///
/// Cancel-safe: whatever becomes of it, another member can go on with the same `progress`.
pub(crate) async fn audit<B: Backends, E: From<Error>>(
    context: &RestoreContext<'_, B>,
    baseline: &AuditBaseline,
    progress: &mut AuditProgress,
    mut each: impl FnMut(RangeId, &Verdicts, &BTreeMap<Cell, Count>, bool) -> Result<(), E>,
) -> Result<(), E> {
    let follower = &baseline.follower;
    let highest = baseline.cut.highest(context.scope);
    follower.reach(&highest).await.map_err(Error::from)?;
    let AuditProgress {
        findings,
        remaining,
        slice,
        kept_bytes_max,
    } = progress;
    loop {
        context.wait_while_paused().await?;
        if slice.is_none() && remaining.is_empty() {
            return Ok(());
        }
        // It stays there while it is audited: this may be dropped at any await, and what is not passed on is still to be done.
        let current = slice.get_or_insert_with(|| next_slice(context, follower, remaining));
        // Until its verdicts are passed on: what is dirty then belongs to them.
        let _held = follower.hold_cuts(&current.ranges);
        let audited = current.audit(context, follower).await;
        if let (Err(Error::ResourcesExhausted(_)), Some(smaller)) = (&audited, current.divide()) {
            let smaller = smaller.into_iter().rev();
            smaller.for_each(|part| remaining.push_front(part));
            *slice = None;
            continue;
        }
        audited?;
        let is_part = current.is_part();
        while let Some(&range) = current.ranges.first() {
            let dirty = expected_of_dirty(context, follower, range).await?;
            // Nothing is awaited from here on: each range is passed on once.
            let mut found = current.take_first();
            let is_last = remaining.iter().all(|part| part.range != range);
            each(range, found.of(range), &dirty, is_last)?;
            if is_part || findings.bytes() + found.bytes() > *kept_bytes_max {
                found.forget();
                follower.totals_mut().of_mut(range).judge_part(None);
            }
            findings.append(found);
        }
        *slice = None;
    }
}

/// About as many cells are scanned in a few seconds: so long, a cut cannot move.
const SLICE_CELLS_MAX: usize = 1_000_000;

/// Takes the next ranges whose cells could all be wrong and still fit into half of the available memory; one, or a part of
/// one, at least.
fn next_slice<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    remaining: &mut VecDeque<RangePart>,
) -> Slice {
    let cells_max =
        (context.memory.available() / 2 / (WRONG_CELL_BYTES + TEXTS_BYTES)).min(SLICE_CELLS_MAX);
    let (mut parts, mut cells) = (Vec::new(), 0_usize);
    while let Some(&next) = remaining.front() {
        let of_range = expected_cells(context, follower, next.range);
        let of_range = usize::try_from(of_range).unwrap_or(usize::MAX);
        cells = cells.saturating_add(of_range);
        let is_too_much = cells > cells_max || !next.may_have_others();
        if !parts.is_empty() && is_too_much {
            break;
        }
        parts.push(next);
        remaining.pop_front();
        if !next.may_have_others() {
            break;
        }
    }
    Slice {
        ranges: parts.iter().map(|part| part.range).collect(),
        parts,
        findings: None,
        judged_at: None,
    }
}

impl Slice {
    /// Whether it is a part of a range.
    fn is_part(&self) -> bool {
        self.parts.iter().any(|part| part.tokens().is_some())
    }

    /// Takes the verdicts of the first of its ranges, which is no part of it any more.
    fn take_first(&mut self) -> AuditFindings {
        self.parts.remove(0);
        let range = self.ranges.remove(0);
        self.findings.as_mut().expect("it is audited").take(range)
    }

    /// What is to be audited instead, one after the other, because what is wrong in it does not fit into memory; `None` if
    /// it cannot be divided.
    fn divide(&self) -> Option<Vec<RangePart>> {
        match &*self.parts {
            [one] => one.halves(),
            several => Some(several.iter().map(|part| part.alone()).collect()),
        }
    }

    /// Judges every cell of its ranges, and converges until few are dirty. The caller holds their cuts.
    ///
    /// # Errors
    /// What it keeps is right, and another member can go on with it.
    async fn audit<B: Backends>(
        &mut self,
        context: &RestoreContext<'_, B>,
        follower: &LogFollower,
    ) -> Result<(), Error> {
        // No cut was held while another member took over, so cells may have been passed that are not dirty any more.
        let mut is_resumed = self.findings.is_some() && can_converge(follower, &self.ranges);
        if !is_resumed {
            self.scan(context, follower).await?;
        }
        self.follow_to_ceilings(context, follower).await?;
        let target = share_of_target(context, self.ranges.len());
        let mut dirty = dirty(follower, &self.ranges);
        for round in 0..ROUNDS_MAX {
            // Once in any case: in a small namespace the cells that change most would never be judged.
            let is_enough = dirty == 0 || (round > 0 && dirty <= target);
            if !is_resumed && (is_enough || !can_converge(follower, &self.ranges)) {
                break;
            }
            context
                .progress
                .note(&format!("{dirty} cells became dirty meanwhile: converging"));
            let later = converge::later_cut(context, &self.ranges).await?;
            // If it fails some cuts have advanced, and the cells that they passed are not judged.
            let mut findings = self.findings.take().expect("every cell was judged once");
            converge::judge_at(context, follower, &later, &mut findings).await?;
            self.findings = Some(findings);
            self.judged_at = Some(later);
            self.follow_to_ceilings(context, follower).await?;
            is_resumed = false;
            let left = self::dirty(follower, &self.ranges);
            tracing::info!(round, dirty = left, "converged");
            if left > dirty / 10 * 9 {
                break;
            }
            dirty = left;
        }
        Ok(())
    }

    /// Judges every cell of its ranges by a cut of their own.
    async fn scan<B: Backends>(
        &mut self,
        context: &RestoreContext<'_, B>,
        follower: &LogFollower,
    ) -> Result<(), Error> {
        self.findings = None;
        for part in &self.parts {
            let tokens = part.tokens();
            follower.totals_mut().of_mut(part.range).judge_part(tokens);
        }
        let cut = converge::later_cut(context, &self.ranges).await?;
        for range in &self.ranges {
            let kept = follower.totals().of(*range).check_all_kept();
            // A range that is too far behind is judged by the cut that it has.
            if kept.is_ok() {
                follower.advance::<Error>(*range, &cut.of(*range)).await?;
            }
        }
        context.progress.begin("scanning the table", "cells", None);
        self.findings = Some(scan::first(context, follower, &self.ranges).await?);
        self.judged_at = Some(cut);
        context.progress.end();
        Ok(())
    }

    /// Follows the log to the ceilings, if that is still to be done after cells were judged. Later ones serve as well.
    async fn follow_to_ceilings<B: Backends>(
        &mut self,
        context: &RestoreContext<'_, B>,
        follower: &LogFollower,
    ) -> Result<(), Error> {
        if let Some(cut) = &self.judged_at {
            ceilings::follow(context, follower, &self.ranges, cut).await?;
            self.judged_at = None;
        }
        Ok(())
    }
}

/// What these ranges have of the number of dirty cells that may be left in the whole scope.
fn share_of_target<B: Backends>(context: &RestoreContext<'_, B>, ranges: usize) -> usize {
    let target = context.config.restorator.dirty_cells_target;
    let in_scope = context.scope.ranges().count().max(1);
    target.saturating_mul(ranges).div_ceil(in_scope)
}

/// Whether the cuts of these ranges can advance.
fn can_converge(follower: &LogFollower, ranges: &[RangeId]) -> bool {
    let totals = follower.totals();
    let mut kept = ranges
        .iter()
        .map(|range| totals.of(*range).check_all_kept());
    kept.all(|kept| kept.is_ok())
}

fn dirty(follower: &LogFollower, ranges: &[RangeId]) -> usize {
    let totals = follower.totals();
    let dirty = ranges.iter().map(|range| totals.of(*range).dirty_count());
    dirty.sum()
}
