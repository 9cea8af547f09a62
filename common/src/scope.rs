//! The scope of a restoration or of a query of totals.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cell::{Counter, CounterName, Key};
use crate::printable::printable;
use crate::range::RangeId;

/// The cells that are audited and corrected: those of some ranges, restricted to one counter definition if one is named,
/// and to one of its keys if one is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Only cells of this definition. The configuration defines it.
    pub counter: Option<CounterName>,
    /// Only cells of this key; then `counter` is set too, and `ranges` is the range of that counter.
    pub key: Option<Key>,
    /// Ranges that the namespace has.
    pub ranges: RangeSet,
}

impl Scope {
    /// All cells of these ranges.
    #[must_use]
    pub const fn of_ranges(ranges: RangeSet) -> Self {
        Self {
            counter: None,
            key: None,
            ranges,
        }
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeId> + '_ {
        self.ranges.iter()
    }

    /// Whether the cells of `counter`, which is in `range`, are in scope.
    #[must_use]
    pub fn contains(&self, counter: &Counter, range: RangeId) -> bool {
        self.has_range(range) && self.has_counter(counter)
    }

    /// Whether `range` is one of its ranges.
    #[must_use]
    pub fn has_range(&self, range: RangeId) -> bool {
        self.ranges.contains(range)
    }

    /// Whether the cells of `counter` are in scope if its range is.
    #[must_use]
    pub fn has_counter(&self, counter: &Counter) -> bool {
        self.has_definition(&counter.name)
            && self.key.as_ref().is_none_or(|key| *key == counter.key)
    }

    /// Whether counters of the definition `name` can be in scope.
    #[must_use]
    pub fn has_definition(&self, name: &CounterName) -> bool {
        self.counter.as_ref().is_none_or(|scoped| scoped == name)
    }

    /// Whether every cell of its ranges is in scope: then what is shown of its cells is shown of its ranges.
    #[must_use]
    pub const fn covers_ranges(&self) -> bool {
        self.counter.is_none() && self.key.is_none()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ranges {}", self.ranges)?;
        if let Some(counter) = &self.counter {
            write!(f, ", counter {}", counter.0)?;
        }
        match &self.key {
            Some(key) => write!(f, ", key {}", printable(&key.0)),
            None => Ok(()),
        }
    }
}

/// Ranges, kept as intervals: first and last of each, in order and with at least one range between two of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(RangeId, RangeId)>")]
pub struct RangeSet(Vec<(RangeId, RangeId)>);

impl RangeSet {
    /// The ranges from `first` to `last`, both included; none if `last` is below `first`.
    #[must_use]
    pub fn interval(first: RangeId, last: RangeId) -> Self {
        Self(
            (first <= last)
                .then_some((first, last))
                .into_iter()
                .collect(),
        )
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = RangeId> + '_ {
        let intervals = self.0.iter();
        intervals.flat_map(|(first, last)| (first.0..=last.0).map(RangeId))
    }

    /// Whether `range` is one of them.
    #[must_use]
    pub fn contains(&self, range: RangeId) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&range))
    }

    /// The lowest and the highest of them.
    #[must_use]
    pub fn bounds(&self) -> Option<(RangeId, RangeId)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }
}

impl FromIterator<RangeId> for RangeSet {
    fn from_iter<T: IntoIterator<Item = RangeId>>(ranges: T) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut intervals: Vec<(RangeId, RangeId)> = Vec::new();
        for range in ranges {
            match intervals.last_mut() {
                Some((_, last)) if range.0 <= last.0.saturating_add(1) => *last = range,
                _ => intervals.push((range, range)),
            }
        }
        Self(intervals)
    }
}

impl TryFrom<Vec<(RangeId, RangeId)>> for RangeSet {
    type Error = String;

    fn try_from(intervals: Vec<(RangeId, RangeId)>) -> Result<Self, String> {
        let mut below = None;
        for &(first, last) in &intervals {
            let overlaps = below.is_some_and(|below: RangeId| first.0 <= below.0.saturating_add(1));
            if last < first || overlaps {
                return Err(format!(
                    "{first}-{last} is not an interval of ranges in order"
                ));
            }
            below = Some(last);
        }
        Ok(Self(intervals))
    }
}

/// `0-15 20`
impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            match first == last {
                true => write!(f, "{blank}{first}")?,
                false => write!(f, "{blank}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_contains_the_ranges_counter_and_key_that_it_names() {
        let mut scope = Scope::of_ranges(RangeSet::interval(RangeId(2), RangeId(3)));
        let counter = Counter::new("plays", "a");
        assert_eq!(scope.ranges().collect::<Vec<_>>(), [RangeId(2), RangeId(3)]);
        assert!(scope.contains(&counter, RangeId(3)));
        assert!(!scope.contains(&counter, RangeId(4)));
        assert!(scope.covers_ranges());
        scope.counter = Some(CounterName("plays".into()));
        assert!(!scope.covers_ranges());
        scope.key = Some(Key("a".into()));
        assert!(scope.contains(&counter, RangeId(2)));
        assert!(!scope.contains(&Counter::new("plays", "b"), RangeId(2)));
        assert!(!scope.contains(&Counter::new("bytes", "a"), RangeId(2)));
        assert_eq!(scope.to_string(), "ranges 2-3, counter plays, key a");
    }

    #[test]
    fn ranges_are_kept_as_intervals_and_read_as_they_were_written() {
        let ranges = [7, 3, 4, 3, 0].map(RangeId);
        let set = RangeSet::from_iter(ranges);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 4, 7].map(RangeId));
        assert_eq!(set.bounds(), Some((RangeId(0), RangeId(7))));
        assert!(set.contains(RangeId(4)) && !set.contains(RangeId(5)));
        assert_eq!(set.to_string(), "0 3-4 7");
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, "[[0,0],[3,4],[7,7]]");
        assert_eq!(serde_json::from_str::<RangeSet>(&json).unwrap(), set);
        assert_eq!(RangeSet::interval(RangeId(1), RangeId(0)).iter().count(), 0);
    }

    #[test]
    fn intervals_that_overlap_or_are_out_of_order_are_refused() {
        for json in ["[[1,0]]", "[[3,4],[0,1]]", "[[0,3],[3,4]]", "[[0,3],[4,4]]"] {
            assert!(serde_json::from_str::<RangeSet>(json).is_err(), "{json}");
        }
        assert_eq!(
            serde_json::from_str::<RangeSet>("[]").unwrap(),
            RangeSet::default()
        );
    }
}
