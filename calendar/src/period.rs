//! Calendar periods: where each begins, and where the next one does.

use chrono::{Datelike, Days, Months};
use serde::Serialize;
use stitch_common::cell::Granularity;

use crate::time::{HOUR_MS, Time};
use crate::utc_offset::UtcOffset;

/// A unit of the calendar that people compare counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
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
    pub const EVERY: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The name in addresses and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The period of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|period| period.name() == name)
    }

    /// The granularity with buckets of the same length, if there is one.
    pub const fn granularity(self) -> Option<Granularity> {
        match self {
            Self::Hour => Some(Granularity::Hour),
            Self::Day => Some(Granularity::Day),
            Self::Week => None,
            Self::Month => Some(Granularity::Month),
            Self::Year => Some(Granularity::Year),
        }
    }

    /// The beginning of the period that contains `moment`.
    pub fn start(self, moment: Time, offset: UtcOffset) -> Time {
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
    pub fn shifted(self, start: Time, by: i32, offset: UtcOffset) -> Time {
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
    pub fn next(self, start: Time, offset: UtcOffset) -> Time {
        self.shifted(start, 1, offset)
    }
}
