//! Where much is wrong, it is corrected under several locks, and the range is proved under the last.

use std::time::Duration;

use stitch_common::config::Config;
use stitch_common::output::{Exit, Report};

use super::restored;
use crate::testing::world::Fake;

/// The last of them is right.
const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "right"];

/// One range with seven wrong cells, of which two are corrected under one lock.
fn much_is_wrong() -> Fake {
    let two = |config: &mut Config| config.restorator.cells_per_lock_max = 2;
    let fake = Fake::with(&KEYS, "bits = 0", two);
    KEYS[..7].iter().for_each(|key| fake.hold(key, 5));
    fake
}

#[test]
fn much_is_made_right_under_several_locks_and_proved_under_the_last() {
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

/// Rule R4: what the cut has passed under a lock of others is judged before the range is proved.
#[test]
fn a_cell_whose_event_was_lost_between_two_locks_is_made_right_too() {
    for (when, key) in [
        ("create /ranges", "right"),
        ("create /ranges", "g"),
        ("delete /ranges", "a"),
    ] {
        let fake = much_is_wrong();
        // An event that a processor answers without counting it: its increment was given up.
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

/// How often the range of 250 wrong cells is locked, at a store that takes so long for each.
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
fn the_slower_the_store_the_less_is_corrected_under_one_lock() {
    // 100 cells, and the other 150 at once: nothing was held up.
    assert_eq!(locks_at(Duration::ZERO), 2);
    // 100 cells are ten seconds: 50, 25, and then as few as there may be.
    assert_eq!(locks_at(Duration::from_millis(100)), 7);
}
