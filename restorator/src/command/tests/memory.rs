//! Expected totals of any size fit into any memory, and so does what is wrong, and what changes: ranges are divided into
//! parts by tokens. What waits to be counted has to fit into `memory_mib_max`, or is refused by that name before anything is
//! locked.

use std::collections::BTreeSet;
use std::time::Duration;

use stitch_common::output::{Exit, Report};
use stitch_config::Config;

use crate::options::Limits;
use crate::plan::file::PlanFile;
use crate::plan::judge::WRONG_CELL_BYTES;
use crate::restoration::LOCKED_CELL_BYTES;
use crate::testing::world::Fake;

const KEYS: usize = 400;
/// About the memory of the expected totals, and of the texts of as many wrong cells.
const TOTALS_BYTES: usize = KEYS * 360;
/// The memory of the worst range while it is locked, and some more.
const RANGE_BYTES: usize = 80 * (LOCKED_CELL_BYTES + WRONG_CELL_BYTES);

fn memory(bytes_max: usize) -> impl FnOnce(&mut Config) {
    move |config| config.restorator.memory_bytes_max = bytes_max
}

/// Counted plays of as many tracks.
fn counted(bits: &str, bytes_max: usize) -> Fake {
    let keys: Vec<String> = (0..KEYS).map(|key| format!("track-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    Fake::with(&keys, bits, memory(bytes_max))
}

/// An emptied table, in eight ranges.
fn emptied(bytes_max: usize) -> Fake {
    let fake = counted("bits = 3", bytes_max);
    fake.table.borrow_mut().clear();
    fake
}

fn is_right(fake: &Fake) -> bool {
    (0..KEYS).all(|key| fake.held(&format!("track-{key}")) == 1)
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
    assert_eq!(PlanFile::open(&file).unwrap().cells(), KEYS as u64);
}

#[test]
fn a_plan_larger_than_memory_is_run_and_not_compared() {
    let fake = emptied(TOTALS_BYTES + RANGE_BYTES);
    let file = fake.folder().join("plan.jsonl");
    fake.plan(Some(file.clone())).unwrap();
    let report = fake.run_plan(file).unwrap();
    assert_eq!(report.outcome(), "verified", "{:?}", report.error());
    let planned = report.planned.unwrap();
    assert_eq!(
        (planned.cells, planned.corrected, planned.found_since),
        (400, None, None)
    );
    assert!(is_right(&fake));
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

/// A range in which everything is wrong, and less memory than that takes.
fn one_range_too_large() -> Fake {
    let fake = counted("bits = 0", 60_000);
    fake.table.borrow_mut().clear();
    fake.hold("nobody", 7);
    const { assert!(KEYS * WRONG_CELL_BYTES > 60_000 / 2) };
    fake
}

#[test]
fn what_is_wrong_in_one_range_need_not_fit_into_memory() {
    let fake = one_range_too_large();
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!(report.outcome(), "verified", "{:?}", report.error());
    assert_eq!((report.cells.corrected, report.cells.wrong), (401, 401));
    assert_eq!((report.cells.judged, report.cells.unjudged), (400, 0));
    let total = report.totals.values().next().unwrap();
    assert_eq!(
        (total.expected, total.before, total.after),
        (400, 7, Some(400))
    );
    assert_eq!(report.ranges.len(), 1);
    assert_eq!(report.ranges[0].corrected, 401);
    assert!(is_right(&fake) && fake.held("nobody") == 0);
}

#[test]
fn a_plan_of_one_range_that_does_not_fit_has_every_wrong_cell_once() {
    let fake = one_range_too_large();
    let file = fake.folder().join("plan.jsonl");
    let report = fake.plan(Some(file.clone())).unwrap();
    assert_eq!((report.cells.wrong, report.cells.judged), (401, 401));
    let mut cells = BTreeSet::new();
    let mut file = PlanFile::open(&file).unwrap();
    file.each(|cell, _| {
        cells.insert(cell);
    })
    .unwrap();
    assert_eq!(cells.len(), KEYS + 1);
}

/// Its cells never rest, so all of them need the lock: part by part.
#[test]
fn what_changes_in_one_range_need_not_fit_into_memory() {
    let fake = counted("bits = 0", 300_000);
    fake.table.borrow_mut().clear();
    (0..KEYS).for_each(|key| fake.produce(&format!("track-{key}")));
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!(report.outcome(), "verified", "{:?}", report.error());
    assert_eq!((report.cells.corrected, report.cells.unjudged), (400, 0));
    assert!(is_right(&fake));
    assert!(fake.times("create /ranges/0/_c_") > 1);
}

/// While a part is restored events of the others are counted: no cell is judged by an event of another part.
#[test]
fn events_of_other_parts_are_counted_meanwhile() {
    let fake = one_range_too_large();
    for _ in 0..3 {
        fake.before("increment", |fake| {
            for key in 0..40 {
                let key = format!("track-{}", key * 10);
                fake.produce(&key);
                fake.hold(&key, fake.held(&key) + 1);
            }
            fake.progress(fake.end());
        });
    }
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!(report.outcome(), "verified", "{:?}", report.error());
    let right = |key: usize| if key.is_multiple_of(10) { 4 } else { 1 };
    for key in 0..KEYS {
        assert_eq!(fake.held(&format!("track-{key}")), right(key), "{key}");
    }
    let total = report.totals.values().next().unwrap();
    assert_eq!((total.expected, total.after), (400, Some(520)));
}

#[test]
fn totals_that_do_not_fit_are_spilled() {
    let fake = counted("bits = 3", TOTALS_BYTES / 8);
    fake.hold("track-7", 5);
    fake.hold("track-300", 0);
    fake.hold("nobody", 2);
    let report = fake.plan(None).unwrap();
    assert_eq!((report.cells.judged, report.cells.wrong), (401, 3));
    let total = &report.totals.values().next().unwrap();
    assert_eq!((total.expected, total.before), (400, 405));
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 3));
    assert_eq!(report.totals.values().next().unwrap().after, Some(400));
    assert!(is_right(&fake));
}

/// The parts of an audit are judged by cuts of their own, so that a range is never restored by their verdicts together.
#[test]
fn a_part_that_was_judged_before_another_is_judged_again() {
    for reads in 1..6 {
        let fake = one_range_too_large();
        // Once it was too much, the table is right again, and no part has findings to be forgotten.
        fake.before("scan", move |fake| {
            fake.before("get /partitions/0/checkpoint", move |fake| {
                (0..KEYS).for_each(|key| fake.hold(&format!("track-{key}"), 1));
                fake.hold("nobody", 0);
                fake.before("scan", move |fake| count_doubly_at(fake, reads));
            });
        });
        let report = fake.run(Limits::default()).unwrap();
        assert_eq!(report.outcome(), "verified", "{:?}", report.error());
        assert!((0..20).all(|key| fake.held(&format!("track-{key}")) == 2));
    }
}

/// At this reading of a checkpoint some events have been counted, twice each.
fn count_doubly_at(fake: &Fake, reads: usize) {
    fake.before("get /partitions/0/checkpoint", move |fake| {
        if reads > 1 {
            return count_doubly_at(fake, reads - 1);
        }
        for key in 0..20 {
            let key = format!("track-{key}");
            fake.produce(&key);
            fake.hold(&key, 3);
        }
        fake.progress(fake.end());
    });
}

/// Nothing but the scan knows of them, so that ranges, and then parts of ranges, turn out to be too large.
#[test]
fn phantoms_need_not_fit_into_memory() {
    let fake = Fake::with(&["a"], "bits = 3", memory(100_000));
    for key in 0..2000 {
        fake.hold(&format!("nobody-{key}"), 9);
    }
    let plan = fake.plan(None).unwrap();
    assert_eq!((plan.cells.wrong, plan.cells.judged), (2000, 2001));
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!(report.outcome(), "verified", "{:?}", report.error());
    assert_eq!(report.cells.corrected, 2000);
    assert!((0..2000).all(|key| fake.held(&format!("nobody-{key}")) == 0));
    assert_eq!(fake.held("a"), 1);
    assert!(!fake.exists("/members/"), "and the member has left");
}

/// One range of ten counted plays, of which later events are many more than its memory allows to be kept one by one.
fn short_of_memory(bytes_max: usize) -> Fake {
    let keys: Vec<String> = (0..10).map(|key| format!("track-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    Fake::with(&keys, "bits = 0", memory(bytes_max))
}

/// More than fits: an increment takes 32 bytes.
const MANY: i64 = 5000;
const LITTLE: usize = 100_000;

/// Plays of the ten tracks in turn.
fn produce_many(fake: &Fake) {
    for number in 0..MANY {
        fake.produce(&format!("track-{}", number % 10));
    }
}

/// A processor has counted everything that was produced, and says so.
fn count_everything(fake: &Fake) {
    let end = fake.end();
    for key in 0..10 {
        fake.hold(&format!("track-{key}"), end / 10);
    }
    fake.progress(end);
}

/// The log grows by more than fits into memory while it is read, and is counted: the cut moves up before anything is
/// judged.
#[test]
fn events_that_are_counted_while_the_log_is_read_take_no_memory() {
    for wrong in [0, 1] {
        let fake = short_of_memory(LITTLE);
        fake.before("ends asked", move |fake| {
            fake.before("ends asked", move |fake| {
                produce_many(fake);
                count_everything(fake);
                if wrong > 0 {
                    fake.hold("track-3", 7);
                }
            });
        });
        let report = fake.run(Limits::default()).unwrap();
        assert_eq!(report.outcome(), "verified");
        assert_eq!(report.cells.corrected, wrong);
        assert_eq!(fake.held("track-3"), (MANY + 10) / 10);
    }
}

/// Before every fourth of the next scans 60 events are produced and counted.
fn count_while_scanning(fake: &Fake, scans: usize) {
    fake.before("scan", move |fake| {
        if scans.is_multiple_of(4) {
            for number in 0..60 {
                let key = format!("track-{}", number % 40);
                fake.produce(&key);
                fake.hold(&key, fake.held(&key) + 1);
            }
            fake.progress(fake.end());
        }
        if scans > 0 {
            count_while_scanning(fake, scans - 1);
        }
    });
}

/// The same while the table is scanned: the cuts of the ranges that are not being judged go on with the checkpoints.
#[test]
fn events_that_are_counted_while_other_ranges_are_judged_take_no_memory() {
    let fake = counted("bits = 3", 100_000);
    fake.scan_takes.set(Duration::from_secs(1));
    count_while_scanning(&fake, 96);
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 0));
    let since = usize::try_from(fake.end()).unwrap() - KEYS;
    assert!(since > 100_000 / 4 / 32, "more than fits: {since}");
}

/// Processors are behind by more than fits into memory: a plan judges the cells that rest, and a restoration locks nothing.
#[test]
fn a_backlog_that_does_not_fit_is_refused_before_any_lock() {
    let fake = short_of_memory(LITTLE);
    fake.hold("track-3", 7);
    for number in 0..MANY {
        fake.produce(&format!("track-{}", number % 2));
    }
    let plan = fake.plan(None).unwrap();
    assert_eq!(
        (plan.cells.wrong, plan.cells.judged, plan.cells.unjudged),
        (1, 8, 2)
    );
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!(report.exit(), Exit::Failed);
    let failure = report.error().unwrap();
    assert!(failure.message.contains("memory_mib_max"), "{failure}");
    assert!(failure.help.contains("caught up"), "{failure}");
    assert_eq!((fake.times("__WRIT__"), fake.times("increment")), (0, 0));
}

/// R7: records of others let the checkpoint rise under the lock. The events of this range lie before and behind them.
#[test]
fn a_checkpoint_that_passes_no_event_under_the_lock_is_no_broken_invariant_when_memory_is_short() {
    let fake = short_of_memory(LITTLE);
    fake.before("ends asked", |fake| {
        fake.before("ends asked", |fake| {
            (0..900).for_each(|number| fake.produce(&format!("track-{}", number % 10)));
            (0..100).for_each(|_| fake.produce_ignored());
            (0..50).for_each(|_| fake.produce("track-0"));
            (0..10).for_each(|key| fake.hold(&format!("track-{key}"), 91));
            fake.progress(920);
        });
    });
    fake.before("create /revocations/", |fake| {
        fake.before("get /partitions/0/checkpoint", |fake| {
            fake.before("get /partitions/0/checkpoint", |fake| fake.progress(1000));
        });
    });
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 0));
}
