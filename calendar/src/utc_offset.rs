//! Offsets from UTC: fixed, so that every day has 24 hours.

use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDateTime};
use serde::{Serialize, Serializer};

use crate::time::{HOUR_MS, Time};

/// How far local clocks are ahead of UTC: whole hours, because buckets begin at whole hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UtcOffset {
    hours: i32,
}

impl UtcOffset {
    /// All offsets in use anywhere.
    const HOURS: std::ops::RangeInclusive<i32> = -14..=14;

    /// Parses `Z`, `+02:00`, `-05:00`. In a query, `+` decodes to a blank, so a blank is accepted for it.
    ///
    /// # Errors
    /// `text` is no offset, or not one of whole hours.
    pub fn parse(text: &str) -> Result<Self, UtcOffsetError> {
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

    /// Whether local time is UTC.
    pub const fn is_utc(self) -> bool {
        self.hours == 0
    }

    fn ms(self) -> i64 {
        i64::from(self.hours) * HOUR_MS
    }

    pub(crate) fn fixed(self) -> FixedOffset {
        FixedOffset::east_opt(self.hours * 3600).expect("at most 14 hours")
    }

    /// The local time at a moment.
    pub(crate) fn local(self, moment: Time) -> NaiveDateTime {
        let local = DateTime::from_timestamp_millis(moment.0 + self.ms());
        local
            .expect("a moment lies in the years 1 to 9999")
            .naive_utc()
    }

    /// The moment of a local time.
    pub(crate) fn moment(self, local: NaiveDateTime) -> Time {
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
pub enum UtcOffsetError {
    /// Not an offset, or one that is not in use anywhere.
    Malformed,
    /// Buckets begin at whole hours of UTC, so no cells would add up to its periods.
    NotWholeHours,
}
