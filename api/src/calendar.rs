//! Calendar periods at an offset from UTC: where each begins, and where the next one does.
//!
//! An offset is fixed, so every day has 24 hours; daylight saving time is the client's concern.

use std::fmt;

use chrono::{
    DateTime, Datelike, Days, FixedOffset, Months, NaiveDate, NaiveDateTime, SecondsFormat,
};
use serde::{Serialize, Serializer};
use stitch_common::cell::{EventTime, Granularity};
use stitch_common::time::parse_rfc3339;

const HOUR_MS: i64 = 3_600_000;

/// How far local clocks are ahead of UTC: whole hours, because buckets begin at whole hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UtcOffset {
    hours: i32,
}

impl UtcOffset {
    /// All offsets in use anywhere.
    const HOURS: std::ops::RangeInclusive<i32> = -14..=14;

    /// Parses `Z`, `+02:00`, `-05:00`. In a query, `+` decodes to a blank, so a blank is accepted for it.
    pub(crate) fn parse(text: &str) -> Result<Self, UtcOffsetError> {
        if text.eq_ignore_ascii_case("z") {
            return Ok(Self::default());
        }
        let (sign, rest) = match text.as_bytes().first() {
            Some(b'+' | b' ') => (1, &text[1..]),
            Some(b'-') => (-1, &text[1..]),
            _ => return Err(UtcOffsetError::Malformed),
        };
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        let (hours, minutes) = rest.split_once(':').ok_or(UtcOffsetError::Malformed)?;
        if !digits(hours) || !digits(minutes) {
            return Err(UtcOffsetError::Malformed);
        }
        let hours: i32 = hours.parse().map_err(|_| UtcOffsetError::Malformed)?;
        let hours = sign * hours;
        if !Self::HOURS.contains(&hours) {
            return Err(UtcOffsetError::Malformed);
        }
        if minutes != "00" {
            return Err(UtcOffsetError::NotWholeHours);
        }
        Ok(Self { hours })
    }

    pub(crate) const fn is_utc(self) -> bool {
        self.hours == 0
    }

    fn ms(self) -> i64 {
        i64::from(self.hours) * HOUR_MS
    }

    fn fixed(self) -> FixedOffset {
        FixedOffset::east_opt(self.hours * 3600).expect("at most 14 hours")
    }

    /// The local time at a moment.
    fn local(self, moment: Time) -> NaiveDateTime {
        let local = DateTime::from_timestamp_millis(moment.0 + self.ms());
        local
            .expect("a moment lies in the years 1 to 9999")
            .naive_utc()
    }

    /// The moment of a local time.
    fn moment(self, local: NaiveDateTime) -> Time {
        Time(local.and_utc().timestamp_millis() - self.ms())
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hours {
            0 => f.write_str("Z"),
            hours => write!(f, "{hours:+03}:00"),
        }
    }
}

impl Serialize for UtcOffset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is not a usable offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UtcOffsetError {
    /// Not an offset, or one that is not in use anywhere.
    Malformed,
    /// Buckets begin at whole hours of UTC, so no cells would add up to its periods.
    NotWholeHours,
}

/// A moment, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Time(pub(crate) i64);

impl Time {
    /// The first moment that an event can have.
    pub(crate) const FIRST: Self = Self(EventTime::MIN_MS);
    /// The last one.
    const LAST: Self = Self(EventTime::MAX_MS);
    /// The end of the last period at UTC.
    pub(crate) const END: Self = Self(EventTime::MAX_MS + 1);

