//! How fresh and how sure counts are: one word and a number, for each range, decided from what ZooKeeper and Kafka
//! said a moment ago. [`watching`] asks them; nothing here waits.
//!
//! A count that is `live` has everything that was in the log a moment ago, and nothing is known that could make it
//! wrong. It is not proved: only an audit does that.

pub(crate) mod poller;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;
use stitch_common::clock::Moment;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Bounds;
use stitch_common::range::{RangeBits, RangeId};
use stitch_protocol::glance::Glance;

/// After which what was seen is too old to be told.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// How it stands with counts; the later, the more there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// All that was in the log a moment ago is counted.
    Live,
    /// Events have been waiting for longer than is usual.
    Lagging,
    /// Something is known that may have made counts wrong, until a restoration proves them right.
    Uncertain,
    /// A restoration has it locked: what comes is counted when it is done.
    Restoring,
    /// ZooKeeper or Kafka cannot be asked.
    Unknown,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Lagging => "lagging",
            Self::Uncertain => "uncertain",
            Self::Restoring => "restoring",
            Self::Unknown => "unknown",
        }
    }
}

/// What is told beside every count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Freshness {
    pub(crate) state: State,
    /// Records at the end of the log that may still have to be counted; none if unknown.
    pub(crate) behind_events: Option<u64>,
}

impl Freshness {
    const UNKNOWN: Self = Self {
        state: State::Unknown,
        behind_events: None,
    };

    /// Of several, what there is most to say about.
    fn and(self, other: Self) -> Self {
        Self {
            state: self.state.max(other.state),
            behind_events: match (self.behind_events, other.behind_events) {
                (Some(one), Some(other)) => Some(one.max(other)),
                (None, _) | (_, None) => None,
            },
        }
    }
}

/// What was seen of a namespace at one moment, range by range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FreshnessSnapshot {
    bits: RangeBits,
    /// In the order of the ranges; none before anything was seen.
    ranges: Vec<Freshness>,
    seen: Moment,
}

impl FreshnessSnapshot {
    /// Before anything was seen.
    pub(crate) fn blank(bits: RangeBits) -> Self {
        Self {
            bits,
            ranges: Vec::new(),
            seen: Moment::new(Duration::ZERO),
        }
    }

    /// What `seen` says. `unverified` are the ranges that the last restoration could not prove.
    pub(crate) fn new(
        bits: RangeBits,
        glance: &Glance,
        unverified: &BTreeSet<RangeId>,
        history: &History,
    ) -> Self {
        let range = |range| {
            let (behind, lagging) = history.behind(glance, range);
            let state = if glance.locked.contains(&range) {
                State::Restoring
            } else if glance.dead_members > 0
                || glance.marked.contains(&range)
                || unverified.contains(&range)
            {
                State::Uncertain
            } else if lagging {
                State::Lagging
            } else {
                State::Live
            };
            Freshness {
                state,
                behind_events: Some(behind),
            }
        };
        Self {
            bits,
            ranges: bits.ranges().map(range).collect(),
            seen: history.latest(),
        }
    }

    /// Whether what was seen is told at `now`.
    pub(crate) fn is_known(&self, now: Moment) -> bool {
        !self.ranges.is_empty() && now.since(self.seen) < STALE_AFTER
    }

    /// How it stands with a range at `now`.
    pub(crate) fn of(&self, range: RangeId, now: Moment) -> Freshness {
        let known = self.ranges.get(usize::from(range.0));
        match known {
            Some(known) if self.is_known(now) => *known,
            Some(_) | None => Freshness::UNKNOWN,
        }
    }

    /// How it stands with all of these counters together.
    pub(crate) fn of_all<'a>(
        &self,
        counters: impl IntoIterator<Item = &'a stitch_common::cell::Counter>,
        now: Moment,
    ) -> Freshness {
        let each = counters.into_iter();
        let each = each.map(|counter| self.of(self.bits.range_of(counter.token()), now));
        each.reduce(Freshness::and).unwrap_or(Freshness::UNKNOWN)
    }

    /// How it stands with the namespace as a whole, and with how many ranges in which way.
    pub(crate) fn summary(&self, now: Moment) -> (Freshness, BTreeMap<State, usize>) {
        let mut states = BTreeMap::new();
        let each = self.bits.ranges().map(|range| self.of(range, now));
        let whole = each
            .inspect(|freshness| *states.entry(freshness.state).or_default() += 1)
            .reduce(Freshness::and);
        (whole.unwrap_or(Freshness::UNKNOWN), states)
    }
}

/// Where the log's partitions ended lately: tells how long events have been waiting.
#[derive(Clone, Debug)]
pub(crate) struct History {
    lagging_after: Duration,
    seen: VecDeque<(Moment, BTreeMap<Partition, Bounds>)>,
}

impl History {
    pub(crate) const fn new(lagging_after: Duration) -> Self {
        Self {
            lagging_after,
            seen: VecDeque::new(),
        }
    }

    /// The partitions were seen like this.
    pub(crate) fn add(&mut self, now: Moment, bounds: BTreeMap<Partition, Bounds>) {
        self.seen.push_back((now, bounds));
        // One that is old enough is kept: what lay in the log then should be counted by now.
        let old = |entry: Option<&(Moment, _)>| {
            entry.is_some_and(|(then, _)| now.since(*then) >= self.lagging_after)
        };
        while old(self.seen.get(1)) {
            self.seen.pop_front();
        }
    }

    fn latest(&self) -> Moment {
        let latest = self.seen.back();
        latest.map_or(Moment::new(Duration::ZERO), |(moment, _)| *moment)
    }

    /// How many records a range may still have to count, and whether some have been waiting for too long. As long as
    /// nothing was seen long enough ago, what was seen first counts as if it were.
    fn behind(&self, glance: &Glance, range: RangeId) -> (u64, bool) {
        let (Some((_, ends)), Some((_, old_ends))) = (self.seen.back(), self.seen.front()) else {
            return (0, false);
        };
        let (mut behind, mut lagging) = (0_u64, false);
        for (partition, bounds) in ends {
            let progress = glance.partitions.get(partition).and_then(Option::as_ref);
            let counted = progress.map_or(bounds.begin, |progress| progress.of(range));
            let left = |end: Offset| u64::try_from(end.0.saturating_sub(counted.0)).unwrap_or(0);
            behind = behind.saturating_add(left(bounds.end));
            lagging |= old_ends.get(partition).is_some_and(|old| left(old.end) > 0);
        }
        (behind, lagging)
    }
}

#[cfg(test)]
mod tests;
