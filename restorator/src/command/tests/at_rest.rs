//! Correction without the lock: cells at rest are corrected before the range is locked, however many are wrong.

use std::time::Duration;

use stitch_common::output::{Exit, Report};
use stitch_config::Config;

use super::{journal, last, next, restored};
use crate::testing::cassandra::Fate;
use crate::testing::world::Fake;

fn one_by_one(config: &mut Config) {
    config.restorator.requests_in_flight_max = 1;
}

/// A range of this many wrong cells, which are corrected one after the other.
fn wrong(cells: usize) -> (Fake, Vec<String>) {
    let keys: Vec<String> = (0..cells).map(|number| format!("{number}")).collect();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let fake = Fake::with(&names, "bits = 0", one_by_one);
    keys.iter().for_each(|key| fake.hold(key, 5));
    (fake, keys)
}

#[test]
fn cells_at_rest_are_corrected_and_read_again_before_the_range_is_locked() {
    let (fake, _) = wrong(1);
    let report = restored(&fake);
    assert_eq!((report.outcome(), fake.held("0")), ("verified", 1));
    let trace = fake.trace();
    let sent = next(&trace, "increment plays/0", 0);
    let read = next(&trace, "read plays/0", sent);
    let ceiling = next(&trace, "get /partitions/0/checkpoint", read);
    let lock = next(&trace, "__WRIT__", 0);
    assert!(ceiling < lock, "{trace:#?}");
    assert_eq!(last(&trace, "read plays/0", trace.len()), Some(read));
    assert_eq!(report.ranges[0].read, 0, "nothing under the lock");
}

#[test]
fn the_lock_is_held_no_longer_if_more_is_wrong() {
    let locked = |cells| {
        let (fake, keys) = wrong(cells);
        fake.increment_takes.set(Duration::from_millis(100));
        let report = restored(&fake);
        assert!(keys.iter().all(|key| fake.held(key) == 1));
        assert_eq!(report.cells.corrected, cells as u64);
        assert_eq!(fake.times("increment"), cells, "each once");
        report.ranges[0].locked_ms
    };
    assert_eq!(locked(3), locked(300));
}

/// Events of other cells go on, and those of a corrected cell, too: what is added commutes.
#[test]
fn an_event_that_is_counted_while_its_cell_is_corrected_stays_counted() {
    for applied_first in [true, false] {
        let (fake, _) = wrong(2);
        let count = |fake: &Fake| {
            fake.produce("0");
            fake.hold("0", fake.held("0") + 1);
        };
        if applied_first {
            fake.before("increment plays/0", count);
        } else {
            fake.before("read plays/0", count);
        }
        fake.before("create /ranges", |fake| fake.progress(3));
        let report = restored(&fake);
        assert_eq!(report.outcome(), "verified");
        assert_eq!((fake.held("0"), fake.held("1")), (2, 1));
        assert_eq!(report.cells.corrected, 2);
    }
}

#[test]
fn a_dirty_cell_is_left_to_the_lock() {
    let (fake, _) = wrong(2);
    fake.produce("0");
    let report = restored(&fake);
    assert_eq!(report.outcome(), "verified");
    let trace = fake.trace();
    let lock = next(&trace, "__WRIT__", 0);
    assert!(next(&trace, "increment plays/1", 0) < lock, "{trace:#?}");
    assert!(lock < next(&trace, "increment plays/0", 0), "{trace:#?}");
    assert_eq!((fake.held("0"), fake.held("1")), (1, 1));
}

/// There is a marker before anything else happens, and its cell is read again after a barrier.
#[test]
fn a_correction_in_doubt_without_the_lock_is_marked_waited_out_and_not_sent_twice() {
    for (fate, outcome) in [
        (Fate::UnknownApplied, "applied"),
        (Fate::UnknownLost, "not_applied"),
    ] {
        let (fake, _) = wrong(1);
        fake.fates.borrow_mut().push_back(fate);
        let report = restored(&fake);
        assert_eq!((report.outcome(), fake.held("0")), ("verified", 1));
        let trace = fake.trace();
        let sent = next(&trace, "increment", 0);
        let marked = next(&trace, "create /ranges/0/in-doubt-", sent);
        let deleted = next(&trace, "multi /ranges/0/in-doubt-", marked);
        let read = next(&trace, "read plays/0", sent);
        assert!(deleted < read, "{trace:#?}");
        let probes = trace[marked..deleted]
            .iter()
            .filter(|line| *line == "probe");
        assert!(probes.count() > 10, "{trace:#?}");
        let outcomes = journal::outcomes(&fake);
        assert!(outcomes.iter().any(|(o, _)| o == outcome), "{outcomes:?}");
    }
}

#[test]
fn a_correction_in_doubt_without_the_lock_stays_marked_if_there_is_no_quiescence() {
    let (fake, _) = wrong(1);
    fake.fates.borrow_mut().push_back(Fate::UnknownLost);
    fake.before("increment", |fake| fake.silent.set(true));
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Failed);
    assert!(fake.exists("/ranges/0/in-doubt-0000000000000001-"));
    assert!(!fake.exists("/members/"), "the marker is enough");
    assert_eq!(fake.times("__WRIT__"), 0);
}

/// A store that stalls: what was begun is awaited, and nothing more is begun.
#[test]
fn nothing_is_begun_after_an_unknown_outcome() {
    for dirty in [false, true] {
        let (fake, keys) = wrong(100);
        if dirty {
            keys.iter().for_each(|key| fake.produce(key));
        }
        fake.increment_takes.set(Duration::from_secs(3));
        fake.fates.borrow_mut().push_back(Fate::UnknownLost);
        fake.before("increment", |fake| fake.silent.set(true));
        let report = restored(&fake);
        assert_eq!((report.exit(), fake.times("increment")), (Exit::Failed, 1));
        let outcomes = journal::outcomes(&fake);
        let not_sent = outcomes.iter().filter(|(outcome, _)| outcome == "not_sent");
        assert_eq!(not_sent.count(), 99);
    }
}

#[test]
fn nothing_is_begun_under_the_lock_after_its_bound() {
    let (fake, keys) = wrong(100);
    keys.iter().for_each(|key| fake.produce(key));
    fake.increment_takes.set(Duration::from_secs(3));
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Failed);
    assert!(report.error().unwrap().message.contains("took longer"));
    // The bound is 20 s.
    assert_eq!(fake.times("increment"), 7);
    assert!(report.cells.corrected >= 6, "what was begun was awaited");
    assert!(report.ranges[0].locked_ms < Some(25_000));
    assert!(!fake.exists("__WRIT__"));
}
