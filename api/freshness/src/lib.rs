//! How fresh and how certain counts are: a state and a number for each range, decided from what ZooKeeper and Kafka
//! said a moment ago. The freshness poller reads them; nothing in this module waits.
//!
//! A count that is `live` has everything that was in the log a moment ago, and nothing is known that could make it
//! wrong. It is not verified: only an audit does that.

mod batch_knowledge;
mod causes;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use stitch_common::cell::{Counter, CounterName};
use stitch_common::clock::Moment;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, TableIdentity};
use stitch_common::range::{RangeBits, RangeId};
use stitch_protocol::snapshot::LightSnapshot;
use stitch_protocol::uncertainty::{Uncertainty, UncertaintyCause};

pub use batch_knowledge::BatchKnowledge;
pub use causes::Causes;

/// After this, a snapshot is too old to be shown.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// The state of counts, the most serious one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// What is published in batch, as of the time that it says.
    Batch,
    /// All that was in the log a moment ago is counted.
    Live,
    /// Events have been waiting for longer than is usual.
    Lagging,
    /// Something is known that may have made counts wrong, until a restoration verifies them.
    Uncertain,
    /// A restoration has the range locked: new events are counted once it has released it.
    Restoring,
    /// ZooKeeper or Kafka does not answer.
    Unknown,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Live => "live",
            Self::Lagging => "lagging",
            Self::Uncertain => "uncertain",
            Self::Restoring => "restoring",
            Self::Unknown => "unknown",
        }
    }
}

/// The freshness that every answer carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Freshness {
    pub state: State,
    /// Records at the end of the log that may still have to be counted; `None` if unknown.
    pub behind_events: Option<u64>,
    /// Why counts are uncertain, whatever the state: a range that is being restored has them, too.
    #[serde(skip_serializing_if = "Causes::is_empty")]
    pub causes: Causes,
    /// What the points of the layer `batch` have, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchAsOf>,
}

/// Which generation of batch counts an answer has points of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct BatchAsOf {
    /// Every event that was in the log at this time is counted.
    pub as_of: String,
    pub generation: String,
}

impl Freshness {
    /// Nothing is known.
    pub fn unknown() -> Self {
        Self {
            state: State::Unknown,
            behind_events: None,
            causes: Causes::default(),
            batch: None,
        }
    }

    /// Nothing but batch counts.
    pub fn of_batch(batch: BatchAsOf) -> Self {
        Self {
            state: State::Batch,
            behind_events: None,
            causes: Causes::default(),
            batch: Some(batch),
        }
    }

    /// The same of counters that lack their past since `since`, if they do.
    fn with_backfill(mut self, since: Option<DateTime<Utc>>) -> Self {
        if since.is_some() {
            self.state = self.state.max(State::Uncertain);
            self.causes.add_backfill(since);
        }
        self
    }

    /// The more serious state, the larger backlog, and the causes of both.
    fn worst(mut self, other: Self) -> Self {
        self.causes.merge(&other.causes);
        Self {
            state: self.state.max(other.state),
            causes: self.causes,
            batch: self.batch.or(other.batch),
            behind_events: match (self.behind_events, other.behind_events) {
                (Some(one), Some(other)) => Some(one.max(other)),
                (None, _) | (_, None) => None,
            },
        }
    }
}

/// The freshness of every range at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshnessSnapshot {
    bits: RangeBits,
    /// Of every counter, in the order of the ranges; empty before the first poll.
    ranges: Vec<Freshness>,
    /// What is known against the counts, for what concerns some counters alone.
    uncertainty: Uncertainty,
    /// `None` before the first poll.
    at: Option<Moment>,
    /// What is known of the batch counts, whatever its age: it is true until another generation is published.
    batch: BatchKnowledge,
    /// The table that the namespace counts in; `None` if that is not known, or it counts nothing in real time.
    table: Option<TableIdentity>,
    /// Why the last poll has found nothing, if it has not.
    failure: Option<&'static str>,
    /// How long an event may be in the log until counts that are called live have it.
    settling: Duration,
}

