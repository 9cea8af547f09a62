//! Kafka delivers nothing, and repeats its errors: a wait ends when the partition that it waits for makes no progress.

use stitch_common::output::{Exit, Report};

use super::restored;
use crate::options::Limits;
use crate::testing::world::Fake;

fn stall(fake: &Fake) {
    fake.feed_stalls.set(true);
}

fn ends_stalled(fake: &Fake, message: &str) {
    assert!(message.contains("partition 0"), "{message}");
    let seconds = fake.clock.seconds();
    assert!((50..120).contains(&seconds), "{seconds} s");
    assert!(!fake.exists("/restorations/_c_") && !fake.exists("__WRIT__"));
    assert!(!fake.exists("/members/"), "and the member has left");
}

#[test]
fn reading_the_log_ends_when_nothing_is_delivered() {
    let fake = Fake::with_plays(&["a"]);
    stall(&fake);
    ends_stalled(&fake, &fake.plan(None).unwrap_err().message);
    let fake = Fake::with_plays(&["a"]);
    stall(&fake);
    ends_stalled(&fake, &fake.run(Limits::default()).unwrap_err().message);
}

#[test]
fn following_the_log_ends_when_nothing_is_delivered() {
    let stalled_after_the_scan = |fake: &Fake| {
        fake.before("scan", |fake| {
            stall(fake);
            fake.produce("a");
        });
    };
    let fake = Fake::with_plays(&["a"]);
    stalled_after_the_scan(&fake);
    ends_stalled(&fake, &fake.plan(None).unwrap_err().message);
    let fake = Fake::with_plays(&["a"]);
    stalled_after_the_scan(&fake);
    ends_stalled(&fake, &fake.run(Limits::default()).unwrap_err().message);
}

/// Right before its lock, a range that cannot converge stays unverified.
#[test]
fn a_range_whose_log_is_not_delivered_is_not_locked() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.before("get /definition", |fake| {
        fake.before("get /definition", |fake| {
            stall(fake);
            fake.produce("a");
        });
    });
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Failed);
    ends_stalled(&fake, &report.error().unwrap().message);
    assert_eq!(fake.times("__WRIT__"), 0);
}

/// The checkpoints are ahead of what Kafka delivers here: nothing else bounds the wait for them.
#[test]
fn moving_a_cut_ends_when_nothing_is_delivered() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("get /partitions/0/checkpoint", |fake| {
        fake.before("get /partitions/0/checkpoint", |fake| {
            stall(fake);
            fake.produce("a");
            fake.progress(2);
        });
    });
    let message = fake.plan(None).unwrap_err().message;
    assert!(
        message.contains("delivered nothing of partition 0"),
        "{message}"
    );
    ends_stalled(&fake, &message);
}

/// Everything of the restorator's host is cut off: Kafka delivers nothing, and the session with ZooKeeper ends. The audit is
/// dropped while it waits for the log, and its ranges are not forgotten.
fn cut_off_while_ranges_are_judged() -> Fake {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.hold("a", 5);
    // At the base cut, where counting begins, and when the cut has moved; then for the ranges that are judged.
    fake.before("get /partitions/0/checkpoint", |fake| {
        fake.before("get /partitions/0/checkpoint", |fake| {
            fake.before("get /partitions/0/checkpoint", |fake| {
                fake.before("get /partitions/0/checkpoint", |fake| {
                    stall(fake);
                    fake.produce("a");
                    fake.progress(3);
                    fake.before("set /alive", |fake| {
                        fake.lose_sessions();
                        fake.before("connect", |fake| fake.feed_stalls.set(false));
                    });
                });
            });
        });
    });
    fake
}

#[test]
fn an_audit_that_kafka_and_zookeeper_let_down_at_once_leaves_no_range_out() {
    let fake = cut_off_while_ranges_are_judged();
    let report = fake.plan(None).unwrap();
    assert!(fake.clock.seconds() >= 60, "it was dropped");
    assert_eq!(fake.times("connect"), 2);
    assert_eq!((report.cells.judged, report.cells.wrong), (2, 1));
    assert_eq!(report.exit(), Exit::DriftFound);
    let fake = cut_off_while_ranges_are_judged();
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Success, "{:?}", report.error());
    assert_eq!(fake.held("a"), 2);
}
