//! The one rule by which a text is a time. The decoder of records and the questions of the API share it, so what is
//! counted can be asked for by the text that it was counted under.

use chrono::DateTime;

use crate::cell::EventTime;

/// The time that an RFC 3339 text with an offset names, in whole milliseconds, rounded down; `None` if it is none, or lies
/// outside the years 1 to 9999 in UTC.
///
/// A leap second belongs to the second before it: 2016-12-31T23:59:60Z is in 2016, in every granularity.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<EventTime> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    // chrono represents a leap second as the 59th second with 1000 ms or more.
    let ms =
        time.timestamp().checked_mul(1000)? + i64::from(time.timestamp_subsec_millis().min(999));
    EventTime::from_ms(ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Granularity;

    #[test]
    fn a_leap_second_is_in_the_second_before() {
        for text in [
            "2016-12-31T23:59:60Z",
            "2016-12-31T23:59:60.999999999Z",
            "2017-01-01T00:59:60+01:00",
        ] {
            let time = parse_rfc3339(text).unwrap();
            assert_eq!(Some(time), parse_rfc3339("2016-12-31T23:59:59.999Z"));
            for (granularity, start) in [
                (Granularity::Hour, "2016-12-31T23:00:00Z"),
                (Granularity::Day, "2016-12-31T00:00:00Z"),
                (Granularity::Month, "2016-12-01T00:00:00Z"),
                (Granularity::Year, "2016-01-01T00:00:00Z"),
            ] {
                assert_eq!(granularity.bucket(time).to_string(), start, "{text}");
            }
        }
    }

    #[test]
    fn the_first_and_the_last_moment_are_times_and_what_lies_beyond_is_not() {
        for (text, ms) in [
            ("0001-01-01T00:00:00Z", EventTime::MIN_MS),
            ("0001-01-01T14:00:00+14:00", EventTime::MIN_MS),
            ("9999-12-31T23:59:59.999Z", EventTime::MAX_MS),
            ("9999-12-31T23:59:60Z", EventTime::MAX_MS),
            ("9999-12-31T09:59:59.9999-14:00", EventTime::MAX_MS),
            ("1969-12-31T23:59:59.9999Z", -1),
        ] {
            assert_eq!(parse_rfc3339(text).map(EventTime::ms), Some(ms), "{text}");
        }
        for text in [
            "0001-01-01T00:00:00+00:01",
            "0000-12-31T23:59:59Z",
            "9999-12-31T23:59:59-00:01",
            "10000-01-01T00:00:00Z",
            "+2016-01-01T00:00:00Z",
            "2016-01-01T00:00:00",
            "2016-01-01",
            "2016-01-01T24:00:00Z",
            "2016-02-30T00:00:00Z",
            " 2016-01-01T00:00:00Z",
            "2016-01-01T00:00:00Z\n",
            "1480000000000",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text:?}");
        }
    }
}
