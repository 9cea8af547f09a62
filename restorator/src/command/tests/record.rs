//! The record of a restoration, which no count depends on.

use std::time::Duration;

use stitch_common::output::Report;

use super::restored;
use crate::testing::cassandra::Fate;
use crate::testing::world::Fake;

#[test]
fn no_range_stays_locked_while_zookeeper_takes_the_record() {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let fake = Fake::with(&keys, "bits = 2", |_| {});
    for key in keys {
        fake.hold(key, 5);
        // Not at rest, so that it is corrected under the lock.
        fake.produce(key);
    }
    fake.increment_takes.set(Duration::from_secs(2));
    // One range is at it for longer than the others.
    fake.fates.borrow_mut().push_back(Fate::NotApplied);
    fake.before("increment", |fake| {
        fake.slow_down("/restorations/2", Duration::from_secs(9))
    });
    let report = restored(&fake);
    assert_eq!(report.outcome(), "verified");
    let locks = report.ranges.iter().filter_map(|range| range.locked_ms);
    let longest = locks.max().unwrap();
    assert!((2000..8000).contains(&longest), "{longest} ms");
    let ends = fake.trace();
    let last = ends
        .iter()
        .rfind(|line| line.starts_with("set /restorations/2"));
    assert!(last.is_some(), "the record is written in the end");
}
