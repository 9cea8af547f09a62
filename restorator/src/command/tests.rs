//! Whole restorations against servers in memory: each test provokes one rule, and checks the trace of requests.

use futures_util::future::join;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;

use crate::options::{Limits, PlanSource, RunOptions};
use crate::report::RunReport;
use crate::testing::cassandra::Fate;
use crate::testing::world::Fake;

mod added_partition;
mod corrupted;
mod control;
mod limits;
mod memory;
mod at_rest;
mod doubts;
mod lease;
mod deleted;
mod journal;
mod totals;
mod lock_time;
mod unjudged;
mod lost;
mod exceptions;
mod outside;
mod permissions;
mod record;
mod stalled;
mod sums;

fn restored(fake: &Fake) -> RunReport {
    fake.run(Limits::default()).unwrap()
}

/// Runs a restoration, and a script beside it.
fn run_beside(fake: &Fake, script: impl AsyncFnOnce()) -> Result<RunReport, UserError> {
    run_options_beside(fake, &fake.run_now(Limits::default()), script)
}

fn run_options_beside(
    fake: &Fake,
    options: &RunOptions,
    script: impl AsyncFnOnce(),
) -> Result<RunReport, UserError> {
    fake.given(|given| {
        let run = Box::pin(crate::command::run(given, options));
        fake.clock.run(async { join(run, script()).await.0 })
    })
}

fn fails_with(report: &RunReport, text: &str) {
    let message = &report.error().unwrap().message;
    assert!(message.contains(text), "{message}");
}

/// The index of the last line before `until` that contains `what`.
fn last(trace: &[String], what: &str, until: usize) -> Option<usize> {
    trace[..until].iter().rposition(|line| line.contains(what))
}

/// The index of the first line from `from` on that contains `what`.
fn next(trace: &[String], what: &str, from: usize) -> usize {
    let index = trace[from..].iter().position(|line| line.contains(what));
    from + index.unwrap_or_else(|| panic!("no \"{what}\" from {from} on in {trace:#?}"))
}

#[test]
fn every_kind_of_drift_is_corrected_and_verified() {
    let fake = Fake::with_plays(&["a", "b", "c", "d"]);
    fake.table.borrow_mut().clear();
    for (key, count) in [("b", 2), ("c", 7), ("d", 1), ("nobody", 9)] {
        fake.hold(key, count);
    }
    let report = restored(&fake);
    assert_eq!(
        (report.outcome(), report.exit()),
        ("verified", Exit::Success)
    );
    assert_eq!((report.cells.corrected, report.cells.unjudged), (4, 0));
    for (key, count) in [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("nobody", 0)] {
        assert_eq!(fake.held(key), count, "{key}");
    }
    assert!(
        !fake.exists("__WRIT__") && !fake.exists("/revocations/"),
        "the lock and the request are gone"
    );
    assert_eq!(
        fake.times("delete /revocations/"),
        1,
        "once, with the range's lock"
    );
    assert!(!fake.exists("/members/"), "and the member has left");
    assert_eq!(
        restored(&fake).cells.corrected,
        0,
        "a second run finds nothing"
    );
}

#[test]
fn a_plan_reports_what_is_wrong_and_changes_nothing() {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.hold("a", 5);
    let report = fake.plan(None).unwrap();
    assert_eq!((report.cells.wrong, report.exit()), (1, Exit::DriftFound));
    assert_eq!(fake.held("a"), 5);
    assert_eq!((fake.times("increment"), fake.times("__WRIT__")), (0, 0));
}

/// R1: in-doubt markers and dead members are read after every base cut, and the ceilings after the cells, behind a write:
/// so they are as new as the cells, whichever server of the ensemble answers.
#[test]
fn in_doubt_markers_are_read_after_the_cut_and_the_ceilings_after_the_cells() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    restored(&fake);
    let trace = fake.trace();
    let scan = next(&trace, "scan", 0);
    let cut = last(&trace, "get /partitions/0/checkpoint", scan).unwrap();
    let markers = last(&trace, "list /ranges/0", scan).unwrap();
    let members = last(&trace, "get /members", scan).unwrap();
    assert!(cut < members && cut < markers, "{trace:#?}");
    let lock = next(&trace, "__WRIT__", scan);
    let last_scan = last(&trace, "scan", trace.len()).unwrap();
    let ceiling = next(&trace, "get /partitions/0/checkpoint", last_scan);
    let write = last(&trace, "set /alive/", ceiling).unwrap();
    assert!(last_scan < write && ceiling < lock, "{trace:#?}");
    // Converging, right before the lock, is no exception.
    let ceiling = last(&trace, "get /partitions/0/checkpoint", lock).unwrap();
    let write = last(&trace, "set /alive/", ceiling).unwrap();
    let cut = last(&trace, "get /partitions/0/checkpoint", write).unwrap();
    assert!(next(&trace, "get /members", cut) < write, "{trace:#?}");
    assert!(next(&trace, "list /ranges/0", cut) < write, "{trace:#?}");
}

