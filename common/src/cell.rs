//! Counters and cells: what is counted, and its key in Cassandra.
//!
//! A *counter* is one definition and one key: one Cassandra partition. A *cell* is one counter, granularity and
//! bucket start: one counter column value. All arithmetic wraps at 64 bits, as Cassandra's counters do.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::printable::printable;
use crate::token::Token;

/// The name of a counter definition, in the configuration and in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CounterName(pub Arc<str>);

/// The value of the key attribute: what the counter is about. Non-empty, at most [`Key::BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Arc<str>);

impl Key {
    /// The longest key that is counted, in bytes of UTF-8.
    pub const BYTES_MAX: usize = 1024;
}

/// One definition and one key: one Cassandra partition of the counts table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counter {
    pub name: CounterName,
    pub key: Key,
}

impl Counter {
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, key: impl Into<Arc<str>>) -> Self {
        Self {
            name: CounterName(name.into()),
            key: Key(key.into()),
        }
    }

    /// The token of this counter by Cassandra's Murmur3 partitioner.
    #[must_use]
    pub fn token(&self) -> Token {
        Token::of_partition_key(&[self.name.0.as_bytes(), self.key.0.as_bytes()])
    }
}

/// As a terminal may show it: see [`printable`].
impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, key) = (printable(&self.name.0), printable(&self.key.0));
        write!(f, "{name}/{key}")
    }
}

/// The length of a cell's bucket. Ordered as Cassandra orders the clustering column, that is by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// One bucket for all time, at 1970-01-01.
    All,
    /// UTC days.
    Day,
    /// UTC hours.
    Hour,
    /// UTC minutes, of the years up to [`EventTime::LAST_YEAR_OF_MINUTES`].
    Minute,
    /// UTC months.
    Month,
    /// Quarters of a UTC hour.
    Quarter,
    /// UTC years.
    Year,
}

impl Granularity {
    /// Every granularity, in clustering order.
    pub const EVERY: [Self; 7] = [
        Self::All,
        Self::Day,
        Self::Hour,
        Self::Minute,
        Self::Month,
        Self::Quarter,
        Self::Year,
    ];

    /// Every granularity, from the shortest bucket to the longest. Each bucket lies within one of every longer granularity.
    pub const BY_LENGTH: [Self; 7] = [
        Self::Minute,
        Self::Quarter,
        Self::Hour,
        Self::Day,
        Self::Month,
        Self::Year,
        Self::All,
    ];

    /// Those of a counter that names none. Each further one costs every event another cell, and these add many more.
    pub const DEFAULT: [Self; 5] = [Self::All, Self::Day, Self::Hour, Self::Month, Self::Year];

    /// The name in configuration and table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The granularity of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EVERY
            .into_iter()
            .find(|granularity| granularity.name() == name)
    }

    /// The start of the bucket that `time` falls into; floored, before 1970 too.
    #[must_use]
    pub fn bucket(self, time: EventTime) -> Bucket {
        const MINUTE_MS: i64 = 60_000;
        const HOUR_MS: i64 = 60 * MINUTE_MS;
        const DAY_MS: i64 = 24 * HOUR_MS;
        let EventTime(ms) = time;
        let start = match self {
            Self::All => 0,
            Self::Minute => ms - ms.rem_euclid(MINUTE_MS),
            Self::Quarter => ms - ms.rem_euclid(15 * MINUTE_MS),
            Self::Hour => ms - ms.rem_euclid(HOUR_MS),
            Self::Day => ms - ms.rem_euclid(DAY_MS),
            Self::Month => calendar_start_ms(ms, |date| date.with_day(1)),
            Self::Year => calendar_start_ms(ms, |date| date.with_day(1)?.with_month(1)),
        };
        Bucket(start)
    }
}

fn calendar_start_ms(ms: i64, first_day: impl Fn(NaiveDate) -> Option<NaiveDate>) -> i64 {
    let date = DateTime::from_timestamp_millis(ms)
        .expect("an event time lies in the years 1 to 9999")
        .date_naive();
    let start = first_day(date).expect("the first day of a month or year exists");
    start
        .and_time(chrono::NaiveTime::MIN)
        .and_utc()
        .timestamp_millis()
}

/// When an event happened: milliseconds since 1970-01-01T00:00:00Z, in the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

impl EventTime {
    /// 0001-01-01T00:00:00.000Z.
    pub const MIN_MS: i64 = -62_135_596_800_000;
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX_MS: i64 = 253_402_300_799_999;
    /// The last year whose minutes are counted: those of all years would not have names of 32 bits.
    pub const LAST_YEAR_OF_MINUTES: i64 = 7000;
    /// 7000-12-31T23:59:59.999Z.
    pub const MAX_MS_OF_MINUTES: i64 = 158_763_023_999_999;