impl FreshnessSnapshot {
    /// The snapshot before the first poll.
    pub fn empty(bits: RangeBits) -> Self {
        Self {
            bits,
            ranges: Vec::new(),
            uncertainty: Uncertainty::default(),
            at: None,
            batch: BatchKnowledge::Nothing,
            table: None,
            failure: None,
            settling: STALE_AFTER,
        }
    }

    /// What a poll at `at` finds of a namespace that is purely in batch: no range is counted in real time.
    pub fn purely_in_batch(bits: RangeBits, at: Moment) -> Self {
        Self {
            at: Some(at),
            ..Self::empty(bits)
        }
    }

    /// Decides the freshness of each range.
    pub fn new(bits: RangeBits, snapshot: &LightSnapshot, history: &History) -> Self {
        let freshness = |range| {
            let (behind, lagging) = history.behind(snapshot, range);
            let causes = Causes::of(&snapshot.uncertainty, range);
            let state = if snapshot.locked.contains(&range) {
                State::Restoring
            } else if !causes.is_empty() {
                State::Uncertain
            } else if lagging {
                State::Lagging
            } else {
                State::Live
            };
            Freshness {
                state,
                behind_events: Some(behind),
                causes,
                batch: None,
            }
        };
        Self {
            bits,
            ranges: bits.ranges().map(freshness).collect(),
            uncertainty: snapshot.uncertainty.clone(),
            at: Some(history.latest()),
            batch: BatchKnowledge::Nothing,
            table: None,
            failure: None,
            settling: history.lagging_after + STALE_AFTER,
        }
    }

    /// How long an event may be in the log until counts that are called live have it: the snapshot that says so may be as old as
    /// one is shown, and takes no notice of what was in the log for less than `lagging_after`.
    pub const fn settling(&self) -> Duration {
        self.settling
    }

    /// Adds what is known of the batch counts.
    pub fn with_batch(self, batch: BatchKnowledge) -> Self {
        Self { batch, ..self }
    }

    /// Adds which table the namespace counts in.
    #[must_use]
    pub fn with_table(self, table: TableIdentity) -> Self {
        let table = Some(table);
        Self { table, ..self }
    }

    /// The table that the namespace counts in, whatever the age of the snapshot: that never changes.
    pub const fn table(&self) -> Option<&TableIdentity> {
        self.table.as_ref()
    }

    /// What is known of the batch counts.
    pub const fn batch(&self) -> &BatchKnowledge {
        &self.batch
    }

    /// The same, after a poll that found nothing for this reason. It is shown until it is too old.
    #[must_use]
    pub fn with_failure(self, reason: &'static str) -> Self {
        Self {
            failure: Some(reason),
            ..self
        }
    }

