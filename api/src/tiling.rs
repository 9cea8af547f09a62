//! Tiling: covers a span of time exactly with as few of the kept buckets as possible, whose cells then add up to its
//! count.

use stitch_cassandra::BucketSpan;
use stitch_common::cell::{Bucket, CellSlot, EventTime, Granularity};

use crate::calendar::{Period, Time, UtcOffset};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The granularities that tile a calendar, longest first: each with its period at UTC and the shortest length of one.
const TILES: [(Granularity, Period, i64); 4] = [
    (Granularity::Year, Period::Year, 365 * DAY_MS),
    (Granularity::Month, Period::Month, 28 * DAY_MS),
    (Granularity::Day, Period::Day, DAY_MS),
    (Granularity::Hour, Period::Hour, HOUR_MS),
];

/// The cells that tile the time from `start` to `end`, in order; `None` if the kept buckets do not fit. Of the time that
/// no event can have there are no cells.
pub(crate) fn cover(start: Time, end: Time, kept: &[Granularity]) -> Option<Vec<CellSlot>> {
    let mut cells = Vec::new();
    let mut at = start.max(Time::FIRST);
    let end = end.min(Time::END);
    while at < end {
        let (granularity, next) = TILES
            .iter()
            // Buckets that are too long are skipped before the calendar is asked, which is the most expensive step.
            .filter(|(granularity, _, ms)| kept.contains(granularity) && at.0 + ms <= end.0)
            .filter(|(granularity, _, _)| begins(*granularity, at))
            .map(|(granularity, period, _)| (*granularity, period.next(at, UtcOffset::default())))
            .find(|(_, next)| *next <= end)?;
        let bucket = Bucket(at.0);
        cells.push(CellSlot {
            granularity,
            bucket,
        });
        at = next;
    }
    Some(cells)
}

/// Whether a bucket of this granularity begins at `at`.
fn begins(granularity: Granularity, at: Time) -> bool {
    EventTime::from_ms(at.0).is_some_and(|time| granularity.bucket(time).0 == at.0)
}

/// The cell of all time.
pub(crate) const fn all() -> CellSlot {
    CellSlot {
        granularity: Granularity::All,
        bucket: Bucket(0),
    }
}

/// Merges neighbouring cells into spans: one read of a span is faster than several, even if it reads cells in between
/// that were not asked for.
pub(crate) fn spans(mut cells: Vec<CellSlot>) -> Vec<BucketSpan> {
    cells.sort_unstable();
    cells.dedup();
    let mut spans: Vec<BucketSpan> = Vec::new();
    for CellSlot {
        granularity,
        bucket,
    } in cells
    {
        match spans.last_mut() {
            Some(span)
                if span.granularity == granularity
                    && bucket.0 - span.last.0 <= gap_ms(granularity) =>
            {
                span.last = bucket;
            }
            _ => spans.push(BucketSpan {
                granularity,
                first: bucket,
                last: bucket,
            }),
        }
    }
    spans
}

/// The longest gap between two buckets of one span: reading a few dozen more rows costs less than another request.
const fn gap_ms(granularity: Granularity) -> i64 {
    match granularity {
        Granularity::All => 0,
        Granularity::Hour => 48 * HOUR_MS,
        Granularity::Day => 40 * 24 * HOUR_MS,
        Granularity::Month => 3 * 366 * 24 * HOUR_MS,
        Granularity::Year => 50 * 366 * 24 * HOUR_MS,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAYS: [Granularity; 2] = [Granularity::All, Granularity::Day];

    fn moment(text: &str) -> Time {
        Time::parse(text, UtcOffset::default()).unwrap()
    }

    fn names(cells: &[CellSlot]) -> Vec<String> {
        let name = |cell: &CellSlot| format!("{} {}", cell.granularity.name(), cell.bucket);
        cells.iter().map(name).collect()
    }

    proptest! {
        #[test]
        fn a_cover_has_no_gap_and_no_overlap(
            hours in -10_000_i64..900_000, length in 0_i64..60_000, kept in 1_usize..16,
        ) {
            let kept: Vec<_> = TILES.iter().enumerate()
                .filter(|(bit, _)| kept >> bit & 1 == 1)
                .map(|(_, (granularity, _, _))| *granularity)
                .collect();
            let (start, end) = (Time(hours * HOUR_MS), Time((hours + length) * HOUR_MS));
            let covered = cover(start, end, &kept);
            prop_assert!(covered.is_some() || !kept.contains(&Granularity::Hour));
            let mut at = start;
            for cell in covered.iter().flatten() {
                prop_assert_eq!(cell.bucket.0, at.0);
                prop_assert!(kept.contains(&cell.granularity) && begins(cell.granularity, at));
                let tile = TILES.iter().find(|(granularity, _, _)| *granularity == cell.granularity);
                at = tile.unwrap().1.next(at, UtcOffset::default());
            }
            prop_assert!(covered.is_none() || at == end);
        }

        #[test]
        fn every_cell_is_in_exactly_one_span(hours in proptest::collection::vec(0_i64..5000, 0..60)) {
            let cells: Vec<_> = hours.iter().map(|hour| CellSlot {
                granularity: if hour % 24 == 0 { Granularity::Day } else { Granularity::Hour },
                bucket: Bucket(hour * HOUR_MS),
            }).collect();
            let spans = spans(cells.clone());
            for cell in cells {
                let holds = |span: &&BucketSpan| span.granularity == cell.granularity
                    && span.first <= cell.bucket && cell.bucket <= span.last;
                prop_assert_eq!(spans.iter().filter(holds).count(), 1);
            }
        }
    }

    #[test]
    fn a_month_at_another_offset_is_days_and_the_hours_at_its_ends() {
        let start = moment("2026-05-01T00:00:00+02:00");
        let end = moment("2026-06-01T00:00:00+02:00");
        let cells = cover(start, end, &Granularity::EVERY).unwrap();
        let hours = cells
            .iter()
            .filter(|cell| cell.granularity == Granularity::Hour);
        assert_eq!((hours.count(), cells.len()), (24, 54));
        assert_eq!(spans(cells).len(), 3, "hours before, days, hours after");
    }

    #[test]
    fn a_month_that_is_kept_is_one_cell() {
        let (start, end) = (moment("2026-05-01"), moment("2026-06-01"));
        let cells = cover(start, end, &Granularity::EVERY).unwrap();
        assert_eq!(names(&cells), ["month 2026-05-01T00:00:00Z"]);
        assert_eq!(cover(start, end, &DAYS).unwrap().len(), 31);
    }

    #[test]
    fn a_day_at_another_offset_does_not_fit_days_alone() {
        let start = moment("2026-05-01T00:00:00+02:00");
        assert_eq!(
            cover(start, moment("2026-05-02T00:00:00+02:00"), &DAYS),
            None
        );
    }
}
