//! `sums`: buckets that their parts do not add up to are found, and their ranges doubted.

use stitch_common::cell::{Cell, Count, Counter, Granularity};
use stitch_testkit::samples::slot_at;

use super::*;

const DOUBT: &str = "/doubts/0-sums-differ";

/// A namespace in which each key was played once, in the first hour of 1970, and is counted by hour and in total.
fn by_hour(keys: &[&str]) -> Fake {
    let fake = Fake::with(keys, "bits = 0", |config| {
        let counter = &mut config.definitions.counters[0];
        counter.granularities = vec![Granularity::All, Granularity::Hour];
    });
    for key in keys {
        hold_hour(&fake, key, 1);
    }
    fake
}

fn hold_hour(fake: &Fake, key: &str, count: i64) {
    let cell = Cell {
        counter: Counter::new("plays", key),
        slot: slot_at(Granularity::Hour, 0),
    };
    fake.table.borrow_mut().set(&cell, Count(count));
}

#[test]
fn sums_that_agree_leave_no_doubt() {
    let fake = by_hour(&["a", "b"]);
    let report = fake.sums(false).unwrap();
    assert_eq!(
        (report.outcome(), report.exit()),
        ("sums_agree", Exit::Success)
    );
    assert_eq!((report.counters, report.cells), (2, 4));
    assert_eq!(fake.times("read plays/"), 0, "one scan is enough");
    assert!(!fake.exists("/doubts/"));
}

#[test]
fn a_broken_sum_is_found_without_locks_and_doubted_until_its_range_is_verified() {
    let fake = by_hour(&["a", "b"]);
    hold_hour(&fake, "b", 5);
    let report = fake.sums(false).unwrap();
    assert_eq!(
        (report.outcome(), report.exit()),
        ("sums_differ", Exit::DriftFound)
    );
    assert_eq!((report.broken, report.named.len()), (1, 1));
    assert!(fake.exists(DOUBT), "readers hear of it");
    assert_eq!(fake.times("increment"), 0, "nothing is changed");
    assert_eq!(fake.times("read plays/"), 0, "no counter is read whole");
    assert_eq!(fake.times("create /revocations/"), 0, "no lock is taken");
    assert_eq!(fake.sums(true).unwrap().broken, 1, "the range is doubtful");
    assert_eq!(restored(&fake).outcome(), "verified");
    assert!(!fake.exists(DOUBT));
    assert_eq!(fake.sums(true).unwrap().outcome(), "nothing_doubtful");
    assert_eq!(fake.sums(false).unwrap().outcome(), "sums_agree");
}

#[test]
fn an_increment_that_the_scan_has_seen_in_part_is_no_broken_sum() {
    let fake = by_hour(&["a"]);
    fake.hold("a", 2);
    fake.before("scan of a token", |fake| hold_hour(fake, "a", 2));
    assert_eq!(fake.sums(false).unwrap().outcome(), "sums_agree");
    assert!(!fake.exists("/doubts/"));
}

#[test]
fn a_sum_that_differs_otherwise_in_each_read_is_not_judged() {
    let fake = by_hour(&["a"]);
    fake.hold("a", 100);
    for count in 2..10 {
        fake.before("scan of a token", move |fake| {
            hold_hour(fake, "a", count);
        });
    }
    let report = fake.sums(false).unwrap();
    assert_eq!(
        (report.outcome(), report.exit()),
        ("unjudged", Exit::Failed)
    );
    assert_eq!(report.unjudged, 1);
    assert!(!fake.exists("/doubts/"), "nothing is known to be wrong");
}

#[test]
fn counters_without_sums_or_definition_are_named() {
    let fake = Fake::with_plays(&["a"]);
    let cell = Cell {
        counter: Counter::new("skips", "a"),
        slot: slot_at(Granularity::All, 0),
    };
    fake.table.borrow_mut().set(&cell, Count(3));
    let report = fake.sums(false).unwrap();
    assert_eq!((report.outcome(), report.counters), ("sums_agree", 0));
    let names: Vec<_> = report
        .unchecked_counters
        .iter()
        .map(|name| &*name.0)
        .collect();
    assert_eq!(names, ["plays"]);
    let unnamed: Vec<_> = report.unnamed_counters.into_values().collect();
    assert_eq!(unnamed, [1]);
}