/// R1: an increment that was applied while the cells were read has an event below the ceiling that is read after that.
#[test]
fn a_cell_that_became_dirty_during_the_scan_is_not_judged_wrong() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("scan", |fake| {
        fake.feed_stalls.set(true);
        fake.produce("a");
        fake.hold("a", 2);
        fake.before("get /partitions/0/checkpoint", |fake| {
            fake.feed_stalls.set(false);
            fake.changes.notify();
        });
    });
    let cells = fake.plan(None).unwrap().cells;
    assert_eq!((cells.wrong, cells.unjudged), (0, 1));
}

/// R1, converging: the same holds for cells that are read one by one.
#[test]
fn a_cell_that_became_dirty_while_converging_is_not_judged_wrong() {
    let fake = Fake::with(&["a"], "bits = 0", |config| {
        config.restorator.dirty_cells_target = 0;
    });
    fake.before("scan", |fake| {
        fake.produce("a");
        fake.hold("a", 2);
        fake.before("get /partitions/0/checkpoint", |fake| fake.progress(2));
        fake.before("read plays/a", |fake| {
            fake.feed_stalls.set(true);
            fake.produce("a");
            fake.hold("a", 3);
            fake.before("get /partitions/0/checkpoint", |fake| {
                fake.feed_stalls.set(false);
                fake.changes.notify();
            });
        });
    });
    let cells = fake.plan(None).unwrap().cells;
    assert_eq!((cells.wrong, cells.unjudged), (0, 1));
    assert_eq!(fake.times("read plays/a"), 1, "converged");
}

/// R1, converging: an event that the later cut has passed may not have been counted at the scan.
#[test]
fn cells_that_a_later_cut_has_passed_are_judged_again() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("scan", |fake| {
        fake.before("get /partitions/0/checkpoint", |fake| {
            fake.produce("a");
            fake.progress(2);
        });
    });
    let report = restored(&fake);
    assert_eq!((report.outcome(), fake.held("a")), ("verified", 2));
}

/// R1: what a dead member sent lands before the cells are read, because a quiescence barrier is awaited.
#[test]
fn a_dead_member_is_waited_out_before_the_scan_and_then_removed() {
    let fake = Fake::with_plays(&["a"]);
    fake.dead_member();
    fake.before("scan", |fake| fake.hold("late", 0));
    restored(&fake);
    let trace = fake.trace();
    let scan = next(&trace, "scan", 0);
    assert!(
        trace[..scan].iter().filter(|line| *line == "probe").count() > 10,
        "{trace:#?}"
    );
    let removed = next(
        &trace,
        "multi /members/00000000000003e8-0000000000000000",
        0,
    );
    assert!(removed < scan && last(&trace, "probe", removed).is_some());
    assert!(!fake.exists("00000000000003e8-0000000000000000"));
}

#[test]
fn without_in_doubt_markers_and_dead_members_there_is_no_barrier() {
    let fake = Fake::with_plays(&["a"]);
    restored(&fake);
    assert_eq!(fake.times("probe"), 1, "which asks for the right to probe");
    assert!(fake.clock.seconds() < 2);
}

