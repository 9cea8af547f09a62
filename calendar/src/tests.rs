use crate::period::Period;
use crate::time::Time;
use crate::time_zone::{NamedZone, TimeZone, TimeZoneError};
use crate::utc_offset::{UtcOffset, UtcOffsetError};

fn offset(text: &str) -> TimeZone {
    TimeZone::Fixed(UtcOffset::parse(text).unwrap())
}

fn zone(name: &str) -> TimeZone {
    TimeZone::Named(NamedZone::of(name).unwrap())
}

fn moment(text: &str) -> Time {
    Time::parse(text, &TimeZone::UTC).unwrap()
}

#[test]
fn an_offset_is_whole_quarters_of_an_hour() {
    for (text, shown) in [
        ("Z", "Z"),
        ("+00:00", "Z"),
        ("+02:00", "+02:00"),
        (" 02:00", "+02:00"),
        ("-05:00", "-05:00"),
        ("+14:00", "+14:00"),
        ("+05:45", "+05:45"),
        ("-03:30", "-03:30"),
    ] {
        assert_eq!(UtcOffset::parse(text).unwrap().to_string(), shown);
    }
    assert_eq!(
        UtcOffset::parse("+05:20"),
        Err(UtcOffsetError::NotWholeQuarters)
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
        "+01:60",
        "-14:15",
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
    let midnight = Time::parse("2026-05-01", &offset("+02:00")).unwrap();
    assert_eq!(midnight, moment("2026-04-30T22:00:00Z"));
    assert_eq!(midnight.at(&offset("+02:00")), "2026-05-01T00:00:00+02:00");
    assert_eq!(
        midnight,
        moment("2026-05-01T00:00:00 02:00"),
        "a + that was decoded to a blank"
    );
    for text in [
        "",
        "2026",
        "2026-5-1",
        "  2026-5-1",
        "2026-05- 1",
        "+2026-05-1",
        "2026-05-01 ",
        "2026-05-\u{660}1",
        " 2026-05-01T00:00:00Z",
        "2026-05-01T0:00:00Z",
        "2026-05-01T00:00:00+2:00",
        "2026-02-30",
        "2026-05-01T00:00:00",
        "0000-12-31",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01",
    ] {
        assert_eq!(Time::parse(text, &TimeZone::UTC), None, "{text}");
    }
}

#[test]
fn periods_begin_by_local_clocks() {
    let local = offset("+02:00");
    // Thursday evening at UTC, Friday in local time.
    let at = moment("2026-04-30T22:30:00Z");
    let start = |period: Period| period.start(at, &local).at(&local);
    assert_eq!(start(Period::Hour), "2026-05-01T00:00:00+02:00");
    assert_eq!(start(Period::Day), "2026-05-01T00:00:00+02:00");
    assert_eq!(start(Period::Week), "2026-04-27T00:00:00+02:00");
    assert_eq!(start(Period::Month), "2026-05-01T00:00:00+02:00");
    assert_eq!(start(Period::Year), "2026-01-01T00:00:00+02:00");
}

#[test]
fn periods_follow_each_other() {
    let utc = &TimeZone::UTC;
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
    let offsets = ["+14:00", "Z", "-14:00", "+05:45"].map(offset);
    let zones = ["Europe/Berlin", "Pacific/Apia", "America/St_Johns"].map(zone);
    for period in Period::EVERY {
        for moment in [Time::FIRST, Time::LAST] {
            for zone in offsets.iter().chain(&zones) {
                let start = period.start(moment, zone);
                let end = period.next(start, zone);
                assert!(start <= moment && moment < end, "{period:?} {zone:?}");
                for edge in [start, end] {
                    let text = edge.parameter(zone);
                    assert_eq!(
                        Time::parse(&text, zone).map(|time| time.0 / 1000),
                        Some(edge.clamped().0 / 1000),
                        "{text}"
                    );
                }
            }
        }
    }
    assert_eq!(Time::END.at(&TimeZone::UTC), "+10000-01-01T00:00:00Z");
}

#[test]
fn a_zone_has_one_spelling() {
    assert_eq!(
        NamedZone::of("Europe/Bärlin"),
        Err(TimeZoneError::Unknown("Europe/Bärlin".to_owned()))
    );
    for text in ["", "../etc/localtime", "+02:00", "Etc/Unknown"] {
        let error = NamedZone::of(text).unwrap_err();
        assert_eq!(error, TimeZoneError::Unknown(text.to_owned()));
    }
    let error = NamedZone::of("europe/berlin").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the time zone \"europe/berlin\" is written Europe/Berlin"
    );
}

/// The beginnings of consecutive periods from the one that contains `from`.
fn starts(period: Period, from: &str, count: usize, zone: &TimeZone) -> Vec<String> {
    let mut at = period.start(moment(from), zone);
    let mut starts = Vec::new();
    for _ in 0..count {
        starts.push(at.at(zone));
        at = period.next(at, zone);
    }
    starts
}

#[test]
fn a_day_is_as_long_as_its_clocks_say() {
    let berlin = zone("Europe/Berlin");
    assert_eq!(
        starts(Period::Day, "2026-03-28T12:00:00Z", 3, &berlin),
        [
            "2026-03-28T00:00:00+01:00",
            "2026-03-29T00:00:00+01:00",
            "2026-03-30T00:00:00+02:00"
        ]
    );
    assert_eq!(
        starts(Period::Hour, "2026-10-25T00:30:00Z", 3, &berlin),
        [
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T03:00:00+01:00"
        ]
    );
    // Long after the last entry of the database, by its rule.
    assert_eq!(
        starts(Period::Month, "2190-03-10T00:00:00Z", 2, &berlin),
        ["2190-03-01T00:00:00+01:00", "2190-04-01T00:00:00+02:00"]
    );
}

