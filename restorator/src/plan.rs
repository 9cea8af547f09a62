//! The plan (rule R1): what is wrong, found without any lock and without changing the store.
//!
//! A base cut `c` is read, then marks and tombstones, and a calm awaited if there are any; what the log adds up to
//! below `c` is compared with what the table holds; then Kafka is asked for its end, and only cells without an event
//! from `c` up to there are judged. Closing in repeats this with a later cut for the few cells that are left.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{TryFutureExt, try_join};
use stitch_common::cell::Cell;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{EventLog, Nodes};
use stitch_common::range::RangeId;

use crate::error::Error;
use crate::expected::ExpectedTotals;
use crate::ledgers::Ledgers;
use crate::quiet::Unrest;
use crate::refuse;
use crate::site::{Site, World};
use crate::tail::Tail;

pub mod base_cut;
pub mod judge;
pub mod merge;
pub mod scan;
pub mod closing_in;
pub mod file;

use base_cut::BaseCut;
use judge::Verdicts;

/// How often it closes in at most: traffic that never rests is left to the lock.
const ROUNDS_MAX: usize = 8;

/// What is known before the table is read.
#[derive(Debug)]
pub struct Begun {
    /// The base cut.
    pub cut: BaseCut,
    /// What the log adds up to, and its follower.
    pub tail: Tail,
}

/// Reads the base cut, refuses what does not fit what the group had `committed` before, waits out what may still change the store below it, and adds up the log.
///
/// # Errors
/// A server could not be asked, no calm came, or the totals are too large.
pub async fn begin<W: World>(
    site: &Site<'_, W>,
    totals: &impl ExpectedTotals,
    committed: &BTreeMap<Partition, Offset>,
) -> Result<Begun, Error> {
    let ring = site.nodes.ring().await?;
    site.known.borrow_mut().learn(&ring);
    *site.ring.borrow_mut() = ring;
    let cut = BaseCut::read(site).await?;
    // After the cut, never before: a request that becomes unknown between the two would be seen by neither.
    let unrest = Unrest::read(site, site.scope.ranges()).await?;
    let bounds = site.log.bounds(&cut.partitions()).await?;
    let bits = site.definitions().range_bits;
    refuse::progress(&cut, committed, &bounds, bits).map_err(Error::Refused)?;
    let lowest = cut.lowest(site.scope);
    let bytes_max = site.config.restorator.memory_bytes_max;
    let mut ledgers = Ledgers::new(site.definitions(), site.scope, bytes_max, |range| {
        cut.of(range)
    });
    let added = totals.add_below(&lowest, &mut ledgers, site.progress);
    try_join(added.map_err(Error::from), unrest.wait_out(site)).await?;
    let tail = Tail::new(ledgers, &lowest);
    Ok(Begun { cut, tail })
}

/// Judges every cell in scope, and closes in until few are left.
///
/// # Errors
/// A server could not be asked, or no calm came.
pub async fn audit<W: World>(
    site: &Site<'_, W>,
    begun: &Begun,
) -> Result<BTreeMap<RangeId, Verdicts>, Error> {
    let Begun { cut, tail } = begun;
    tail.reach(&cut.highest(site.scope)).await?;
    let mut verdicts = scan::scan(site, tail).await?;
    closing_in::reach_end(site, tail, cut).await?;
    let mut unjudged = unjudged(site, tail);
    for round in 0..ROUNDS_MAX {
        if unjudged <= site.config.restorator.unjudged_cells_target {
            break;
        }
        site.progress.note(&format!(
            "{unjudged} cells were touched meanwhile: closing in"
        ));
        closing_in::close_in(site, tail, &mut verdicts).await?;
        let left = self::unjudged(site, tail);
        tracing::info!(round, unjudged = left, "closed in");
        if left > unjudged / 10 * 9 {
            break;
        }
        unjudged = left;
    }
    Ok(verdicts)
}

fn unjudged<W: World>(site: &Site<'_, W>, tail: &Tail) -> usize {
    let ledgers = tail.ledgers();
    let touched = site.scope.ranges().map(|range| ledgers.of(range).touched());
    touched.map(|cells: BTreeSet<Cell>| cells.len()).sum()
}