    /// Parses a date, which begins at midnight at `offset`, or a time with an offset of its own.
    pub(crate) fn parse(text: &str, offset: UtcOffset) -> Option<Self> {
        let moment = match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            // The parser would accept fewer digits.
            Ok(date) if text.len() == 10 => offset.moment(date.and_time(chrono::NaiveTime::MIN)),
            Ok(_) => return None,
            Err(_) => {
                // A blank stands for the `+` of an offset, see `UtcOffset::parse`.
                let repaired = || {
                    let (time, offset) = text.rsplit_once(' ')?;
                    parse_rfc3339(&format!("{time}+{offset}"))
                };
                Self(parse_rfc3339(text).or_else(repaired)?.ms())
            }
        };
        moment.within_events().then_some(moment)
    }

    /// Whether an event can have this time.
    fn within_events(self) -> bool {
        (Self::FIRST..=Self::LAST).contains(&self)
    }

    /// This time, or the nearest one that an event can have.
    pub(crate) fn clamped(self) -> Self {
        self.clamp(Self::FIRST, Self::LAST)
    }

    /// Formats it as a parameter at `offset` that [`Self::parse`] reads, or as the nearest one that it reads.
    pub(crate) fn parameter(self, offset: UtcOffset) -> String {
        let text = self.at(offset);
        // In the first and the last hours of the calendar, the local year has no four digits.
        if Self::parse(&text, offset) == Some(self) {
            text
        } else {
            self.clamped().at(UtcOffset::default())
        }
    }

    /// Formats it at `offset`. The end of the last period is in the year +10000 (ISO 8601, expanded).
    pub(crate) fn at(self, offset: UtcOffset) -> String {
        match DateTime::from_timestamp_millis(self.0) {
            Some(utc) => utc
                .with_timezone(&offset.fixed())
                .to_rfc3339_opts(SecondsFormat::Secs, true),
            None => format!("{} ms", self.0),
        }
    }
}

/// A unit of the calendar that people compare counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Period {
    Hour,
    Day,
    /// Begins on Monday.
    Week,
    Month,
    Year,
}

impl Period {
    pub(crate) const EVERY: [Self; 5] =
        [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|period| period.name() == name)
    }

    /// The granularity with buckets of the same length, if there is one.
    pub(crate) const fn granularity(self) -> Option<Granularity> {
        match self {
            Self::Hour => Some(Granularity::Hour),
            Self::Day => Some(Granularity::Day),
            Self::Week => None,
            Self::Month => Some(Granularity::Month),
            Self::Year => Some(Granularity::Year),
        }
    }

    /// The beginning of the period that contains `moment`.
    pub(crate) fn start(self, moment: Time, offset: UtcOffset) -> Time {
        let local = offset.local(moment);
        let day = local.date();
        let start = match self {
            Self::Hour => return Time(moment.0 - moment.0.rem_euclid(HOUR_MS)),
            Self::Day => Some(day),
            Self::Week => {
                let days = u64::from(day.weekday().num_days_from_monday());
                day.checked_sub_days(Days::new(days))
            }
            Self::Month => day.with_day(1),
            Self::Year => day.with_day(1).and_then(|day| day.with_month(1)),
        };
        let start = start.expect("the first day of a week, month or year exists");
        offset.moment(start.and_time(chrono::NaiveTime::MIN))
    }

    /// The beginning of the period `by` periods after the one that begins at `start`, or before it if `by` is negative.
    pub(crate) fn shifted(self, start: Time, by: i32, offset: UtcOffset) -> Time {
        let local = offset.local(start);
        let days = |count: i64| local.checked_add_signed(chrono::Duration::days(count));
        let months = |count: i32| {
            let size = Months::new(count.unsigned_abs());
            if count < 0 {
                local.checked_sub_months(size)
            } else {
                local.checked_add_months(size)
            }
        };
        let shifted = match self {
            Self::Hour => return Time(start.0 + i64::from(by) * HOUR_MS),
            Self::Day => days(i64::from(by)),
            Self::Week => days(7 * i64::from(by)),
            Self::Month => months(by),
            Self::Year => months(by.saturating_mul(12)),
        };
        // Beyond the end of the calendar there are no counts.
        shifted.map_or(start, |shifted| offset.moment(shifted))
    }

    /// The beginning of the period after the one that begins at `start`.
    pub(crate) fn next(self, start: Time, offset: UtcOffset) -> Time {
        self.shifted(start, 1, offset)
    }
}

#[cfg(test)]
mod tests;
