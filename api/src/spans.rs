//! Merges cells into spans of buckets, so that they take few reads.

use stitch_cassandra::BucketSpan;
use stitch_common::cell::{CellSlot, Granularity};

const HOUR_MS: i64 = 3_600_000;

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
        Granularity::Minute => HOUR_MS,
        Granularity::Quarter => 12 * HOUR_MS,
        Granularity::Hour => 48 * HOUR_MS,
        Granularity::Day => 40 * 24 * HOUR_MS,
        Granularity::Month => 3 * 366 * 24 * HOUR_MS,
        Granularity::Year => 50 * 366 * 24 * HOUR_MS,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stitch_calendar::tiling::cover;
    use stitch_calendar::time::Time;
    use stitch_calendar::time_zone::TimeZone;
    use stitch_common::cell::Bucket;

    use super::*;

    proptest! {
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
    fn a_month_at_another_offset_takes_three_reads() {
        let at = |text| Time::parse(text, &TimeZone::UTC).unwrap();
        let (start, end) = (
            at("2026-05-01T00:00:00+02:00"),
            at("2026-06-01T00:00:00+02:00"),
        );
        let cells = cover(start, end, &Granularity::EVERY, 100).unwrap();
        assert_eq!(spans(cells).len(), 3, "hours before, days, hours after");
    }
}
