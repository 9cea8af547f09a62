//! The cells that the table of (g) has for each track.

pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// 2023-11-01T00:00:00Z, also as written in an address.
pub(crate) const START_MS: i64 = 1_698_796_800_000;
pub(super) const FROM: &str = "2023-11-01";
pub(super) const TO: &str = "2023-12-01";
/// 2023-01-01T00:00:00Z.
pub(crate) const YEAR_START_MS: i64 = 1_672_531_200_000;
pub(crate) const DAYS: i64 = 30;
/// The last day.
pub(crate) const LAST_MS: i64 = START_MS + (DAYS - 1) * DAY_MS;
/// The count of each day.
pub(crate) const DAY_COUNT: i64 = 240;
/// The count of the month.
pub(crate) const COUNT: i64 = DAYS * DAY_COUNT;
