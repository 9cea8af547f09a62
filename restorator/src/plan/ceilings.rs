//! Ceilings (rules R1 and R4): every event that can have been begun before a partition's ceiling is read lies below it. So
//! an event from the cut up to there makes its cells dirty, and no other event can have changed a cell. No broker's word on
//! where the log ends is needed, which a deposed leader gets wrong.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::Backends;
use stitch_common::range::RangeId;
use stitch_expected::log_follower::LogFollower;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::plan::base_cut::BaseCut;
use crate::rule;

/// How long Kafka may deliver nothing of a partition that is not at its ceiling. Its records were delivered to a processor
/// before.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where no lock is held. The second look without progress, after twice as long, ends the wait.
const PATIENCE_UNLOCKED: Duration = Duration::from_secs(25);

/// After cells of these ranges were read: reads the ceilings, follows the log to them, and passes them to the totals.
/// `before` is the cut that was read before the cells.
///
/// # Errors
/// The log does not reach a ceiling, or a server did not answer.
pub(crate) async fn follow<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    ranges: &[RangeId],
    before: &BaseCut,
) -> Result<(), Error> {
    let current = if rule::ceiling_is_read_after_the_cells() {
        &BaseCut::read_current(context).await?
    } else {
        before
    };
    for &range in ranges {
        let ceilings = current.ceilings(range);
        // Not under a lock: a leader's election may take longer than the patience there.
        reach_within(context, follower, &ceilings, PATIENCE_UNLOCKED).await?;
        follower.totals_mut().of_mut(range).set_ceiling(ceilings);
    }
    Ok(())
}

/// Waits until the log is read up to these ceilings.
///
/// # Errors
/// Kafka delivers nothing more of a partition, though its ceiling is higher; or the log could not be read.
pub(crate) async fn reach<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    ceilings: &Offsets,
) -> Result<(), Error> {
    let patience = PATIENCE.min(context.config.restorator.range_timeout / 4);
    reach_within(context, follower, ceilings, patience).await
}

async fn reach_within<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    ceilings: &Offsets,
    patience: Duration,
) -> Result<(), Error> {
    let mut last = BTreeMap::new();
    loop {
        let impatient = pin!(context.clock.sleep(patience));
        // Both are cancel-safe: what was read stays in the follower.
        if let Either::Left((reached, _)) = select(pin!(follower.reach(ceilings)), impatient).await
        {
            return Ok(reached?);
        }
        let behind = follower.behind(ceilings);
        if let Some((partition, position)) = unmoved(&last, &behind) {
            return Err(Error::BelowCeiling {
                partition,
                ceiling: ceilings.of(partition),
                position,
            });
        }
        last = behind;
    }
}

/// A partition that has not moved.
fn unmoved(
    last: &BTreeMap<Partition, Offset>,
    now: &BTreeMap<Partition, Offset>,
) -> Option<(Partition, Offset)> {
    let mut now = now.iter();
    let unmoved = now.find(|(partition, position)| last.get(partition) == Some(position))?;
    Some((*unmoved.0, *unmoved.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_testkit::samples::offsets;

    #[test]
    fn each_partition_must_move_however_much_is_read_of_the_others() {
        let last = offsets(&[(0, 5), (1, 5)]).0;
        assert_eq!(unmoved(&BTreeMap::new(), &last), None);
        assert_eq!(unmoved(&last, &offsets(&[(0, 6), (1, 6)]).0), None);
        let stuck = unmoved(&last, &offsets(&[(0, 900), (1, 5)]).0);
        assert_eq!(stuck, Some((Partition(1), Offset(5))));
    }
}
