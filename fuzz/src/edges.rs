//! Arithmetic at its edges: 64 bits that wrap, the years 1 and 9999, every offset from UTC, every division into ranges.

use proptest::prelude::*;
use stitch_common::cell::{
    Amount, Bucket, CellSlot, Count, Counter, CounterName, EventTime, Granularity,
};
use stitch_common::definition::{AmountSource, CounterDefinition, Definitions, EventAttributes};
use stitch_common::event::{Decoded, Decoder, slot};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::range::RangeBits;
use stitch_common::token::Token;
use stitch_expected::range_totals::RangeTotals;
use stitch_restorator::plan::judge::Drift;
use stitch_totals::scan_key::{PackedSlot, ScanKey};

const DAY_MS: i64 = 86_400_000;

/// Any number; more often one at an edge.
fn number() -> impl Strategy<Value = i64> {
    let edges = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    prop_oneof![2 => any::<i64>(), 1 => proptest::sample::select(edges.to_vec())]
}

/// Any event time; more often one at an edge: of all time, of 1970, of a day.
fn time_ms() -> impl Strategy<Value = i64> {
    const FIRST: i64 = EventTime::MIN_MS;
    const LAST: i64 = EventTime::MAX_MS;
    let near = |at: i64| {
        (at - 3..=at + 3).prop_filter("years 1 to 9999", |ms| EventTime::from_ms(*ms).is_some())
    };
    prop_oneof![
        4 => FIRST..=LAST,
        1 => near(FIRST),
        1 => near(LAST),
        1 => near(0),
        2 => (FIRST / DAY_MS..=LAST / DAY_MS).prop_flat_map(move |day| near(day * DAY_MS)),
    ]
}

/// Year, month and day of a day since 1970, counted from the 1st of March of the year 0 in cycles of 400 years: another
/// algorithm than that of the product's library.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let (cycle, of_cycle) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (year + cycle * 400 + next, month, of_month)
}

fn definitions() -> Definitions {
    Definitions::new(
        RangeBits::new(0).expect("allowed"),
        EventAttributes::default(),
        vec![CounterDefinition {
            name: CounterName("c".into()),
            on: vec!["e".to_owned()],
            key: "k".to_owned(),
            granularities: Granularity::DEFAULT.to_vec(),
            amount: AmountSource::Attribute("n".to_owned()),
        }],
    )
}

