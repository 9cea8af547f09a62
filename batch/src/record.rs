//! The record of `/batch`.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use stitch_common::cell::CounterName;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{TableIdentity, WriteTime};
use stitch_protocol::envelope::Payload;

use crate::rule;

/// What is known of the table of batch counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRecord {
    /// The table.
    pub table: TableIdentity,
    /// Its keyspace, for people.
    pub keyspace: String,
    /// The generation that readers may rely on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Generation>,
    /// The load that was begun last, until it is published. The table may have some of its cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loading: Option<LoadRecord>,
    /// Where counting begins, by partition, in what was published last: all of history, as readers know it. It stays when that
    /// is withdrawn, and when the table is another one.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub counted_from: Offsets,
}

impl Payload for BatchRecord {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "run the version of the program that wrote it; if it is damaged, delete that node and run \
         `stitch-batch load` with the totals that `stitch-totals list` shows last";
}

/// Batch counts that are whole: every cell of some totals, read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// The id of the totals.
    pub totals: String,
    /// Every event below it is counted, and no other.
    pub cut: Offsets,
    /// Every event that was in the log at this time is below the cut.
    pub as_of: DateTime<Utc>,
    /// The time of the writes that loaded it.
    pub written: WriteTime,
    /// The number of its cells.
    pub rows: u64,
    /// The digest of the totals.
    pub digest: String,
    /// The counters that it counts from the beginning.
    pub counters: Vec<CounterName>,
    /// The counters that it counts from a later offset on: added when earlier records could not be read any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<CounterName>,
    /// When it was published.
    pub published_at: DateTime<Utc>,
}

/// The counters of some totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountedCounters {
    /// Those that are counted from the beginning.
    pub whole: Vec<CounterName>,
    /// Those that are counted from a later offset on.
    pub later: Vec<CounterName>,
}

/// A load that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRecord {
    /// The id of the totals.
    pub totals: String,
    /// The time of its writes.
    pub written: WriteTime,
    /// The totals that the table held when it began, so that only what differs from them is written; `None`: what it
    /// holds is read from the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Other totals whose loads were begun since something was published, and did not end. What they sent may arrive late: in
    /// cells that are different in these totals it must lose, so this load writes them, whatever the table shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interrupted: Vec<String>,
}

impl BatchRecord {
    /// Nothing is known of this table yet.
    #[must_use]
    pub const fn new(table: TableIdentity, keyspace: String) -> Self {
        Self {
            table,
            keyspace,
            published: None,
            loading: None,
            counted_from: Offsets(BTreeMap::new()),
        }
    }

    /// The first partition of which totals that count from `from` on lack the beginning of what was published, and where that
    /// begins. One that was not counted before has none.
    #[must_use]
    pub fn lost_beginning(&self, from: &Offsets) -> Option<(Partition, Offset)> {
        let mut begins = self.counted_from.0.iter();
        let lost = begins.find(|(partition, begin)| from.of(**partition) > **begin);
        lost.map(|(partition, begin)| (*partition, *begin))
    }

    /// The ids of all totals that a load or a reader still needs: while they are there, loads write only what differs.
    pub fn needed_totals(&self) -> impl Iterator<Item = &str> {
        let published = self.published.iter().map(|published| &published.totals);
        let loading = self.loading.iter().flat_map(|loading| {
            let others = loading.base.iter().chain(&loading.interrupted);
            others.chain([&loading.totals])
        });
        published.chain(loading).map(String::as_str)
    }

    /// Withdraws what is published, if these totals lack an event of it: they are up to a lower cut, or lack one of its
    /// counters. While they are loaded, cells get older than it says.
    pub fn withdraw_unless_counted(&mut self, cut: &Offsets, counters: &CountedCounters) {
        let counts_more = |published: &mut Generation| {
            let mut ends = published.cut.0.iter();
            let mut whole = published.counters.iter();
            let mut later = published.later.iter();
            ends.any(|(partition, end)| cut.of(*partition) < *end)
                || whole.any(|counter| !counters.whole.contains(counter))
                || later.any(|counter| {
                    !counters.whole.contains(counter) && !counters.later.contains(counter)
                })
        };
        if rule::what_is_newer_is_withdrawn() {
            self.published.take_if(counts_more);
        }
    }

