//! Small models to the end, and the loss of each rule: what fits into an ordinary run of the tests.

use crate::bounds::{Bounds, CorrectionMode};
use crate::explorations::{REMOVED_RULES, RemovedRule};
use crate::explore::{ExplorationResult, explore};
use crate::fault::Fault::{self, *};
use crate::fault::Faults;

fn explored(log: &str, ranges: &str, faults: &[Fault], mode: CorrectionMode) -> ExplorationResult {
    let bounds = Bounds::new(log, ranges);
    explore(&bounds.with(Faults::of(faults)).corrected(mode), 2, None)
}

/// Every property holds in every history, and at least one history reaches the end.
fn holds(log: &str, ranges: &str, faults: &[Fault], mode: CorrectionMode) {
    let explored = explored(log, ranges, faults, mode);
    if let Some((property, history)) = &explored.broken {
        panic!("{log} {ranges} {faults:?}: {property}\n{history}");
    }
    assert!(
        explored.complete && explored.ends,
        "{log} {ranges} {faults:?}"
    );
}

#[test]
fn one_partition_and_one_range_with_an_unknown_outcome() {
    holds("010", "00", &[Unknown], CorrectionMode::Locked);
    holds("01", "00", &[Unknown, Lost, GiveUp], CorrectionMode::Locked);
    holds(
        "01",
        "00",
        &[Unknown, NotApplied, CleanUp],
        CorrectionMode::Locked,
    );
}

#[test]
fn one_partition_and_one_range_with_processors_that_die_freeze_and_lose_their_lease() {
    holds("01", "00", &[Crash], CorrectionMode::Locked);
    holds("01", "00", &[Crash, DeposedLeader], CorrectionMode::Locked);
    holds("0", "00", &[Freeze, Unknown], CorrectionMode::Locked);
    holds("0", "00", &[Cut, Stop], CorrectionMode::Locked);
    holds("00", "0", &[Rebalance, SlowWrite], CorrectionMode::Locked);
    holds("0", "0", &[Freeze, SlowWrite], CorrectionMode::Locked);
}

#[test]
fn one_partition_and_one_range_with_a_restorator_that_dies_freezes_and_gives_back() {
    holds(
        "01",
        "00",
        &[Lost, RestoratorCrash, DeltaUnknown],
        CorrectionMode::Locked,
    );
    holds(
        "01",
        "00",
        &[Lost, RestoratorFreeze, Converge],
        CorrectionMode::Locked,
    );
    holds(
        "01",
        "00",
        &[Lost, DeltaUnknown, DeltaLost, GiveBack],
        CorrectionMode::Locked,
    );
}

#[test]
fn two_partitions_and_one_range() {
    holds("0/1", "00", &[Unknown], CorrectionMode::Locked);
    holds("0/0", "0", &[Rebalance], CorrectionMode::Locked);
}

#[test]
fn one_partition_and_two_ranges() {
    holds("01", "01", &[Unknown], CorrectionMode::Locked);
    holds("(01)", "01", &[Lost, DeltaUnknown], CorrectionMode::Locked);
}

/// A cell without an event from the base cut up to the ceiling, read after the cell, is corrected without a lock.
#[test]
fn correction_without_the_lock_is_right() {
    holds("010", "00", &[Lost, Unknown], CorrectionMode::Unlocked);
    holds("01", "00", &[Lost, Crash], CorrectionMode::Unlocked);
    holds(
        "01",
        "00",
        &[Lost, DeltaUnknown, RestoratorCrash],
        CorrectionMode::Unlocked,
    );
    holds(
        "01",
        "00",
        &[Lost, DeltaUnknown, DeltaLost],
        CorrectionMode::Unlocked,
    );
    holds(
        "(01)",
        "00",
        &[Lost, Lost, DeltaUnknown, DeltaLost],
        CorrectionMode::Both,
    );
    holds(
        "01",
        "00",
        &[Lost, Unknown, DeltaUnknown],
        CorrectionMode::Both,
    );
}

#[test]
fn a_model_without_a_rule_breaks_a_property() {
    let unlike = |loss: &&RemovedRule| {
        let explored = explore(&loss.bounds(), 2, None);
        explored.broken.is_some() != loss.is_found
    };
    let unlike: Vec<_> = REMOVED_RULES
        .iter()
        .filter(unlike)
        .map(|loss| loss.rule)
        .collect();
    assert_eq!(unlike, [], "these differ from what is expected");
}
