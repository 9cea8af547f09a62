//! A partition is added to the topic while a restoration runs.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_protocol::envelope;
use stitch_protocol::origin_node::Origin;
use stitch_protocol::path::Paths;
use stitch_testkit::samples::stored_checkpoint;

use super::*;

const ADDED: Partition = Partition(1);

/// A range with a wrong cell; the partition is added once the range is about to be locked.
fn adding() -> Fake {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    // Dirty, so that its lock is needed.
    fake.produce("a");
    fake.before("create /revocations/", |fake| {
        fake.log.borrow_mut().add_partition();
        fake.put(&Paths::new("n").partition(ADDED), b"");
    });
    fake
}

async fn until_added(fake: &Fake) {
    while fake.log.borrow().partitions().count() < 2 {
        fake.clock.sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_range_waits_without_its_lock_until_a_new_partition_is_taken_up() {
    let fake = adding();
    let script = async || {
        until_added(&fake).await;
        fake.clock.sleep(Duration::from_secs(40)).await;
        assert!(!fake.exists("__WRIT__"), "nothing is locked meanwhile");
        let checkpoint = stored_checkpoint(0, 0);
        fake.put(&Paths::new("n").checkpoint(ADDED), &checkpoint.encode());
    };
    let report = run_beside(&fake, script).unwrap();
    assert_eq!(report.outcome(), "verified", "{:?}", report.error());
    assert!(fake.clock.seconds() >= 40);
}

#[test]
fn a_new_partition_that_nobody_takes_up_leaves_the_range_unverified() {
    let fake = adding();
    let report = restored(&fake);
    fails_with(&report, "partition 1");
    assert!(
        (60..90).contains(&fake.clock.seconds()),
        "it was waited for"
    );
}

#[test]
fn a_checkpoint_that_is_lost_is_not_waited_for() {
    let fake = adding();
    let origin = Origin { offset: Offset(0) };
    fake.before("get /partitions/1/checkpoint", move |fake| {
        fake.put(&Paths::new("n").origin(ADDED), &envelope::seal(&origin));
    });
    let report = restored(&fake);
    fails_with(&report, "partition 1");
    assert!(fake.clock.seconds() < 30, "{}", fake.clock.seconds());
}
