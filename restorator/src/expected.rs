//! What the events below the cuts add up to, by the base of the audit and by what was read since.

use std::collections::BTreeMap;

use stitch_common::cell::{Cell, Count};
use stitch_common::ports::Backends;
use stitch_common::range::RangeId;
use stitch_expected::expected_error::ExpectedError;
use stitch_expected::log_follower::LogFollower;
use stitch_expected::parts::{self, LookupBase};

use crate::context::RestoreContext;
use crate::error::Error;

/// What these cells, which are in scope, should hold.
///
/// # Errors
/// Totals cannot be read.
pub(crate) async fn expected<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    cells: impl IntoIterator<Item = Cell>,
) -> Result<BTreeMap<Cell, Count>, Error> {
    let base = context.base.get();
    let base = LookupBase::Store(base.as_deref());
    let counts = parts::counts(base, follower.shared_totals(), cells).await;
    Ok(counts.map_err(ExpectedError::from)?)
}

/// What the dirty cells of `range` should hold.
///
/// # Errors
/// Totals cannot be read.
pub(crate) async fn expected_of_dirty<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    range: RangeId,
) -> Result<BTreeMap<Cell, Count>, Error> {
    let dirty = follower.totals().of(range).dirty();
    expected(context, follower, dirty).await
}

/// About how many cells of `range` should not be 0, in scope or not.
pub(crate) fn expected_cells<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    range: RangeId,
) -> u64 {
    let in_base = context.base.get().map_or(0, |base| base.cells_in(range));
    in_base.saturating_add(follower.totals().of(range).cells())
}
