use crate::period::Period;
use crate::time::Time;
use crate::utc_offset::{UtcOffset, UtcOffsetError};

fn offset(text: &str) -> UtcOffset {
    UtcOffset::parse(text).unwrap()
}

fn moment(text: &str) -> Time {
    Time::parse(text, UtcOffset::default()).unwrap()
}

#[test]
fn an_offset_is_whole_hours() {
    for (text, shown) in [
        ("Z", "Z"),
        ("+00:00", "Z"),
        ("+02:00", "+02:00"),
        (" 02:00", "+02:00"),
        ("-05:00", "-05:00"),
        ("+14:00", "+14:00"),
    ] {
        assert_eq!(offset(text).to_string(), shown);
    }
    assert_eq!(
        UtcOffset::parse("+05:30"),
        Err(UtcOffsetError::NotWholeHours)
    );
    for text in [
        "",
        "2",
        "+2",
        "+2:00",
        "+15:00",
        "+02:0",
        "+02:00:00",
        "ä2:00",
        "++1:00",
    ] {
        assert_eq!(
            UtcOffset::parse(text),
            Err(UtcOffsetError::Malformed),
            "{text}"
        );
    }
}

#[test]
fn a_date_begins_at_local_midnight() {
    let midnight = Time::parse("2026-05-01", offset("+02:00")).unwrap();
    assert_eq!(midnight, moment("2026-04-30T22:00:00Z"));
    assert_eq!(midnight.at(offset("+02:00")), "2026-05-01T00:00:00+02:00");
    assert_eq!(
        midnight,
        moment("2026-05-01T00:00:00 02:00"),
        "a + that was decoded to a blank"
    );
    for text in [
        "",
        "2026",
        "2026-5-1",
        "2026-02-30",
        "2026-05-01T00:00:00",
        "0000-12-31",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01",
    ] {
        assert_eq!(Time::parse(text, UtcOffset::default()), None, "{text}");
    }
}

#[test]
fn periods_begin_by_local_clocks() {
    let local = offset("+02:00");
    // Thursday evening at UTC, Friday in local time.
    let at = moment("2026-04-30T22:30:00Z");
    let start = |period: Period| period.start(at, local).at(local);
    assert_eq!(start(Period::Hour), "2026-05-01T00:00:00+02:00");
    assert_eq!(start(Period::Day), "2026-05-01T00:00:00+02:00");
    assert_eq!(start(Period::Week), "2026-04-27T00:00:00+02:00");
    assert_eq!(start(Period::Month), "2026-05-01T00:00:00+02:00");
    assert_eq!(start(Period::Year), "2026-01-01T00:00:00+02:00");
}

#[test]
fn periods_follow_each_other() {
    let utc = UtcOffset::default();
    let before =
        |period: Period, text: &str, by: i32| period.shifted(moment(text), by, utc).at(utc);
    assert_eq!(
        before(Period::Month, "2026-03-01", -1),
        "2026-02-01T00:00:00Z"
    );
    assert_eq!(
        before(Period::Year, "2024-01-01", 1),
        "2025-01-01T00:00:00Z"
    );
    assert_eq!(
        before(Period::Week, "2026-03-02", -1),
        "2026-02-23T00:00:00Z"
    );
    assert_eq!(before(Period::Day, "2024-02-28", 1), "2024-02-29T00:00:00Z");
    assert_eq!(
        before(Period::Hour, "1969-12-31", 25),
        "1970-01-01T01:00:00Z"
    );
}

#[test]
fn the_first_and_the_last_moment_have_periods_at_every_offset() {
    for period in Period::EVERY {
        for moment in [Time::FIRST, Time::LAST] {
            for offset in ["+14:00", "Z", "-14:00"].map(offset) {
                let start = period.start(moment, offset);
                let end = period.next(start, offset);
                assert!(start <= moment && moment < end, "{period:?} {offset}");
                for edge in [start, end] {
                    let text = edge.parameter(offset);
                    assert_eq!(
                        Time::parse(&text, offset).map(|time| time.0 / 1000),
                        Some(edge.clamped().0 / 1000),
                        "{text}"
                    );
                }
            }
        }
    }
    assert_eq!(Time::END.at(UtcOffset::default()), "+10000-01-01T00:00:00Z");
}