/// Decodes an event with this time and amount, both as JSON: time in ms, and amount.
fn decoded(time: &str, amount: &str) -> Option<(i64, i64)> {
    let record = format!(r#"{{"type":"e","time":{time},"k":"x","n":{amount}}}"#);
    match Decoder::new(&definitions()).decode(Some(record.as_bytes())) {
        Decoded::Event(event) => Some((event.time.ms(), event.increments[0].amount.0)),
        Decoded::Ignored | Decoded::Rejected(_) => None,
    }
}

/// A time in RFC 3339 at this many minutes from UTC; `None` if its local year does not have four digits.
fn rfc3339(ms: i64, minutes: i64) -> Option<String> {
    let local = ms + minutes * 60_000;
    let (day, of_day) = (local.div_euclid(DAY_MS), local.rem_euclid(DAY_MS));
    let (year, month, date) = civil(day);
    let sign = if minutes < 0 { '-' } else { '+' };
    let (seconds, sub) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (away_hours, away_minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    (0..=9999).contains(&year).then(|| {
        format!(
            "\"{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{sub:03}{sign}{away_hours:02}:{away_minutes:02}\""
        )
    })
}

proptest! {
    #[test]
    fn sums_wrap_and_a_correction_leads_from_any_count_to_any_other(a in number(), b in number()) {
        prop_assert_eq!(Count(a).plus(Amount(b)).0, a.wrapping_add(b));
        prop_assert_eq!(Count(a).plus(Count(b).minus(Count(a))), Count(b));
        prop_assert_eq!(Amount(a).plus(Amount(b)), Amount(b).plus(Amount(a)));
        match Drift::between(Count(a), Count(b)) {
            Some(drift) => {
                prop_assert_eq!(drift.current.plus(drift.correction()), Count(a));
                prop_assert!(drift.size() > 0);
            }
            None => prop_assert_eq!(a, b),
        }
    }

    #[test]
    fn amounts_of_64_bits_are_counted_and_others_are_rejected(n in number()) {
        prop_assert_eq!(decoded("0", &n.to_string()), Some((0, n)));
        let beyond = if n < 0 { i128::from(i64::MIN) + i128::from(n) } else { i128::from(i64::MAX) + 1 + i128::from(n) };
        prop_assert_eq!(decoded("0", &beyond.to_string()), None);
        prop_assert_eq!(decoded("0", &format!("{n}.0")), None);
    }

    #[test]
    fn a_bucket_contains_its_time_and_starts_by_the_calendar(ms in time_ms()) {
        let time = EventTime::from_ms(ms).expect("years 1 to 9999");
        let of = |granularity: Granularity| granularity.bucket(time).0;
        let day = ms.div_euclid(DAY_MS);
        let (year, month, date) = civil(day);
        prop_assert_eq!(of(Granularity::All), 0);
        prop_assert_eq!(of(Granularity::Minute), ms.div_euclid(60_000) * 60_000);
        prop_assert_eq!(of(Granularity::Quarter), ms.div_euclid(900_000) * 900_000);
        prop_assert_eq!(of(Granularity::Hour), ms.div_euclid(3_600_000) * 3_600_000);
        prop_assert_eq!(of(Granularity::Day), day * DAY_MS);
        prop_assert_eq!(of(Granularity::Month), (day - date + 1) * DAY_MS);
        let start = of(Granularity::Year);
        prop_assert!(start <= ms && start.rem_euclid(DAY_MS) == 0);
        prop_assert_eq!(civil(start / DAY_MS), (year, 1, 1));
        prop_assert!((1..=9999).contains(&year) && (1..=12).contains(&month));
        for granularity in Granularity::EVERY {
            let slot = slot(granularity, time);
            // The decoder rejects what is later than the last minute that is counted.
            let is_counted = granularity != Granularity::Minute || ms <= EventTime::MAX_MS_OF_MINUTES;
            let packed = PackedSlot::pack(slot).map(PackedSlot::unpack);
            prop_assert_eq!(packed, is_counted.then_some(slot));
        }
    }

    #[test]
    fn a_slot_is_packed_without_loss_or_not_at_all(bucket in number()) {
        for granularity in Granularity::EVERY {
            let slot = CellSlot { granularity, bucket: Bucket(bucket) };
            if let Some(packed) = PackedSlot::pack(slot) {
                prop_assert_eq!(packed.unpack(), slot);
            }
            prop_assert!(!slot.bucket.to_string().is_empty());
        }
    }

    #[test]
    fn a_time_is_the_same_at_every_offset_from_utc(ms in time_ms(), minutes in -1439_i64..=1439) {
        prop_assert_eq!(decoded(&ms.to_string(), "1"), Some((ms, 1)));
        if let Some(text) = rfc3339(ms, minutes) {
            prop_assert_eq!(decoded(&text, "1"), Some((ms, 1)), "{}", text);
        }
    }

    #[test]
    fn a_time_outside_the_years_1_to_9999_is_rejected(beyond in 1_i64..1 << 40, minutes in -1439_i64..=1439) {
        for ms in [EventTime::MIN_MS - beyond, EventTime::MAX_MS + beyond] {
            prop_assert_eq!(decoded(&ms.to_string(), "1"), None);
            if let Some(text) = rfc3339(ms, minutes) {
                prop_assert_eq!(decoded(&text, "1"), None, "{}", text);
            }
        }
    }

    #[test]
    fn a_leap_second_counts_to_the_second_before(ms in time_ms(), sub in 0_i64..1000, minutes in -1439_i64..=1439) {
        // The last second of a minute, written as the 59th and as the 60th.
        let last = ms.div_euclid(60_000) * 60_000 + 59_000;
        if let Some(text) = rfc3339(last + sub, minutes) {
            let leap = format!("{}60{}", &text[..18], &text[20..]);
            let expected = decoded(&text, "1").map(|(ms, n)| (ms.div_euclid(1000) * 1000 + 999, n));
            prop_assert_eq!(decoded(&leap, "1"), expected, "{}", leap);
        }
    }

    #[test]
    fn a_token_lies_in_exactly_one_range_at_every_division(token in number()) {
        for bits in 0..=RangeBits::MAX {
            let bits = RangeBits::new(bits).expect("allowed");
            let range = bits.range_of(Token(token));
            let holding = bits.ranges().filter(|range| bits.interval(*range).contains(Token(token)));
            prop_assert_eq!(holding.collect::<Vec<_>>(), vec![range]);
            if let Some(finer) = RangeBits::new(bits.bits() + 1) {
                prop_assert_eq!(finer.range_of(Token(token)).0 / 2, range.0);
            }
        }
    }

    /// However the cut moves.
    #[test]
    fn range_totals_add_up_the_events_below_the_cut_and_wrap(
        amounts in proptest::collection::vec(number(), 0..12),
        mut cuts in proptest::collection::vec(0_i64..=12, 1..4),
    ) {
        const P: Partition = Partition(0);
        let at = |offset: i64| Offsets([(P, Offset(offset))].into());
        cuts.sort_unstable();
        let place = ScanKey::of(Counter::new("c", "x"));
        let slot = slot(Granularity::All, EventTime::from_ms(0).expect("1970"));
        let packed = || PackedSlot::pack(slot).into_iter();
        let mut totals = RangeTotals::new(at(cuts[0]));
        for (offset, amount) in (0..).zip(&amounts) {
            totals.add(P, Offset(offset), &place, packed(), Amount(*amount));
        }
        for &cut in &cuts {
            totals.advance(&at(cut)).expect("it only goes on");
            let below = amounts.iter().take(usize::try_from(cut).expect("small"));
            let sum = below.fold(0_i64, |sum, amount| sum.wrapping_add(*amount));
            prop_assert_eq!(totals.expected(&place, slot), Count(sum));
        }
    }
}

#[test]
fn the_offset_after_the_last_one_is_itself() {
    assert_eq!(Offset(i64::MAX).next(), Offset(i64::MAX));
    assert_eq!(Offset(-1).next(), Offset(0));
}
