//! Calendar periods: where each begins by local clocks, and where the next one does.
//!
//! A day, week, month or year begins with the first moment at which the clocks show its first date, so that one is an hour
//! shorter and one an hour longer where clocks are changed. Hours, and what is shorter, begin where the clocks show a whole
//! one; and where clocks are changed, if that is within one. So no hour is longer than an hour, and every period is one
//! stretch of time, which ends where the next begins.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime};
use serde::Serialize;
use stitch_common::cell::Granularity;

use crate::time::{HOUR_MS, MINUTE_MS, Time};
use crate::time_zone::TimeZone;

/// A unit of the calendar that people compare counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// A minute.
    Minute,
    /// A quarter of an hour.
    Quarter,
    /// An hour.
    Hour,
    /// A local day.
    Day,
    /// Begins on Monday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

impl Period {
    /// Every period, from the shortest to the longest.
    pub const EVERY: [Self; 7] = [
        Self::Minute,
        Self::Quarter,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Year,
    ];

    /// The name in addresses and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Quarter => "quarter",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The period of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|period| period.name() == name)
    }

    /// The granularity with buckets of the same length, if there is one.
    #[must_use]
    pub const fn granularity(self) -> Option<Granularity> {
        match self {
            Self::Minute => Some(Granularity::Minute),
            Self::Quarter => Some(Granularity::Quarter),
            Self::Hour => Some(Granularity::Hour),
            Self::Day => Some(Granularity::Day),
            Self::Week => None,
            Self::Month => Some(Granularity::Month),
            Self::Year => Some(Granularity::Year),
        }
    }

    /// The length of a period that is a fraction of a day; the others are counted in days.
    const fn length_ms(self) -> Option<i64> {
        match self {
            Self::Minute => Some(MINUTE_MS),
            Self::Quarter => Some(15 * MINUTE_MS),
            Self::Hour => Some(HOUR_MS),
            Self::Day | Self::Week | Self::Month | Self::Year => None,
        }
    }

    /// The beginning of the period that contains `moment`.
    #[must_use]
    pub fn start(self, moment: Time, zone: &TimeZone) -> Time {
        if let Some(length) = self.length_ms() {
            let start = Time(moment.0 - zone.local_ms(moment).rem_euclid(length));
            return zone.change(start, moment).unwrap_or(start);
        }
        let start = midnight(self.first_day(date(moment, zone)), zone);
        // Where clocks are set back across midnight, they show the last hour of a day again after the next has begun.
        let next = self.next(start, zone);
        if next <= moment { next } else { start }
    }

    /// The beginning of the period after the one that begins at `start`.
    #[must_use]
    pub fn next(self, start: Time, zone: &TimeZone) -> Time {
        let Some(length) = self.length_ms() else {
            return self.shifted(start, 1, zone);
        };
        let end = Time(start.0 - zone.local_ms(start).rem_euclid(length) + length);
        zone.change(start, end).unwrap_or(end)
    }

    /// The beginning of the period before the one that begins at `start`.
    #[must_use]
    pub fn previous(self, start: Time, zone: &TimeZone) -> Time {
        self.start(Time(start.0 - 1), zone)
    }

    /// The beginning of the period that is about `by` periods after the one that begins at `start`, or before it if `by` is
    /// negative. Exactly that many, but for hours and what is shorter where clocks are changed.
    #[must_use]
    pub fn shifted(self, start: Time, by: i32, zone: &TimeZone) -> Time {
        if let Some(length) = self.length_ms() {
            return self.start(Time(start.0 + i64::from(by) * length), zone);
        }
        let first = self.first_day(date(start, zone));
        let count = by.unsigned_abs();
        let days = |count: u32| {
            let days = Days::new(u64::from(count));
            if by < 0 {
                first.checked_sub_days(days)
            } else {
                first.checked_add_days(days)
            }
        };
        let months = |count: u32| {
            let months = Months::new(count);
            if by < 0 {
                first.checked_sub_months(months)
            } else {
                first.checked_add_months(months)
            }
        };
        let shifted = match self {
            Self::Minute | Self::Quarter | Self::Hour | Self::Day => days(count),
            Self::Week => days(count.saturating_mul(7)),
            Self::Month => months(count),
            Self::Year => months(count.saturating_mul(12)),
        };
        // Beyond the end of the calendar there are no counts.
        shifted.map_or(start, |date| midnight(date, zone))
    }

    /// The first day of the week, month or year that contains `day`.
    fn first_day(self, day: NaiveDate) -> NaiveDate {
        let first = match self {
            Self::Minute | Self::Quarter | Self::Hour | Self::Day => Some(day),
            Self::Week => {
                let days = u64::from(day.weekday().num_days_from_monday());
                day.checked_sub_days(Days::new(days))
            }
            Self::Month => day.with_day(1),
            Self::Year => day.with_day(1).and_then(|day| day.with_month(1)),
        };
        first.expect("the first day of a week, month or year exists")
    }
}

/// The date that the clocks of `zone` show at `moment`.
fn date(moment: Time, zone: &TimeZone) -> NaiveDate {
    let local = DateTime::from_timestamp_millis(zone.local_ms(moment));
    local
        .expect("a moment lies in the years 1 to 9999")
        .date_naive()
}

/// The first moment of `date`.
fn midnight(date: NaiveDate, zone: &TimeZone) -> Time {
    let midnight = date.and_time(NaiveTime::MIN).and_utc();
    zone.first_moment(midnight.timestamp_millis())
}
