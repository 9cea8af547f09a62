//! The scope of a restoration or of a query of totals.

use serde::{Deserialize, Serialize};

use crate::cell::{Counter, CounterName, Key};
use crate::range::RangeId;

/// The cells that are audited and corrected: those of the ranges `first` to `last`, restricted to one counter definition
/// if one is named, and to one of its keys if one is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Only cells of this definition. The configuration defines it.
    pub counter: Option<CounterName>,
    /// Only cells of this key; then `counter` is set too, and `first` and `last` are the range of that counter.
    pub key: Option<Key>,
    /// The lowest range.
    pub first: RangeId,
    /// The highest range; one that the namespace has, not below `first`.
    pub last: RangeId,
}

impl Scope {
    /// The ranges, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeId> + use<> {
        (self.first.0..=self.last.0).map(RangeId)
    }

    /// Whether the cells of `counter`, which is in `range`, are in scope.
    #[must_use]
    pub fn contains(&self, counter: &Counter, range: RangeId) -> bool {
        self.has_range(range) && self.has_counter(counter)
    }

    /// Whether `range` is one of its ranges.
    #[must_use]
    pub fn has_range(&self, range: RangeId) -> bool {
        (self.first..=self.last).contains(&range)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_contains_the_ranges_counter_and_key_that_it_names() {
        let mut scope = Scope {
            counter: None,
            key: None,
            first: RangeId(2),
            last: RangeId(3),
        };
        let counter = Counter::new("plays", "a");
        assert_eq!(scope.ranges().collect::<Vec<_>>(), [RangeId(2), RangeId(3)]);
        assert!(scope.contains(&counter, RangeId(3)));
        assert!(!scope.contains(&counter, RangeId(4)));
        scope.counter = Some(CounterName("plays".into()));
        scope.key = Some(Key("a".into()));
        assert!(scope.contains(&counter, RangeId(2)));
        assert!(!scope.contains(&Counter::new("plays", "b"), RangeId(2)));
        assert!(!scope.contains(&Counter::new("bytes", "a"), RangeId(2)));
    }
}