    /// Why the last poll has found nothing, if it has not.
    pub const fn failure(&self) -> Option<&'static str> {
        self.failure
    }

    /// Whether the snapshot is young enough at `now`.
    pub fn is_known(&self, now: Moment) -> bool {
        self.at.is_some_and(|at| now.since(at) < STALE_AFTER)
    }

    /// When what it says was read; `None` before the first poll.
    pub const fn read_at(&self) -> Option<Moment> {
        self.at
    }

    /// Whether freshness was known at any time, however long ago.
    pub const fn was_known(&self) -> bool {
        self.at.is_some()
    }

    /// The freshness of a range at `now`: the worst of its counters.
    pub fn of(&self, range: RangeId, now: Moment) -> Freshness {
        self.of_some(range, now, |_| true)
    }

    /// The freshness of the counters in `range` that `of` chooses.
    fn of_some(&self, range: RangeId, now: Moment, of: impl Fn(&CounterName) -> bool) -> Freshness {
        match self.ranges.get(usize::from(range.0)) {
            Some(freshness) if self.is_known(now) => {
                let since = self.uncertainty.backfill_since(range, of);
                freshness.clone().with_backfill(since)
            }
            Some(_) | None => Freshness::unknown(),
        }
    }

    /// The worst freshness of these counters' ranges.
    pub fn of_all<'a>(
        &self,
        counters: impl IntoIterator<Item = &'a Counter>,
        now: Moment,
    ) -> Freshness {
        counters
            .into_iter()
            .map(|counter| {
                let range = self.bits.range_of(counter.token());
                self.of_some(range, now, |name| *name == counter.name)
            })
            .reduce(Freshness::worst)
            .unwrap_or_else(Freshness::unknown)
    }

    /// The number of ranges with each cause of uncertainty.
    pub fn causes(&self, now: Moment) -> BTreeMap<UncertaintyCause, usize> {
        let ranges: Vec<Freshness> = self
            .bits
            .ranges()
            .map(|range| self.of(range, now))
            .collect();
        let count = |cause| {
            ranges
                .iter()
                .filter(|range| range.causes.has(cause))
                .count()
        };
        UncertaintyCause::every()
            .map(|cause| (cause, count(cause)))
            .collect()
    }

    /// The worst freshness of all ranges, and the number of ranges in each state: none of what is purely in batch.
    pub fn summary(&self, now: Moment) -> (Freshness, BTreeMap<State, usize>) {
        let mut states = BTreeMap::new();
        if self.is_known(now) && self.ranges.is_empty() {
            return (Freshness::unknown(), states);
        }
        let whole = self
            .bits
            .ranges()
            .map(|range| self.of(range, now))
            .inspect(|freshness| *states.entry(freshness.state).or_default() += 1)
            .reduce(Freshness::worst);
        (whole.unwrap_or_else(Freshness::unknown), states)
    }
}

/// Recent ends of the log's partitions, by which it is known how long events have been waiting.
#[derive(Clone, Debug)]
pub struct History {
    lagging_after: Duration,
    samples: VecDeque<(Moment, BTreeMap<Partition, Bounds>)>,
}

impl History {
    pub const fn new(lagging_after: Duration) -> Self {
        Self {
            lagging_after,
            samples: VecDeque::new(),
        }
    }

    pub fn record(&mut self, now: Moment, bounds: BTreeMap<Partition, Bounds>) {
        // After a gap the sample before it says nothing of what has been waiting since.
        let longest = self.lagging_after.max(STALE_AFTER);
        if now.since(self.latest()) > longest {
            self.samples.clear();
        }
        self.samples.push_back((now, bounds));
        // One sample that is old enough is kept: everything in the log by then should be counted by now.
        let is_old = |sample: Option<&(Moment, _)>| {
            sample.is_some_and(|(then, _)| now.since(*then) >= self.lagging_after)
        };
        while is_old(self.samples.get(1)) {
            self.samples.pop_front();
        }
    }

    fn latest(&self) -> Moment {
        let latest = self.samples.back();
        latest.map_or(Moment::new(Duration::ZERO), |(moment, _)| *moment)
    }

    /// How many records a range may still have to count, and whether some have been waiting for too long. Until a
    /// sample is old enough, the first one counts as if it were.
    fn behind(&self, snapshot: &LightSnapshot, range: RangeId) -> (u64, bool) {
        let (Some((_, ends)), Some((_, old_ends))) = (self.samples.back(), self.samples.front())
        else {
            return (0, false);
        };
        let (mut behind, mut lagging) = (0_u64, false);
        for (partition, bounds) in ends {
            let checkpoint = snapshot.partitions.get(partition).and_then(Option::as_ref);
            let counted = checkpoint.map_or(bounds.begin, |checkpoint| checkpoint.of(range));
            let left = |end: Offset| u64::try_from(end.0.saturating_sub(counted.0)).unwrap_or(0);
            behind = behind.saturating_add(left(bounds.end));
            lagging |= old_ends.get(partition).is_some_and(|old| left(old.end) > 0);
        }
        (behind, lagging)
    }
}

#[cfg(test)]
mod tests;