/// R2: a holder that yields with an unknown outcome creates a marker first, and it is waited out under the lock.
#[test]
fn an_in_doubt_marker_from_before_the_grant_is_waited_out_before_the_cut_is_read() {
    let fake = Fake::with_plays(&["a"]);
    let shared = fake.shared_lock();
    fake.before("create /revocations/", move |fake| {
        fake.marker();
        fake.remove(&shared);
    });
    let report = restored(&fake);
    assert_eq!(report.outcome(), "verified");
    let trace = fake.trace();
    let asked = next(&trace, "create /revocations/", 0);
    let cut = next(&trace, "get /partitions/0/checkpoint", asked);
    let markers = next(&trace, "list /ranges/0", asked);
    let deleted = next(&trace, "multi /ranges/0/in-doubt-", asked);
    assert!(markers < deleted && deleted < cut, "{trace:#?}");
    let probes = trace[markers..deleted]
        .iter()
        .filter(|line| *line == "probe");
    assert!(probes.count() > 10, "{trace:#?}");
}

/// R2: every wait has a bound, and at the bound the range is released.
#[test]
fn a_range_that_its_holder_does_not_yield_is_released_unverified() {
    let fake = Fake::with_plays(&["a"]);
    let shared = fake.shared_lock();
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Failed);
    fails_with(&report, "yielded");
    assert!(!fake.exists("__WRIT__") && !fake.exists("/revocations/"));
    assert!(fake.clock.seconds() < 60, "at its bound");
    assert!(
        fake.exists(shared.rsplit('/').next().unwrap()),
        "its holder keeps it"
    );
}

/// R3: without a checkpoint of every partition there is no cut.
#[test]
fn a_missing_checkpoint_or_one_that_went_back_leaves_the_range_unverified() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("create /revocations/", |fake| {
        fake.remove("/stitch/n/partitions/0/checkpoint")
    });
    fails_with(&restored(&fake), "no checkpoint");
    let failure = fake.run(Limits::default()).unwrap_err();
    assert!(failure.message.contains("partition 0 has no checkpoint"));
    assert_eq!(fake.times("scan"), 32, "the second run read nothing");
    let fake = Fake::with_plays(&["a", "b"]);
    fake.before("create /revocations/", |fake| fake.progress(1));
    fails_with(&restored(&fake), "went back");
    assert!(!fake.exists("__WRIT__"));
}

/// R3: totals by other definitions verify nothing.
#[test]
fn a_definition_that_changed_meanwhile_leaves_the_range_unverified() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    // Dirty, so that it is left to the lock.
    fake.produce("a");
    fake.before("create /revocations/", Fake::redefine);
    fails_with(&restored(&fake), "definition was changed");
    assert_eq!((fake.times("increment"), fake.held("a")), (0, 5));
}

/// R4: a processor that died may have applied events beyond its checkpoint; the ceiling that is read after the grant lies
/// above them.
#[test]
fn increments_beyond_the_cut_are_taken_back_to_the_cut() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("create /revocations/", |fake| {
        fake.produce("a");
        fake.hold("a", 2);
    });
    let report = restored(&fake);
    assert_eq!(report.outcome(), "verified");
    assert_eq!(
        fake.held("a"),
        1,
        "the processor that resumes at the cut will count the event there"
    );
}

/// R1, R4: what no processor can have begun makes nothing dirty, whatever the backlog.
#[test]
fn events_above_the_ceiling_make_no_cell_dirty() {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.hold("a", 5);
    fake.append("a");
    fake.append("b");
    let cells = fake.plan(None).unwrap().cells;
    assert_eq!((cells.wrong, cells.unjudged), (1, 0));
    let report = restored(&fake);
    assert_eq!((report.outcome(), fake.held("a")), ("verified", 1));
    assert_eq!(fake.times("read plays/b"), 0, "not under the lock either");
}

/// R1, R4: a broker that was deposed as leader, or a topic that lost its last records, does not show every event below the
/// ceiling.
#[test]
fn a_log_that_ends_below_the_ceiling_leaves_the_range_unverified() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("create /revocations/", |fake| {
        fake.feed_stalls.set(true);
        fake.produce("a");
        fake.hold("a", 2);
    });
    let report = restored(&fake);
    assert_eq!((report.exit(), fake.held("a")), (Exit::Failed, 2));
    let error = report.error().unwrap();
    for part in ["partition 0", "offset 1", "up to 2"] {
        assert!(error.message.contains(part), "{error}");
    }
    assert!(
        error.help.contains("The log ends below the ceiling"),
        "{error}"
    );
    assert!(!fake.exists("__WRIT__") && fake.clock.seconds() < 30);
    let fake = Fake::with_plays(&["a"]);
    fake.before("scan", |fake| {
        fake.feed_stalls.set(true);
        fake.produce("a");
    });
    let error = fake.plan(None).unwrap_err();
    assert!(error.message.contains("up to 2"), "{error}");
}

