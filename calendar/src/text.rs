//! Moments as texts: what a client may write, and what it is shown.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, SecondsFormat};
use stitch_common::time::parse_rfc3339;

use crate::time::{MINUTE_MS, Time};
use crate::time_zone::TimeZone;

impl Time {
    /// Parses a date, which begins with the first moment of that day in `zone`, or a time with an offset of its own.
    pub fn parse(text: &str, zone: &TimeZone) -> Option<Self> {
        let moment = match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            // The parser would accept blanks, signs and other numbers of digits.
            Ok(date) if date.to_string() == text => {
                let midnight = date.and_time(NaiveTime::MIN).and_utc();
                zone.first_moment(midnight.timestamp_millis())
            }
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

    /// Formats it as a parameter in `zone` that [`Self::parse`] reads, or as the nearest one that it reads.
    pub fn parameter(self, zone: &TimeZone) -> String {
        let text = self.at(zone);
        // In the first and the last hours of the calendar, the local year has no four digits.
        if Self::parse(&text, zone) == Some(self) {
            text
        } else {
            self.clamped().at(&TimeZone::UTC)
        }
    }

    /// Formats it by the clocks of `zone`. The end of the last period is in the year +10000 (ISO 8601, expanded).
    ///
    /// In UTC where these were not at whole minutes, as local time before the zones was: a text has no room for seconds of
    /// an offset.
    pub fn at(self, zone: &TimeZone) -> String {
        let Some(utc) = DateTime::from_timestamp_millis(self.0) else {
            return format!("{} ms", self.0);
        };
        let minutes = zone.offset_ms(self) / MINUTE_MS;
        let is_whole = minutes * MINUTE_MS == zone.offset_ms(self);
        let offset = i32::try_from(minutes * 60).ok().filter(|_| is_whole);
        let offset = offset.and_then(FixedOffset::east_opt);
        match offset {
            Some(offset) => utc
                .with_timezone(&offset)
                .to_rfc3339_opts(SecondsFormat::Secs, true),
            None => utc.to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }
}
