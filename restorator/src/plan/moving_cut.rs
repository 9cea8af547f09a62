//! Lets the cuts of ranges in which no cell is being judged follow the checkpoints, so that few events above them have to be
//! remembered, however long reading, scanning and restoring take.
//!
//! It judges nothing, so it needs no barrier: whoever judges by a cut reads one of its own first, and in-doubt markers after
//! that. Cells that were judged by an earlier cut stay noted if this one passes events of theirs.

use std::convert::Infallible;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::Backends;
use stitch_expected::log_follower::LogFollower;

use crate::context::RestoreContext;
use crate::failpoint;
use crate::plan::base_cut::BaseCut;

/// The part of the memory that increments above the cuts may take before the cuts move.
const PART: usize = 32;
/// The pause between two readings of all checkpoints; the longest where processors are behind or cuts are held, because
/// moving the cuts frees little then.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Moves the cuts whenever the increments above them take much memory.
pub(crate) async fn follow<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
) -> Infallible {
    let much = context.memory.bytes_max() / PART;
    let mut pause = PAUSE_MIN;
    loop {
        follower.has_above_cuts(much).await;
        match BaseCut::read(context).await {
            Ok(cut) => {
                let moved = follower.totals_mut().advance_free(|range| cut.of(range));
                if let Err(error) = moved {
                    // Whoever judges by the next cut finds the same, and says what follows.
                    tracing::warn!(%error, "a cut does not move");
                }
                failpoint::pass(failpoint::CUT_MOVED);
            }
            Err(error) => tracing::warn!(%error, "the cuts do not move"),
        }
        let is_still_much = follower.totals().bytes_above_cuts() > much;
        pause = match is_still_much {
            true => PAUSE_MAX.min(pause * 2),
            false => PAUSE_MIN,
        };
        context.clock.sleep(pause).await;
    }
}
