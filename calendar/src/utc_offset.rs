//! Offsets from UTC: clocks that are never changed.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::time::MINUTE_MS;

/// How far local clocks are ahead of UTC: whole quarters of an hour, as everywhere in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UtcOffset {
    minutes: i32,
}

impl UtcOffset {
    /// No offset.
    pub const UTC: Self = Self { minutes: 0 };
    /// All offsets in use anywhere.
    const MINUTES: std::ops::RangeInclusive<i32> = -14 * 60..=14 * 60;

    /// Parses `Z`, `+02:00`, `-03:30`. In a query, `+` decodes to a blank, so a blank is accepted for it.
    ///
    /// # Errors
    /// `text` is no offset, or not one of whole quarters of an hour.
    pub fn parse(text: &str) -> Result<Self, UtcOffsetError> {
        if text.eq_ignore_ascii_case("z") {
            return Ok(Self::UTC);
        }
        let (sign, rest) = match text.as_bytes().first() {
            Some(b'+' | b' ') => (1, &text[1..]),
            Some(b'-') => (-1, &text[1..]),
            _ => return Err(UtcOffsetError::Malformed),
        };
        let (hours, minutes) = rest.split_once(':').ok_or(UtcOffsetError::Malformed)?;
        let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
        let all = sign * (hours * 60 + minutes);
        if minutes > 59 || !Self::MINUTES.contains(&all) {
            return Err(UtcOffsetError::Malformed);
        }
        if minutes % 15 != 0 {
            return Err(UtcOffsetError::NotWholeQuarters);
        }
        Ok(Self { minutes: all })
    }

    pub(crate) fn ms(self) -> i64 {
        i64::from(self.minutes) * MINUTE_MS
    }
}

fn two_digits(text: &str) -> Result<i32, UtcOffsetError> {
    let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.ok_or(UtcOffsetError::Malformed)
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.minutes {
            0 => return f.write_str("Z"),
            ..0 => '-',
            _ => '+',
        };
        let minutes = self.minutes.abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
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
    /// No clocks are at such an offset, and no buckets would add up to its periods.
    NotWholeQuarters,
}