/// R4: events that the cut has passed since the audit count.
#[test]
fn events_acknowledged_since_the_audit_are_expected() {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.before("create /revocations/", |fake| {
        fake.produce("a");
        fake.progress(3);
    });
    let report = restored(&fake);
    assert_eq!(
        (report.outcome(), fake.held("a"), fake.held("b")),
        ("verified", 2, 1)
    );
}

/// R6: a correction of unknown outcome is never sent again; after a quiescence barrier all cells are read again.
#[test]
fn a_correction_of_unknown_outcome_is_not_sent_twice() {
    for (fate, sent) in [(Fate::UnknownApplied, 1), (Fate::UnknownLost, 2)] {
        let fake = Fake::with_plays(&["a"]);
        fake.hold("a", 5);
        fake.fates.borrow_mut().push_back(fate);
        let report = restored(&fake);
        assert_eq!(
            (report.outcome(), fake.held("a")),
            ("verified", 1),
            "{fate:?}"
        );
        assert_eq!(fake.times("increment"), sent, "{fate:?}");
        let trace = fake.trace();
        let first = next(&trace, "increment", 0);
        let again = next(&trace, "read plays/a", first);
        let probes = trace[first..again].iter().filter(|line| *line == "probe");
        assert!(probes.count() > 10, "{trace:#?}");
        assert!(!fake.exists("in-doubt-"), "it was waited out");
    }
}

#[test]
fn a_correction_that_was_certainly_not_applied_is_sent_again() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates
        .borrow_mut()
        .extend([Fate::NotApplied, Fate::NotApplied]);
    assert_eq!((restored(&fake).outcome(), fake.held("a")), ("verified", 1));
    assert_eq!((fake.times("increment"), fake.times("probe")), (3, 1));
}

/// R7: what could invalidate the result is read last.
#[test]
fn a_checkpoint_that_passed_an_event_of_the_locked_range_breaks_an_invariant() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.produce("a");
    fake.before("increment", |fake| {
        fake.progress(2);
    });
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| restored(&fake)));
    let message = *result.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("I2"), "{message}");
}

#[test]
fn a_changed_ring_or_a_lost_lock_leaves_the_range_unverified() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("create /revocations/", |fake| {
        fake.ring.borrow_mut().push(9)
    });
    fails_with(&restored(&fake), "ring");
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.produce("a");
    fake.before("increment", |fake| {
        let tree = fake.zookeeper.borrow().tree.clone();
        let lock = tree.paths().find(|path| path.contains("__WRIT__")).unwrap();
        fake.remove(lock);
    });
    assert_eq!(restored(&fake).exit(), Exit::Failed);
}

/// The failure of the work does not hide what is left behind.
#[test]
fn a_command_that_fails_also_reports_the_dead_member_that_it_leaves() {
    let fake = Fake::with_plays(&["a"]);
    fake.before("scan", |fake| {
        fake.lose_sessions();
        fake.stop.cancel();
    });
    let failure = fake.plan(None).unwrap_err();
    assert!(failure.message.contains("dead member"), "{failure}");
}

#[test]
fn a_stop_releases_the_lock_and_ends_with_2() {
    let fake = Fake::with_plays(&["a"]);
    fake.shared_lock();
    fake.before("create /revocations/", |fake| fake.stop.cancel());
    let report = restored(&fake);
    assert_eq!(report.exit(), Exit::Failed);
    assert!(!fake.exists("__WRIT__") && !fake.exists("/revocations/") && !fake.exists("/members/"));
    assert!(fake.clock.seconds() < 5, "at once");
}

#[test]
fn a_run_of_a_plan_file_reports_planned_cells_apart_from_cells_found_since() {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.hold("a", 5);
    let file = fake.folder().join("plan.jsonl");
    fake.plan(Some(file.clone())).unwrap();
    fake.hold("b", 5);
    let report = fake.run_plan(file).unwrap();
    let planned = report.planned.unwrap();
    assert_eq!(
        (planned.cells, planned.corrected, planned.found_since),
        (1, Some(1), Some(1))
    );
    assert_eq!((fake.held("a"), fake.held("b")), (1, 1));
}