#[test]
fn the_same_time_of_another_day_is_that_which_clocks_show() {
    let same = |name: &str, at: &str, from: &str, to: &str| {
        let zone = zone(name);
        let same = zone.same_time(moment(at), moment(from), moment(to));
        same.at(&zone)
    };
    // The day before is a month before, and in winter.
    assert_eq!(
        same(
            "Europe/Berlin",
            "2026-04-03T08:00:00Z",
            "2026-03-31T22:00:00Z",
            "2026-02-28T23:00:00Z"
        ),
        "2026-03-03T10:00:00+01:00"
    );
    // Clocks were set forward at two.
    assert_eq!(
        same(
            "Europe/Berlin",
            "2026-03-30T08:00:00Z",
            "2026-03-29T22:00:00Z",
            "2026-03-28T23:00:00Z"
        ),
        "2026-03-29T10:00:00+02:00"
    );
    // This day begins at half past twelve.
    assert_eq!(
        same(
            "America/Toronto",
            "1919-04-01T14:00:00Z",
            "1919-04-01T04:00:00Z",
            "1919-03-31T04:30:00Z"
        ),
        "1919-03-31T10:00:00-04:00"
    );
}

#[test]
fn a_change_of_half_an_hour_makes_half_an_hour() {
    let lord_howe = zone("Australia/Lord_Howe");
    assert_eq!(
        starts(Period::Hour, "2026-04-04T14:10:00Z", 3, &lord_howe),
        [
            "2026-04-05T01:00:00+11:00",
            "2026-04-05T01:30:00+10:30",
            "2026-04-05T02:00:00+10:30"
        ]
    );
    assert_eq!(
        starts(Period::Hour, "2026-10-03T14:40:00Z", 3, &lord_howe),
        [
            "2026-10-04T01:00:00+10:30",
            "2026-10-04T02:30:00+11:00",
            "2026-10-04T03:00:00+11:00"
        ]
    );
}

#[test]
fn a_change_within_an_hour_and_across_midnight_ends_the_hour_and_not_the_day() {
    // At 00:01, back to 23:01.
    let st_johns = zone("America/St_Johns");
    assert_eq!(
        starts(Period::Hour, "2010-11-07T02:30:00Z", 3, &st_johns),
        [
            "2010-11-07T00:00:00-02:30",
            "2010-11-06T23:01:00-03:30",
            "2010-11-07T00:00:00-03:30"
        ]
    );
    let again = moment("2010-11-07T02:45:00Z");
    assert_eq!(again.at(&st_johns), "2010-11-06T23:15:00-03:30");
    let day = Period::Day.start(again, &st_johns);
    assert_eq!(day.at(&st_johns), "2010-11-07T00:00:00-02:30");
}

#[test]
fn a_day_without_midnight_begins_later_and_one_with_two_at_the_first() {
    let days = |name, from| starts(Period::Day, from, 3, &zone(name));
    // From 23:30 to 00:30.
    assert_eq!(
        days("America/Toronto", "1919-03-30T12:00:00Z"),
        [
            "1919-03-30T00:00:00-05:00",
            "1919-03-31T00:30:00-04:00",
            "1919-04-01T00:00:00-04:00"
        ]
    );
    // At 00:01, back to 23:01.
    assert_eq!(
        days("America/St_Johns", "2010-11-06T12:00:00Z"),
        [
            "2010-11-06T00:00:00-02:30",
            "2010-11-07T00:00:00-02:30",
            "2010-11-08T00:00:00-03:30"
        ]
    );
    // The 30th was left out.
    assert_eq!(
        days("Pacific/Apia", "2011-12-29T20:00:00Z"),
        [
            "2011-12-29T00:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
            "2012-01-01T00:00:00+14:00"
        ]
    );
}

#[test]
fn every_moment_is_in_the_period_that_begins_before_it() {
    for name in [
        "Europe/Berlin",
        "America/St_Johns",
        "Pacific/Apia",
        "America/Toronto",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "America/Havana",
    ] {
        let zone = zone(name);
        for period in Period::EVERY {
            // Half an hour and a minute apart, through years with every kind of change.
            for half_hour in (0..40_000_i64).step_by(if period < Period::Day { 7 } else { 29 }) {
                let at = Time(1_288_000_000_000 + half_hour * 1_860_000);
                let start = period.start(at, &zone);
                let next = period.next(start, &zone);
                assert!(
                    start <= at && at < next,
                    "{name} {period:?} {}",
                    at.at(&zone)
                );
                assert_eq!(period.start(start, &zone), start, "{name} {period:?}");
                assert_eq!(period.start(next, &zone), next, "{name} {period:?}");
                assert_eq!(period.previous(next, &zone), start, "{name} {period:?}");
            }
        }
    }
}

#[test]
fn local_time_with_seconds_in_its_offset_is_shown_in_utc() {
    let berlin = zone("Europe/Berlin");
    let at = Time::parse("1880-01-01", &berlin).unwrap();
    assert_eq!(at.at(&berlin), "1879-12-31T23:06:32Z");
}
