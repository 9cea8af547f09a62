//! Cells that are made wrong, for a restoration to find and to correct.

use anyhow::Result;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rand::Rng;
use stitch_harness::corruptor::Corruptor;

use crate::load::any_cell;

/// Changes in flight.
const IN_FLIGHT: usize = 64;

/// Adds 1000 to so many random cells of these tracks; a cell may be drawn more than once.
pub(crate) async fn make(
    corruptor: &Corruptor,
    random: &mut impl Rng,
    tracks: u32,
    wrong: u32,
) -> Result<()> {
    let cells: Vec<_> = (0..wrong).map(|_| any_cell(random, tracks)).collect();
    stream::iter(&cells)
        .map(|id| corruptor.add(id, 1000))
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}