    /// The load of these totals that begins now. One that was begun and not published goes on as it began; any other has a
    /// time of its own, later than that of every earlier load, whatever the clocks say. It begins with what is published,
    /// unless the table may hold something else: cells of another load, or, if `against_table` says so, anything.
    #[must_use]
    pub fn next_load(&self, totals: &str, now: DateTime<Utc>, against_table: bool) -> LoadRecord {
        if let Some(loading) = &self.loading
            && loading.totals == totals
            && !against_table
        {
            return loading.clone();
        }
        let published = self.published.as_ref();
        let loading = self.loading.as_ref().map(|loading| loading.written);
        let last = published.map(|published| published.written).max(loading);
        let last = last.filter(|_| rule::loads_are_later_than_those_before());
        let after_last = last.unwrap_or_default().0.saturating_add(1);
        let is_known = loading.is_none() && !against_table;
        let begun = |loading: &LoadRecord| {
            let before = loading.interrupted.iter().chain([&loading.totals]);
            let others = before.filter(|begun| **begun != totals);
            others.cloned().collect()
        };
        LoadRecord {
            totals: totals.to_owned(),
            written: WriteTime(now.timestamp_micros().max(after_last)),
            base: published
                .filter(|_| is_known)
                .map(|published| published.totals.clone()),
            interrupted: self.loading.as_ref().map_or_else(Vec::new, begun),
        }
    }
}

fn is_empty(offsets: &Offsets) -> bool {
    offsets.0.is_empty()
}

impl Generation {
    /// Whether it counts all of `counter`.
    #[must_use]
    pub fn has(&self, counter: &CounterName) -> bool {
        self.counters.contains(counter)
    }

