//! What the cells should hold that will be read under the lock, as far as that can be known before it. Under the lock
//! nothing waits for an object store: what has changed since is added up from the log, and cells that were not foreseen
//! are looked up on local disk.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures_util::future::{Either, select};
use stitch_common::cell::{Amount, Cell, Count, Counter};
use stitch_common::ports::Backends;
use stitch_common::range::RangeId;
use stitch_expected::base_part::BasePart;
use stitch_expected::expected_error::ExpectedError;
use stitch_expected::log_follower::LogFollower;
use stitch_expected::memory_pool::MemoryReservation;
use stitch_expected::parts::{self, LookupBase};
use stitch_totals::sorted::tokens::TokenSelection;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::plan::judge::{TEXTS_BYTES, Verdicts, WRONG_CELL_BYTES};

/// The base's part of a range on local disk.
///
/// # Errors
/// It cannot be read or kept, or the process has to stop. Nothing was locked.
pub(crate) async fn copy_base_part<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    range: RangeId,
) -> Result<BasePart, Error> {
    let base = context.base.get();
    let folder = follower.totals().spill_folder().clone();
    let tokens = tokens(context, follower, range);
    let copying = BasePart::copy(base.as_deref(), tokens, &folder);
    match select(pin!(copying), pin!(context.interrupted())).await {
        Either::Left((part, _)) => Ok(part.map_err(ExpectedError::from)?),
        Either::Right((why, _)) => Err(Error::Interrupted(why)),
    }
}

/// The tokens that cells in scope of the range, or of the part of it that is being judged, have.
fn tokens<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    range: RangeId,
) -> TokenSelection {
    if let (Some(name), Some(key)) = (&context.scope.counter, &context.scope.key) {
        let counter = Counter::new(name.0.clone(), key.0.clone());
        return TokenSelection::listed([counter.token()]);
    }
    let part = follower.totals().of(range).part();
    let whole = || context.definitions().range_bits.interval(range);
    part.unwrap_or_else(whole).into()
}

/// The part of the available memory that foreseen cells may take. Others are looked up under the lock.
const PART: usize = 4;

/// What cells should hold at the range's cut before the lock.
#[derive(Debug)]
pub(crate) struct KnownCounts<'a> {
    part: &'a BasePart,
    counts: BTreeMap<Cell, Count>,
    _reservation: MemoryReservation,
}

impl<'a> KnownCounts<'a> {
    /// Looks up the wrong cells of the range, and those with events above its cut. `part` has the base's cells of the range.
    ///
    /// # Errors
    /// Totals cannot be read.
    pub(crate) async fn look_up<B: Backends>(
        context: &RestoreContext<'_, B>,
        follower: &LogFollower,
        range: RangeId,
        part: &'a BasePart,
        verdicts: &Verdicts,
    ) -> Result<Self, Error> {
        let fit = context.memory.available() / PART / (WRONG_CELL_BYTES + TEXTS_BYTES);
        let cells = {
            let totals = follower.totals();
            let totals = totals.of(range);
            let mut cells = totals.dirty_soon(fit);
            let wrong = verdicts.wrong().keys();
            let wrong = wrong.filter(|cell| !totals.is_passed(cell));
            cells.extend(wrong.take(fit - cells.len()).cloned());
            cells
        };
        let bytes = cells.len() * (WRONG_CELL_BYTES + TEXTS_BYTES);
        let reservation = context.memory.try_reserve(bytes)?;
        let counts = counts::<B>(follower, part, cells).await?;
        Ok(Self {
            part,
            counts,
            _reservation: reservation,
        })
    }

    /// What these cells should hold now, if this much has `passed` since: added up for cells that are known, looked up on
    /// local disk for the others.
    ///
    /// # Errors
    /// The spill folder cannot be read.
    pub(crate) async fn expected<B: Backends>(
        &self,
        follower: &LogFollower,
        cells: BTreeSet<Cell>,
        passed: &BTreeMap<Cell, Amount>,
    ) -> Result<BTreeMap<Cell, Count>, Error> {
        let (mut expected, unknown) = divide(&self.counts, cells, passed);
        tracing::debug!(
            known = expected.len(),
            unknown = unknown.len(),
            "cells to read under the lock"
        );
        expected.append(&mut counts::<B>(follower, self.part, unknown).await?);
        Ok(expected)
    }
}

/// What those of these cells should hold that are `known`, if this much has `passed` since; and the others.
fn divide(
    known: &BTreeMap<Cell, Count>,
    cells: BTreeSet<Cell>,
    passed: &BTreeMap<Cell, Amount>,
) -> (BTreeMap<Cell, Count>, BTreeSet<Cell>) {
    let (mut expected, mut unknown) = (BTreeMap::new(), BTreeSet::new());
    for cell in cells {
        if let Some(known) = known.get(&cell) {
            let passed = passed.get(&cell).copied().unwrap_or_default();
            expected.insert(cell, known.plus(passed));
        } else {
            unknown.insert(cell);
        }
    }
    (expected, unknown)
}

/// What these cells of the range should hold, looked up on local disk and in memory.
///
/// # Errors
/// The spill folder cannot be read.
pub(crate) async fn counts<B: Backends>(
    follower: &LogFollower,
    part: &BasePart,
    cells: BTreeSet<Cell>,
) -> Result<BTreeMap<Cell, Count>, Error> {
    let base = LookupBase::<B::Objects>::Part(part);
    let counts = parts::counts(base, follower.shared_totals(), cells).await;
    Ok(counts.map_err(ExpectedError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world::all as cell;

    #[test]
    fn known_cells_are_added_up_and_only_the_others_are_looked_up() {
        let known = BTreeMap::from([(cell("rests"), Count(3)), (cell("changes"), Count(4))]);
        let passed = BTreeMap::from([(cell("changes"), Amount(2)), (cell("new"), Amount(1))]);
        let cells = ["rests", "changes", "new"].map(cell);
        let (expected, unknown) = divide(&known, BTreeSet::from(cells), &passed);
        let wanted = [(cell("changes"), Count(6)), (cell("rests"), Count(3))];
        assert_eq!(expected, BTreeMap::from(wanted));
        assert_eq!(unknown, BTreeSet::from([cell("new")]));
    }
}
