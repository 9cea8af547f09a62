//! How many ranges are restored at once.

use stitch_common::ports::Backends;
use stitch_common::range::RangeId;
use stitch_expected::log_follower::LogFollower;

use crate::context::RestoreContext;
use crate::plan::audit_findings::AuditFindings;
use crate::plan::judge::WRONG_CELL_BYTES;
use crate::restoration::LOCKED_CELL_BYTES;

/// How many ranges are restored at once: as many as fit into memory.
pub(super) fn ranges_in_flight<B: Backends>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    findings: &AuditFindings,
) -> usize {
    let totals = follower.totals();
    let cells = |range: RangeId| {
        let wrong = usize::try_from(findings.of(range).wrong_count()).unwrap_or(usize::MAX);
        wrong.saturating_add(totals.of(range).dirty_count())
    };
    let worst = findings.ranges().into_iter().map(cells).max().unwrap_or(0);
    let most = context.config.restorator.ranges_in_flight_max;
    fitting_ranges(worst, context.memory.available(), most)
}

/// The number of ranges that fit into the available memory if each has as many cells for the lock as the worst.
fn fitting_ranges(worst: usize, available: usize, most: usize) -> usize {
    let bytes = worst.saturating_mul(LOCKED_CELL_BYTES + WRONG_CELL_BYTES);
    // The totals go on growing while the log is followed.
    let room = available / 4 * 3;
    let fit = room.checked_div(bytes).unwrap_or(usize::MAX);
    fit.clamp(1, most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_flight_are_bounded_by_memory_for_the_worst() {
        let cell = LOCKED_CELL_BYTES + WRONG_CELL_BYTES;
        let of = |worst, left| fitting_ranges(worst, left, 8);
        assert_eq!(of(0, 0), 8, "nothing is wrong");
        assert_eq!(of(10, 3 * 10 * cell / 3 * 4), 3);
        assert_eq!(of(10, 3 * 10 * cell), 2, "a quarter is left for the log");
        assert_eq!(of(10, 1 << 40), 8);
        assert_eq!(of(10, 0), 1, "one, which reports what does not fit");
        assert_eq!(fitting_ranges(10, 1 << 40, 0), 1);
    }
}
