//! Covers a span of time exactly with as few of the kept buckets as possible, whose cells then add up to its
//! count.

use stitch_common::cell::{Bucket, CellSlot, EventTime, Granularity};

use crate::period::Period;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, Time};
use crate::time_zone::TimeZone;

/// The granularities that tile a calendar, longest first: each with its period at UTC and the shortest length of one.
const TILES: [(Granularity, Period, i64); 6] = [
    (Granularity::Year, Period::Year, 365 * DAY_MS),
    (Granularity::Month, Period::Month, 28 * DAY_MS),
    (Granularity::Day, Period::Day, DAY_MS),
    (Granularity::Hour, Period::Hour, HOUR_MS),
    (Granularity::Quarter, Period::Quarter, 15 * MINUTE_MS),
    (Granularity::Minute, Period::Minute, MINUTE_MS),
];

/// Why there is no cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TilingError {
    /// No kept buckets fit into the time without a gap.
    #[error("the kept buckets do not add up to it")]
    Unfit,
    /// It takes more cells than the caller allows.
    #[error("more than {max} of the kept buckets add up to it")]
    TooManyCells {
        /// What the caller allows.
        max: usize,
    },
}

/// The cells that tile the time from `start` to `end`, in order, at most `max` of them. Of the time that no event can have
/// there are no cells.
///
/// # Errors
/// The kept buckets do not fit, or are too many: then it ends at once, however long the time is.
pub fn cover(
    start: Time,
    end: Time,
    kept: &[Granularity],
    max: usize,
) -> Result<Vec<CellSlot>, TilingError> {
    let mut cells = Vec::new();
    let mut at = start.max(Time::FIRST);
    let end = end.min(Time::END);
    while at < end {
        if cells.len() == max {
            return Err(TilingError::TooManyCells { max });
        }
        let (granularity, next) = TILES
            .iter()
            // Buckets that are too long are skipped before the calendar is asked, which is the most expensive step.
            .filter(|(granularity, _, ms)| kept.contains(granularity) && at.0 + ms <= end.0)
            .filter(|(granularity, _, _)| begins(*granularity, at))
            .map(|(granularity, period, _)| (*granularity, period.next(at, &TimeZone::UTC)))
            .find(|(_, next)| *next <= end)
            .ok_or(TilingError::Unfit)?;
        let bucket = Bucket(at.0);
        cells.push(CellSlot {
            granularity,
            bucket,
        });
        at = next;
    }
    Ok(cells)
}

/// Whether a bucket of this granularity begins at `at`.
fn begins(granularity: Granularity, at: Time) -> bool {
    EventTime::from_ms(at.0).is_some_and(|time| granularity.bucket(time).0 == at.0)
}

/// The granularity whose buckets begin at `start` as well as at `end`, and which a cover of this time needs; the longest of
/// hour, quarter and minute. `None` if not even minutes begin there.
pub fn finest(start: Time, end: Time) -> Option<Granularity> {
    let fits = |length: i64| {
        [start, end]
            .iter()
            .all(|time| time.0.rem_euclid(length) == 0)
    };
    let shortest = TILES.iter().skip_while(|(_, _, length)| *length > HOUR_MS);
    shortest
        .filter(|(_, _, length)| fits(*length))
        .map(|(granularity, _, _)| *granularity)
        .next()
}

/// The cell of all time.
pub const fn all() -> CellSlot {
    CellSlot {
        granularity: Granularity::All,
        bucket: Bucket(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAYS: [Granularity; 2] = [Granularity::All, Granularity::Day];

    fn moment(text: &str) -> Time {
        Time::parse(text, &TimeZone::UTC).unwrap()
    }

    fn names(cells: &[CellSlot]) -> Vec<String> {
        let name = |cell: &CellSlot| format!("{} {}", cell.granularity.name(), cell.bucket);
        cells.iter().map(name).collect()
    }

    proptest! {
        #[test]
        fn a_cover_has_no_gap_and_no_overlap(
            minutes in -10_000_i64..50_000_000, length in 0_i64..600_000, kept in 1_usize..64,
        ) {
            let kept: Vec<_> = TILES.iter().enumerate()
                .filter(|(bit, _)| kept >> bit & 1 == 1)
                .map(|(_, (granularity, _, _))| *granularity)
                .collect();
            let unit = match kept.last() {
                Some(Granularity::Minute) => Some(1),
                Some(Granularity::Quarter) => Some(15),
                Some(Granularity::Hour) => Some(60),
                _ => None,
            };
            let fits = unit.is_some();
            let unit = unit.unwrap_or(60);
            let at = |minutes: i64| Time(minutes * unit * MINUTE_MS);
            let (start, end) = (at(minutes), at(minutes + length / unit));
            let covered = cover(start, end, &kept, usize::MAX);
            prop_assert!(covered.is_ok() || !fits);
            let mut at = start;
            for cell in covered.iter().flatten() {
                prop_assert_eq!(cell.bucket.0, at.0);
                prop_assert!(kept.contains(&cell.granularity) && begins(cell.granularity, at));
                let tile = TILES.iter().find(|(granularity, _, _)| *granularity == cell.granularity);
                at = tile.unwrap().1.next(at, &TimeZone::UTC);
            }
            prop_assert!(covered.is_err() || at == end);
        }
    }

    #[test]
    fn a_month_at_another_offset_is_days_and_the_hours_at_its_ends() {
        let start = moment("2026-05-01T00:00:00+02:00");
        let end = moment("2026-06-01T00:00:00+02:00");
        let cells = cover(start, end, &Granularity::EVERY, 100).unwrap();
        let hours = cells
            .iter()
            .filter(|cell| cell.granularity == Granularity::Hour);
        assert_eq!((hours.count(), cells.len()), (24, 54));
    }

    #[test]
    fn a_month_that_is_kept_is_one_cell() {
        let (start, end) = (moment("2026-05-01"), moment("2026-06-01"));
        let cells = cover(start, end, &Granularity::EVERY, 1).unwrap();
        assert_eq!(names(&cells), ["month 2026-05-01T00:00:00Z"]);
        assert_eq!(cover(start, end, &DAYS, 31).unwrap().len(), 31);
    }

    #[test]
    fn a_cover_of_too_many_cells_ends_when_it_has_as_many_as_it_may() {
        let (start, end) = (moment("2026-05-01"), moment("2026-06-01"));
        let too_many = |max| Err(TilingError::TooManyCells { max });
        assert_eq!(cover(start, end, &DAYS, 30), too_many(30));
        // The calendar has five billion minutes.
        let minutes = [Granularity::Minute];
        assert_eq!(cover(Time::FIRST, Time::END, &minutes, 10), too_many(10));
        assert_eq!(cover(start, start, &minutes, 0), Ok(Vec::new()));
    }

    #[test]
    fn a_day_at_another_offset_does_not_fit_days_alone() {
        let start = moment("2026-05-01T00:00:00+02:00");
        assert_eq!(
            cover(start, moment("2026-05-02T00:00:00+02:00"), &DAYS, 100),
            Err(TilingError::Unfit)
        );
    }
}
