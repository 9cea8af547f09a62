//! The plan (rule R1): what is wrong, found without any lock and without changing the store.
//!
//! A base cut `c` is read, then marks and tombstones, and a calm awaited if there are any; what the log adds up to
//! below `c` is compared with what the table holds; then Kafka is asked for its end, and only cells without an event
//! from `c` up to there are judged. Closing in repeats this with a later cut for the few cells that are left.

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::{TryFutureExt, try_join};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{EventLog, Nodes};
use stitch_common::range::RangeId;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::preflight;
use crate::rule;
use stitch_common::ports::Backends;
use stitch_totals::log_follower::LogFollower;
use stitch_totals::source::ExpectedTotals;
use stitch_totals::totals_by_range::TotalsByRange;

pub(crate) mod base_cut;
pub mod judge;
pub(crate) mod audit_findings;
pub(crate) mod merge;
pub(crate) mod scan;
pub(crate) mod converge;
pub mod file;
pub(crate) mod draft;

use audit_findings::AuditFindings;
use base_cut::BaseCut;
use judge::{Verdicts, WRONG_CELL_BYTES};

/// How often it closes in at most: traffic that never rests is left to the lock.
const ROUNDS_MAX: usize = 8;

/// What is known before the table is read.
#[derive(Debug)]
pub(crate) struct AuditBaseline {
    /// The base cut.
    pub(crate) cut: BaseCut,
    /// What the log adds up to, and its follower.
    pub(crate) follower: LogFollower,
}

/// Reads the base cut, refuses what does not fit what the group had `committed` before, waits out what may still change the store below it, and adds up the log.
///
/// # Errors
/// A server could not be asked, no calm came, or the totals are too large.
pub(crate) async fn begin<B: Backends>(
    context: &RestoreContext<'_, B>,
    source: &impl ExpectedTotals,
    committed: &BTreeMap<Partition, Offset>,
) -> Result<AuditBaseline, Error> {
    let ring = context.nodes.ring().await?;
    context.known.borrow_mut().learn(&ring);
    *context.ring.borrow_mut() = ring;
    let (cut, in_doubt) = BaseCut::and_in_doubt(context, context.scope.ranges()).await?;
    let bounds = context.log.bounds(&cut.partitions()).await?;
    let bits = context.definitions().range_bits;
    preflight::progress(&cut, committed, &bounds, bits).map_err(Error::Refused)?;
    let lowest = cut.lowest(context.scope);
    let cut_of = |range| cut.of(range);
    let mut totals = TotalsByRange::new(
        context.definitions(),
        context.scope,
        &context.memory,
        cut_of,
    );
    let added = source.add_below(&lowest, &mut totals, context.progress);
    let rested = in_doubt.wait_out_before_reading(context);
    try_join(added.map_err(Error::from), rested).await?;
    let follower = LogFollower::new(totals, &lowest);
    Ok(AuditBaseline { cut, follower })
}

/// Judges every cell in scope, and closes in until few are left; as many ranges at once as fit into memory if all of
/// their cells are wrong. Tells `each` what is known of a range before any of it is forgotten: where much is wrong, only
/// how much that is can be kept.
///
/// # Errors
/// A server could not be asked, no calm came, too much is wrong, or `each` refused.
pub(crate) async fn audit<B: Backends, E: From<Error>>(
    context: &RestoreContext<'_, B>,
    begun: &AuditBaseline,
    mut each: impl FnMut(&LogFollower, RangeId, &Verdicts) -> Result<(), E>,
) -> Result<AuditFindings, E> {
    let AuditBaseline { cut, follower } = begun;
    let highest = cut.highest(context.scope);
    follower.reach(&highest).await.map_err(Error::from)?;
    let kept_max = context.memory.available() / 4;
    let mut found = AuditFindings::new(&context.memory, []);
    let mut left: VecDeque<RangeId> = context.scope.ranges().collect();
    while !left.is_empty() {
        let slice = slice(context, follower, &mut left);
        let mut some = some(context, begun, &slice).await?;
        for &range in &slice {
            each(follower, range, some.of(range))?;
        }
        if found.bytes() + some.bytes() > kept_max {
            some.forget();
        }
        found.append(some);
    }
    Ok(found)
}

/// The next ranges whose cells could all be wrong and still fit into half of the memory that is left; one at least.
fn slice<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    left: &mut VecDeque<RangeId>,
) -> Vec<RangeId> {
    let totals = follower.totals();
    let (mut slice, mut bytes) = (Vec::new(), 0);
    while let Some(&next) = left.front() {
        let cells = usize::try_from(totals.of(next).cells()).unwrap_or(usize::MAX);
        bytes += cells.saturating_mul(WRONG_CELL_BYTES);
        if !slice.is_empty() && bytes > context.memory.available() / 2 {
            break;
        }
        slice.push(next);
        left.pop_front();
    }
    slice
}

/// Judges every cell of these ranges, and closes in until few are left.
async fn some<B: Backends>(
    context: &RestoreContext<'_, B>,
    begun: &AuditBaseline,
    ranges: &[RangeId],
) -> Result<AuditFindings, Error> {
    let AuditBaseline { cut, follower } = begun;
    context.progress.begin("scanning the table", "cells", None);
    let mut found = scan::first(context, follower, ranges).await?;
    context.progress.end();
    if rule::end_is_queried_after_reading() {
        follower.reach_end(context.log, &cut.partitions()).await?;
    }
    let mut unjudged = unjudged(follower, ranges);
    for round in 0..ROUNDS_MAX {
        if unjudged <= context.config.restorator.dirty_cells_target {
            break;
        }
        context.progress.note(&format!(
            "{unjudged} cells were touched meanwhile: closing in"
        ));
        converge::converge(context, follower, &mut found).await?;
        let left = self::unjudged(follower, ranges);
        tracing::info!(round, unjudged = left, "closed in");
        if left > unjudged / 10 * 9 {
            break;
        }
        unjudged = left;
    }
    Ok(found)
}

fn unjudged(follower: &LogFollower, ranges: &[RangeId]) -> usize {
    let totals = follower.totals();
    let dirty = ranges.iter().map(|range| totals.of(*range).dirty_count());
    dirty.sum()
}
