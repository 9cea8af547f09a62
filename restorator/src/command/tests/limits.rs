//! `--max-cells` and `--max-change`: all ranges together correct no more than the operator expects.

use std::time::Duration;

use stitch_common::cell::Counter;
use stitch_common::clock::Clock;
use stitch_common::output::{Exit, Report};
use stitch_common::range::{RangeBits, RangeId};

use super::{journal, run_options_beside};
use crate::options::Limits;
use crate::testing::cassandra::Fate;
use crate::testing::world::Fake;

const fn cells(max: u64) -> Limits {
    Limits {
        max_cells: Some(max),
        max_change: None,
    }
}

const fn change(max: u64) -> Limits {
    Limits {
        max_cells: None,
        max_change: Some(max),
    }
}

#[test]
fn corrections_beyond_a_limit_are_refused_before_any_lock() {
    for (limits, named) in [(cells(1), "--max-cells"), (change(7), "--max-change")] {
        let fake = Fake::with_plays(&["a", "b"]);
        fake.hold("a", 5);
        fake.hold("b", 5);
        let report = fake.run(limits).unwrap();
        assert_eq!(
            (report.exit(), report.outcome()),
            (Exit::DriftFound, "drift_remains")
        );
        assert!(report.error().unwrap().message.contains(named));
        assert_eq!((fake.times("__WRIT__"), fake.times("increment")), (0, 0));
    }
}

#[test]
fn corrections_at_a_limit_are_made() {
    for limits in [cells(2), change(8)] {
        let fake = Fake::with_plays(&["a", "b"]);
        fake.hold("a", 5);
        fake.hold("b", 5);
        assert_eq!(fake.run(limits).unwrap().outcome(), "verified");
    }
}

#[test]
fn corrections_beyond_a_limit_are_refused_under_the_lock_too() {
    for limits in [cells(1), change(11)] {
        let fake = Fake::with_plays(&["a", "b"]);
        fake.hold("a", 5);
        fake.before("create /revocations/", |fake| {
            fake.produce("b");
            fake.hold("b", 9);
        });
        let report = fake.run(limits).unwrap();
        assert_eq!(
            (report.exit(), fake.times("increment")),
            (Exit::DriftFound, 1),
            "the one at rest, before"
        );
        assert!(!fake.exists("__WRIT__"));
    }
}

/// What one range has spent is not left for another.
#[test]
fn ranges_share_the_limits() {
    let keys: Vec<String> = (0..40).map(|key| format!("track-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let fake = Fake::with(&keys, "bits = 1", |_| {});
    fake.before("create /revocations/", {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        move |fake| {
            for key in &keys {
                fake.produce(key);
                fake.hold(key, 9);
            }
        }
    });
    let report = fake.run(cells(39)).unwrap();
    assert_eq!(report.exit(), Exit::DriftFound);
    let ends: Vec<u64> = report.ranges.iter().map(|range| range.corrected).collect();
    let corrected: u64 = ends.iter().sum();
    assert!(
        corrected > 0 && ends.contains(&0),
        "one of the two: {ends:?}"
    );
}

/// A correction of unknown outcome may be computed a second time; the cell counts as one.
#[test]
fn a_cell_that_is_corrected_twice_counts_once() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates.borrow_mut().push_back(Fate::UnknownLost);
    let report = fake.run(cells(1)).unwrap();
    assert_eq!((report.outcome(), fake.times("increment")), ("verified", 2));
}

/// The first of eight keys that are in this half of the tokens.
fn four_of(range: u16) -> Vec<String> {
    let bits = RangeBits::new(1).unwrap();
    let keys = (0..).map(|number| format!("{number}"));
    let of_range = keys.filter(|key| {
        let counter = Counter::new("plays", key.as_str());
        bits.range_of(counter.token()) == RangeId(range)
    });
    of_range.take(4).collect()
}

/// What Cassandra refused was not corrected, and leaves the limits to others.
#[test]
fn corrections_that_were_not_applied_are_not_charged_to_the_limits() {
    let (first, second) = (four_of(0), four_of(1));
    let keys: Vec<&str> = first.iter().chain(&second).map(String::as_str).collect();
    let fake = Fake::with(&keys, "bits = 1", |config| {
        config.restorator.ranges_in_flight_max = 1;
    });
    keys.iter().for_each(|key| fake.hold(key, 5));
    // Once one is refused, the others of its range are not begun.
    fake.fates.borrow_mut().push_back(Fate::Refused);
    // Those of the other range are corrected by as much as was planned, and by the rest under the lock.
    fake.before("increment", move |fake| {
        second.iter().for_each(|key| fake.hold(key, 10));
    });
    let report = fake.run(change(4 * (4 + 5))).unwrap();
    assert_eq!(report.cells.corrected, 4, "{:?}", report.error());
}

/// A correction of unknown outcome that turns out to be lost costs nothing.
#[test]
fn a_correction_that_was_lost_is_not_charged_to_the_limits() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates.borrow_mut().push_back(Fate::UnknownLost);
    let report = fake.run(change(4)).unwrap();
    assert_eq!((report.outcome(), fake.times("increment")), ("verified", 2));
}

/// A cell counts once, however often it is corrected.
#[test]
fn a_cell_that_is_corrected_without_and_under_the_lock_counts_once() {
    let fake = Fake::with_plays(&["a", "b", "c"]);
    ["a", "b", "c"].iter().for_each(|key| fake.hold(key, 5));
    // All are corrected, and one of them is wrong again.
    fake.before("create /ranges/0/_c_", |fake| {
        fake.produce("a");
        fake.progress(4);
    });
    let report = fake.run(cells(3)).unwrap();
    assert_eq!((report.outcome(), fake.times("increment")), ("verified", 4));
    assert_eq!(report.cells.corrected, 3);
}

/// What was sent before is waited out, and read: it is charged, and said to be, what it turned out to be.
#[test]
fn a_correction_that_is_sent_again_because_its_range_begins_again_counts_once() {
    let lost = ["not_applied", "applied"].as_slice();
    for (limits, fate, expected) in [
        (cells(1), Fate::UnknownLost, lost),
        (change(4), Fate::UnknownLost, lost),
        (cells(1), Fate::UnknownApplied, &["applied"]),
    ] {
        let fake = Fake::with_plays(&["a"]);
        fake.hold("a", 5);
        fake.fates.borrow_mut().push_back(fate);
        fake.before("create /ranges/0/in-doubt-", Fake::cut_off);
        let script = async || {
            fake.clock.sleep(Duration::from_secs(60)).await;
            fake.connect_again();
        };
        let report = run_options_beside(&fake, &fake.run_now(limits), script).unwrap();
        assert_eq!(report.outcome(), "verified", "{:?}", report.error());
        assert_eq!((fake.held("a"), report.cells.corrected), (1, 1));
        let outcomes = journal::outcomes(&fake);
        let outcomes: Vec<&str> = outcomes
            .iter()
            .map(|(outcome, _)| outcome.as_str())
            .collect();
        assert_eq!(outcomes, expected);
    }
}
