//! What grows with the data stays within `memory_mib_max`, or is refused by that name before anything is locked.

use stitch_common::config::Config;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;

use crate::options::Limits;
use crate::plan::file::Plan;
use crate::plan::judge::WRONG_CELL_BYTES;
use crate::restoration::LOCKED_CELL_BYTES;
use crate::testing::world::Fake;

const KEYS: usize = 400;
/// About the memory of the expected totals.
const TOTALS_BYTES: usize = KEYS * 360;
/// The memory of the worst range while it is locked, and some more.
const RANGE_BYTES: usize = 80 * (LOCKED_CELL_BYTES + WRONG_CELL_BYTES);

fn memory(bytes_max: usize) -> impl FnOnce(&mut Config) {
    move |config| config.restorator.memory_bytes_max = bytes_max
}

/// An emptied table, in eight ranges.
fn emptied(bytes_max: usize) -> Fake {
    let keys: Vec<String> = (0..KEYS).map(|key| format!("track-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let fake = Fake::with(&keys, "bits = 3", memory(bytes_max));
    fake.table.borrow_mut().clear();
    fake
}

fn is_right(fake: &Fake) -> bool {
    (0..KEYS).all(|key| fake.held(&format!("track-{key}")) == 1)
}

fn names_the_memory_limit(failure: &UserError) -> bool {
    failure.message.contains("memory_mib_max") && failure.help.contains("--ranges")
}

#[test]
fn an_emptied_table_is_restored_range_by_range_if_memory_is_short() {
    let ample = emptied(1 << 30);
    let fake = emptied(TOTALS_BYTES + RANGE_BYTES);
    for fake in [&ample, &fake] {
        let report = fake.run(Limits::default()).unwrap();
        assert_eq!(
            (report.outcome(), report.exit()),
            ("verified", Exit::Success)
        );
        assert_eq!((report.cells.corrected, report.cells.wrong), (400, 400));
        assert!(is_right(fake));
    }
    let read_again = |fake: &Fake| {
        let trace = fake.trace();
        let locked = super::next(&trace, "__WRIT__", 0);
        trace[locked..].iter().any(|line| line == "scan")
    };
    assert!(!read_again(&ample), "all findings were kept");
    assert!(read_again(&fake), "forgotten findings are read once more");
}

#[test]
fn a_plan_larger_than_memory_has_every_wrong_cell() {
    let fake = emptied(TOTALS_BYTES + RANGE_BYTES);
    let file = fake.folder().join("plan.jsonl");
    let report = fake.plan(Some(file.clone())).unwrap();
    assert_eq!((report.cells.wrong, report.cells.judged), (400, 400));
    assert_eq!(Plan::load(&file, usize::MAX).unwrap().wrong.len(), KEYS);
}

#[test]
fn limits_are_checked_before_any_lock_if_memory_is_short() {
    let fake = emptied(TOTALS_BYTES + RANGE_BYTES);
    let limits = Limits {
        max_cells: Some(399),
        max_change: None,
    };
    let report = fake.run(limits).unwrap();
    assert_eq!((report.exit(), report.cells.wrong), (Exit::DriftFound, 400));
    assert_eq!((fake.times("__WRIT__"), fake.times("increment")), (0, 0));
}

#[test]
fn a_range_that_does_not_fit_is_refused_by_the_limits_name_and_not_locked() {
    let fake = emptied(TOTALS_BYTES + RANGE_BYTES / 4);
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!((report.exit(), report.cells.corrected), (Exit::Failed, 0));
    assert_eq!(report.cells.wrong, 400, "the number is kept");
    assert!(
        names_the_memory_limit(report.error().unwrap()),
        "{report:?}"
    );
    assert_eq!((fake.times("__WRIT__"), fake.times("increment")), (0, 0));
}

#[test]
fn totals_that_do_not_fit_are_refused() {
    let fake = emptied(TOTALS_BYTES / 4);
    assert!(names_the_memory_limit(&fake.plan(None).unwrap_err()));
    assert!(names_the_memory_limit(
        &fake.run(Limits::default()).unwrap_err()
    ));
    assert_eq!((fake.times("scan"), fake.times("__WRIT__")), (0, 0));
}

#[test]
fn phantoms_that_do_not_fit_are_refused_before_any_lock() {
    let fake = Fake::with(&["a"], "bits = 3", memory(100_000));
    for key in 0..2000 {
        fake.hold(&format!("nobody-{key}"), 9);
    }
    assert!(names_the_memory_limit(&fake.plan(None).unwrap_err()));
    assert!(names_the_memory_limit(
        &fake.run(Limits::default()).unwrap_err()
    ));
    assert_eq!((fake.times("__WRIT__"), fake.times("increment")), (0, 0));
    assert!(!fake.exists("/members/"), "and the member has left");
}
