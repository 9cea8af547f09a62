//! What the table of (g) holds of every track: the same in each.

pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// 2023-11-01T00:00:00Z, and as an address has it.
pub(crate) const START_MS: i64 = 1_698_796_800_000;
pub(super) const FROM: &str = "2023-11-01";
pub(super) const TO: &str = "2023-12-01";
/// 2023-01-01T00:00:00Z.
pub(crate) const YEAR_START_MS: i64 = 1_672_531_200_000;
/// Days of that month.
pub(crate) const DAYS: i64 = 30;
/// What each of them counts.
pub(crate) const DAY_COUNT: i64 = 240;
/// What they all count.
pub(crate) const COUNT: i64 = DAYS * DAY_COUNT;
