//! Moments as texts: what a client may write, and what it is shown.

use chrono::{DateTime, NaiveDate, SecondsFormat};
use stitch_common::time::parse_rfc3339;

use crate::time::Time;
use crate::utc_offset::UtcOffset;

impl Time {
    /// Parses a date, which begins at midnight at `offset`, or a time with an offset of its own.
    pub fn parse(text: &str, offset: UtcOffset) -> Option<Self> {
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

    /// Formats it as a parameter at `offset` that [`Self::parse`] reads, or as the nearest one that it reads.
    pub fn parameter(self, offset: UtcOffset) -> String {
        let text = self.at(offset);
        // In the first and the last hours of the calendar, the local year has no four digits.
        if Self::parse(&text, offset) == Some(self) {
            text
        } else {
            self.clamped().at(UtcOffset::default())
        }
    }

    /// Formats it at `offset`. The end of the last period is in the year +10000 (ISO 8601, expanded).
    pub fn at(self, offset: UtcOffset) -> String {
        match DateTime::from_timestamp_millis(self.0) {
            Some(utc) => utc
                .with_timezone(&offset.fixed())
                .to_rfc3339_opts(SecondsFormat::Secs, true),
            None => format!("{} ms", self.0),
        }
    }
}
