//! Time zones: how far local clocks are ahead of UTC, at each moment.
//!
//! The rules of named zones are those of the IANA database, which is built into the program: what a period is does not
//! depend on the machine that answers. A release of Stitch brings new rules.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use serde::{Serialize, Serializer};

use crate::time::{DAY_MS, Time};
use crate::utc_offset::UtcOffset;

/// The local clocks that periods begin by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum TimeZone {
    /// Clocks that are never changed.
    #[serde(rename = "utc_offset")]
    Fixed(UtcOffset),
    /// The clocks of a region, with daylight saving time if it has any.
    #[serde(rename = "time_zone")]
    Named(NamedZone),
}

/// A zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedZone {
    name: Arc<str>,
    rules: jiff::tz::TimeZone,
}

/// Why a text names no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeZoneError {
    /// The database has none of this name.
    #[error("there is no time zone \"{0}\"; a name is like Europe/Berlin")]
    Unknown(String),
    /// Names are case-sensitive here, so that one zone has one address.
    #[error("the time zone \"{given}\" is written {name}")]
    Spelling {
        /// What was given.
        given: String,
        /// As the database has it.
        name: String,
    },
}

impl NamedZone {
    /// The zone of this name, like `Europe/Berlin`.
    ///
    /// # Errors
    /// The database has none of this name, or writes it otherwise.
    pub fn of(name: &str) -> Result<Self, TimeZoneError> {
        let unknown = || TimeZoneError::Unknown(name.to_owned());
        let rules = TimeZoneDatabase::bundled()
            .get(name)
            .map_err(|_| unknown())?;
        match rules.iana_name() {
            Some(known) if known == name => Ok(Self {
                name: known.into(),
                rules,
            }),
            Some(known) => Err(TimeZoneError::Spelling {
                given: name.to_owned(),
                name: known.to_owned(),
            }),
            None => Err(unknown()),
        }
    }

    /// Its name in the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn offset_ms(&self, moment: Time) -> i64 {
        // The database has rules for all but the last hours of the year 9999, in which they do not change.
        let [first, last] = [Timestamp::MIN, Timestamp::MAX].map(Timestamp::as_second);
        let second = moment.0.div_euclid(1000).clamp(first, last);
        let moment = Timestamp::from_second(second);
        let moment = moment.expect("clamped to what has a representation");
        i64::from(self.rules.to_offset(moment).seconds()) * 1000
    }
}

impl Serialize for NamedZone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl TimeZone {
    /// The clocks that buckets begin by.
    pub const UTC: Self = Self::Fixed(UtcOffset::UTC);

    /// How far its clocks are ahead of UTC at `moment`, in milliseconds.
    pub(crate) fn offset_ms(&self, moment: Time) -> i64 {
        match self {
            Self::Fixed(offset) => offset.ms(),
            Self::Named(zone) => zone.offset_ms(moment),
        }
    }

    /// What its clocks show at `moment`, in milliseconds since 1970 by them.
    pub(crate) fn local_ms(&self, moment: Time) -> i64 {
        moment.0 + self.offset_ms(moment)
    }

    /// The first moment at which its clocks show `local_ms`, or a later time if they skip that.
    pub(crate) fn first_moment(&self, local_ms: i64) -> Time {
        let at = |offset: i64| Time(local_ms - offset);
        if let Self::Fixed(offset) = self {
            return at(offset.ms());
        }
        // Of two offsets, the larger one is that of the earlier moment.
        let around = [local_ms - DAY_MS, local_ms + DAY_MS].map(|ms| self.offset_ms(Time(ms)));
        let (small, large) = (around[0].min(around[1]), around[0].max(around[1]));
        let shown = [large, small].into_iter();
        let mut shown = shown.filter(|offset| self.offset_ms(at(*offset)) == *offset);
        match shown.next() {
            Some(offset) => at(offset),
            None => self.change(at(large), at(small)).unwrap_or(at(small)),
        }
    }

    /// The first moment at which its clocks show the time that they show at `moment`, as many days after the day of `to` as
    /// that is after the day of `from`; a later time if they skip that.
    #[must_use]
    pub fn same_time(&self, moment: Time, from: Time, to: Time) -> Time {
        let day = |moment| self.local_ms(moment).div_euclid(DAY_MS) * DAY_MS;
        self.first_moment(day(to) + self.local_ms(moment) - day(from))
    }

    /// The moment after `start` and not after `end` at which its clocks are changed; `None` if both have the same offset.
    pub(crate) fn change(&self, start: Time, end: Time) -> Option<Time> {
        let offset = self.offset_ms(start);
        if self.offset_ms(end) == offset {
            return None;
        }
        let (mut before, mut after) = (start.0, end.0);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.offset_ms(Time(middle)) == offset {
                before = middle;
            } else {
                after = middle;
            }
        }
        Some(Time(after))
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self::UTC
    }
}

impl From<UtcOffset> for TimeZone {
    fn from(offset: UtcOffset) -> Self {
        Self::Fixed(offset)
    }
}
