//! What was not judged is never reported as right.

use stitch_common::cell::CounterName;
use stitch_common::output::{Exit, Report};

use crate::testing::world::Fake;

/// No processor counts: its cells have events above the checkpoints, however often the audit converges.
#[test]
fn a_plan_that_judged_only_a_part_of_the_cells_does_not_end_with_0() {
    let keys: Vec<String> = (0..50).map(|number| format!("{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let fake = Fake::with(&keys, "bits = 0", |_| {});
    for key in &keys[..20] {
        fake.produce(key);
        fake.hold(key, 7);
    }
    let report = fake.plan(None).unwrap();
    assert_eq!(
        (
            report.cells.wrong,
            report.cells.judged,
            report.cells.unjudged
        ),
        (0, 30, 20)
    );
    assert_eq!(
        (report.outcome(), report.exit()),
        ("unjudged", Exit::Failed)
    );
    // Totals are those of the judged cells: 30 of one play each.
    let plays = report.totals[&CounterName("plays".into())];
    assert_eq!((plays.expected, plays.before), (30, 30));
}

/// A few dirty cells are judged, too: they only need a later cut.
#[test]
fn a_plan_judges_cells_that_became_dirty_while_it_read() {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.hold("b", 7);
    fake.before("scan", |fake| {
        fake.produce("a");
        fake.hold("a", 2);
        fake.before("get /partitions/0/checkpoint", |fake| fake.progress(3));
    });
    let report = fake.plan(None).unwrap();
    assert_eq!(
        (
            report.cells.judged,
            report.cells.wrong,
            report.cells.unjudged
        ),
        (2, 1, 0)
    );
    assert_eq!(report.exit(), Exit::DriftFound);
}
