//! Moments that events can have.

use stitch_common::cell::EventTime;

pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// A moment, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// The first moment that an event can have.
    pub const FIRST: Self = Self(EventTime::MIN_MS);
    /// The last one.
    pub(crate) const LAST: Self = Self(EventTime::MAX_MS);
    /// The end of the last period at UTC.
    pub const END: Self = Self(EventTime::MAX_MS + 1);

    /// Whether an event can have this time.
    pub(crate) fn within_events(self) -> bool {
        (Self::FIRST..=Self::LAST).contains(&self)
    }

    /// This time, or the nearest one that an event can have.
    pub fn clamped(self) -> Self {
        self.clamp(Self::FIRST, Self::LAST)
    }
}