    /// The moment, in milliseconds since 1970, up to which buckets are closed if `closed_after` is allowed for late events:
    /// one that ends there or earlier is served from it.
    #[must_use]
    pub fn closed_until_ms(&self, closed_after: Duration) -> i64 {
        let allowance = i64::try_from(closed_after.as_millis()).unwrap_or(i64::MAX);
        self.as_of.timestamp_millis().saturating_sub(allowance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> BatchRecord {
        let table = TableIdentity {
            cluster: "cassandra".to_owned(),
            table: Default::default(),
        };
        BatchRecord::new(table, "stitch".to_owned())
    }

    fn generation(written: i64) -> Generation {
        Generation {
            totals: "a".to_owned(),
            cut: Offsets::default(),
            as_of: at(10),
            written: WriteTime(written),
            rows: 0,
            digest: String::new(),
            counters: vec![CounterName("plays".into())],
            later: Vec::new(),
            published_at: at(11),
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn loading(totals: &str, written: i64, base: Option<&str>) -> LoadRecord {
        LoadRecord {
            totals: totals.to_owned(),
            written: WriteTime(written),
            base: base.map(str::to_owned),
            interrupted: Vec::new(),
        }
    }

    #[test]
    fn a_load_is_written_later_than_every_earlier_one_whatever_the_clock_says() {
        let mut record = record();
        let written = |record: &BatchRecord, totals, seconds| {
            record.next_load(totals, at(seconds), false).written
        };
        assert_eq!(written(&record, "a", 5), WriteTime(5_000_000));
        record.published = Some(generation(7_000_000));
        assert_eq!(written(&record, "b", 5), WriteTime(7_000_001));
        record.loading = Some(loading("b", 9_000_000, Some("a")));
        assert_eq!(written(&record, "c", 5), WriteTime(9_000_001));
        assert_eq!(written(&record, "c", 20), WriteTime(20_000_000));
    }

    #[test]
    fn a_load_begins_with_what_is_published_unless_the_table_may_hold_something_else() {
        let mut record = record();
        assert_eq!(record.next_load("b", at(5), false).base, None);
        record.published = Some(generation(7));
        let base = record.next_load("b", at(5), false).base;
        assert_eq!(base.as_deref(), Some("a"));
        assert_eq!(record.next_load("b", at(5), true).base, None);
        record.loading = Some(loading("c", 9, Some("a")));
        assert_eq!(record.next_load("b", at(5), false).base, None);
    }

    #[test]
    fn a_load_that_was_not_published_goes_on_as_it_was() {
        let mut record = record();
        record.published = Some(generation(7));
        // It began after a load of other totals, which may have left cells.
        record.loading = Some(loading("b", 9, None));
        assert_eq!(record.next_load("b", at(5), false), loading("b", 9, None));
        let again = record.next_load("b", at(5), true);
        assert_eq!(again, loading("b", 5_000_000, None), "it has to win");
    }

    #[test]
    fn all_totals_that_a_reader_or_a_load_may_need_are_named() {
        let mut record = record();
        assert_eq!(record.needed_totals().count(), 0);
        record.published = Some(generation(7));
        record.loading = Some(LoadRecord {
            interrupted: vec!["c".to_owned(), "d".to_owned()],
            ..loading("e", 9, Some("b"))
        });
        let mut needed: Vec<_> = record.needed_totals().collect();
        needed.sort_unstable();
        assert_eq!(needed, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_load_knows_the_other_loads_that_did_not_end() {
        let mut record = record();
        record.published = Some(generation(7));
        let mut next = |totals: &str, against_table| {
            let load = record.next_load(totals, at(5), against_table);
            record.loading = Some(load.clone());
            load.interrupted
        };
        let none: [&str; 0] = [];
        assert_eq!(next("b", false), none);
        assert_eq!(next("c", false), ["b"]);
        assert_eq!(next("d", false), ["b", "c"]);
        assert_eq!(next("d", false), ["b", "c"], "it goes on");
        assert_eq!(next("d", true), ["b", "c"]);
        assert_eq!(next("b", false), ["c", "d"], "what b sent may arrive");
    }

    #[test]
    fn totals_that_begin_later_than_what_was_published_lack_its_beginning() {
        let mut record = record();
        let from = |begins: &[(i32, i64)]| {
            let begins = begins.iter();
            let begins = begins.map(|(partition, begin)| (Partition(*partition), Offset(*begin)));
            Offsets(begins.collect())
        };
        assert_eq!(
            record.lost_beginning(&from(&[(0, 9)])),
            None,
            "a first load"
        );
        record.counted_from = from(&[(0, 0), (1, 5)]);
        assert_eq!(
            record.lost_beginning(&from(&[(0, 0), (1, 5), (2, 7)])),
            None
        );
        assert_eq!(record.lost_beginning(&from(&[(0, 0), (1, 4)])), None);
        let lost = record.lost_beginning(&from(&[(0, 0), (1, 6)]));
        assert_eq!(lost, Some((Partition(1), Offset(5))));
    }

    #[test]
    fn totals_that_lack_events_or_counters_of_what_is_published_withdraw_it() {
        let names = |names: &[&str]| -> Vec<CounterName> {
            names
                .iter()
                .map(|name| CounterName((*name).into()))
                .collect()
        };
        let cut = |end| Offsets([(Partition(0), Offset(end))].into());
        let is_kept = |end, whole: &[&str], later: &[&str]| {
            let mut record = record();
            record.published = Some(Generation {
                cut: cut(7),
                counters: names(&["plays", "likes"]),
                later: names(&["skips"]),
                ..generation(1)
            });
            let (whole, later) = (names(whole), names(later));
            record.withdraw_unless_counted(&cut(end), &CountedCounters { whole, later });
            record.published.is_some()
        };
        assert!(is_kept(7, &["plays", "likes"], &["skips"]));
        assert!(is_kept(8, &["plays", "likes", "skips", "shares"], &[]));
        assert!(!is_kept(6, &["plays", "likes"], &["skips"]), "a lower cut");
        assert!(!is_kept(7, &["plays"], &["skips"]), "it lacks a counter");
        assert!(
            !is_kept(7, &["plays"], &["likes", "skips"]),
            "it has less of it"
        );
        assert!(!is_kept(7, &["plays", "likes"], &[]), "it lacks a late one");
    }

    #[test]
    fn buckets_are_closed_by_as_of_less_the_allowance() {
        let generation = generation(1);
        assert_eq!(generation.closed_until_ms(Duration::from_secs(4)), 6000);
        assert!(generation.has(&CounterName("plays".into())));
        assert!(!generation.has(&CounterName("skips".into())));
    }
}