    /// The time at `ms` milliseconds since 1970, unless it lies outside the years 1 to 9999.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Option<Self> {
        if ms >= Self::MIN_MS && ms <= Self::MAX_MS {
            Some(Self(ms))
        } else {
            None
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }
}

/// The start of a bucket: milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bucket(pub i64);

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%SZ")),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// A cell within its counter: the clustering key, ordered as Cassandra orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellSlot {
    pub granularity: Granularity,
    pub bucket: Bucket,
}

/// The key of one counter column value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The Cassandra partition.
    pub counter: Counter,
    /// The row within it.
    pub slot: CellSlot,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.counter,
            self.slot.granularity.name(),
            self.slot.bucket
        )
    }
}

/// A cell's value. A row that does not exist counts 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Count(pub i64);

impl Count {
    /// This count plus `amount`.
    #[must_use]
    pub const fn plus(self, amount: Amount) -> Self {
        Self(self.0.wrapping_add(amount.0))
    }

    /// The difference between this count and `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Amount {
        Amount(self.0.wrapping_sub(other.0))
    }
}

/// An amount added to a cell; may be negative.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Amount(pub i64);

impl Amount {
    /// The sum of both amounts.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Whether it adds nothing, and so is not written.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> EventTime {
        EventTime::from_ms(
            DateTime::parse_from_rfc3339(text)
                .unwrap()
                .timestamp_millis(),
        )
        .unwrap()
    }

    fn bucket(granularity: Granularity, text: &str) -> String {
        granularity.bucket(time(text)).to_string()
    }

    #[test]
    fn buckets_start_in_utc() {
        let t = "2014-06-30T23:30:15.5-02:00";
        assert_eq!(bucket(Granularity::Minute, t), "2014-07-01T01:30:00Z");
        assert_eq!(bucket(Granularity::Quarter, t), "2014-07-01T01:30:00Z");
        assert_eq!(bucket(Granularity::Hour, t), "2014-07-01T01:00:00Z");
        assert_eq!(bucket(Granularity::Day, t), "2014-07-01T00:00:00Z");
        assert_eq!(bucket(Granularity::Month, t), "2014-07-01T00:00:00Z");
        assert_eq!(bucket(Granularity::Year, t), "2014-01-01T00:00:00Z");
        assert_eq!(bucket(Granularity::All, t), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn buckets_before_1970_are_floored_not_truncated() {
        let t = "1969-12-31T23:59:59.999Z";
        assert_eq!(bucket(Granularity::Minute, t), "1969-12-31T23:59:00Z");
        assert_eq!(bucket(Granularity::Quarter, t), "1969-12-31T23:45:00Z");
        assert_eq!(bucket(Granularity::Hour, t), "1969-12-31T23:00:00Z");
        assert_eq!(bucket(Granularity::Day, t), "1969-12-31T00:00:00Z");
        assert_eq!(bucket(Granularity::Month, t), "1969-12-01T00:00:00Z");
        assert_eq!(bucket(Granularity::Year, t), "1969-01-01T00:00:00Z");
    }

    #[test]
    fn the_first_and_the_last_instant_have_buckets() {
        for granularity in Granularity::EVERY {
            for ms in [EventTime::MIN_MS, EventTime::MAX_MS] {
                let bucket = granularity.bucket(EventTime::from_ms(ms).unwrap());
                assert!(granularity == Granularity::All || bucket.0 <= ms);
                assert!(bucket.0 >= EventTime::MIN_MS);
            }
        }
        assert_eq!(EventTime::from_ms(EventTime::MIN_MS - 1), None);
        assert_eq!(EventTime::from_ms(EventTime::MAX_MS + 1), None);
    }

    #[test]
    fn slots_have_the_order_of_the_table() {
        let mut names: Vec<&str> = Granularity::EVERY.iter().map(|g| g.name()).collect();
        let by_type = names.clone();
        names.sort_unstable();
        assert_eq!(names, by_type);
        let mut sorted = Granularity::EVERY;
        sorted.sort();
        assert_eq!(sorted, Granularity::EVERY);
    }

    #[test]
    fn counts_wrap_as_cassandra_does() {
        assert_eq!(Count(i64::MAX).plus(Amount(1)), Count(i64::MIN));
        assert_eq!(Count(i64::MIN).minus(Count(i64::MAX)), Amount(1));
    }
}
