//! Where much is wrong, it is corrected under several locks, and the range is verified under the last.

use std::time::Duration;

use stitch_common::config::Config;
use stitch_common::output::{Exit, Report};

use super::restored;
use crate::testing::world::Fake;

/// The last of them is right.
const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "right"];

/// One range with seven wrong cells, two of which are corrected under one lock.
fn much_is_wrong() -> Fake {
    let two = |config: &mut Config| config.restorator.cells_per_lock_max = 2;
    let fake = Fake::with(&KEYS, "bits = 0", two);
    KEYS[..7].iter().for_each(|key| fake.hold(key, 5));
    fake
}

#[test]
fn many_wrong_cells_are_corrected_under_several_locks_and_verified_under_the_last() {
    let fake = much_is_wrong();
    let report = restored(&fake);
    assert_eq!(
        (report.outcome(), report.exit()),
        ("verified", Exit::Success)
    );
    assert_eq!((report.cells.corrected, report.cells.wrong), (7, 7));
    assert_eq!(report.ranges[0].locks, 4);
    assert!(report.ranges[0].longest_lock_ms <= report.ranges[0].locked_ms);
    assert!(KEYS.iter().all(|key| fake.held(key) == 1));
    assert_eq!(fake.times("increment"), 7, "each once");
}

/// R4: cells that the cut has passed under the lock of a chunk without them are judged before the range is verified.
#[test]
fn a_cell_whose_event_was_lost_between_two_locks_is_corrected_too() {
    for (when, key) in [
        ("create /ranges", "right"),
        ("create /ranges", "g"),
        ("delete /ranges", "a"),
    ] {
        let fake = much_is_wrong();
        // An event that a processor acknowledges without counting it: its increment was given up.
        let lost = |fake: &Fake| {
            fake.produce(key);
            fake.progress(9);
        };
        fake.before(when, lost);
        let report = restored(&fake);
        assert_eq!(report.outcome(), "verified", "{when} {key}");
        assert_eq!(fake.held(key), 2, "{when} {key}");
    }
}

/// How often a range of 250 wrong cells is locked if the store takes this long for each.
fn locks_at(increment_takes: Duration) -> u64 {
    let keys: Vec<String> = (0..250).map(|number| format!("{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let one_by_one = |config: &mut Config| {
        config.restorator.requests_in_flight_max = 1;
        config.restorator.lock_target = Duration::from_millis(500);
    };
    let fake = Fake::with(&keys, "bits = 0", one_by_one);
    keys.iter().for_each(|key| fake.hold(key, 5));
    fake.increment_takes.set(increment_takes);
    let report = restored(&fake);
    assert_eq!(
        (report.outcome(), report.cells.corrected),
        ("verified", 250)
    );
    report.ranges[0].locks
}

#[test]
fn a_slower_store_means_fewer_corrections_under_one_lock() {
    // 100 cells, and the other 150 at once: no lock took any time.
    assert_eq!(locks_at(Duration::ZERO), 2);
    // 100 cells take ten seconds: then 50, 25, and after that the least.
    assert_eq!(locks_at(Duration::from_millis(100)), 7);
}
