//! Small worlds to the end, and each rule taken out of one: what fits into an ordinary run of the tests.

use crate::bounds::{Bounds, Way};
use crate::explore::{Explored, explore};
use crate::fault::Fault::{self, *};
use crate::fault::Faults;
use crate::known::{LOSSES, Loss};

fn explored(log: &str, ranges: &str, faults: &[Fault], way: Way) -> Explored {
    let bounds = Bounds::new(log, ranges);
    explore(&bounds.with(Faults::of(faults)).corrected(way), 2, None)
}

/// Every history is one in which every promise is kept, and one at least leads to the end.
fn holds(log: &str, ranges: &str, faults: &[Fault], way: Way) {
    let explored = explored(log, ranges, faults, way);
    if let Some((property, history)) = &explored.broken {
        panic!("{log} {ranges} {faults:?}: {property}\n{history}");
    }
    assert!(explored.whole && explored.ends, "{log} {ranges} {faults:?}");
}

#[test]
fn one_partition_and_one_range_with_an_unknown_outcome() {
    holds("010", "00", &[Unknown], Way::Locked);
    holds("01", "00", &[Unknown, Lost, GiveUp], Way::Locked);
    holds("01", "00", &[Unknown, NotApplied, Sweep], Way::Locked);
}

#[test]
fn one_partition_and_one_range_with_processors_that_die_freeze_and_lose_their_lease() {
    holds("01", "00", &[Crash], Way::Locked);
    holds("0", "00", &[Freeze, Unknown], Way::Locked);
    holds("0", "00", &[Cut, Stop], Way::Locked);
    holds("00", "0", &[Rebalance, SlowWrite], Way::Locked);
    holds("0", "0", &[Freeze, SlowWrite], Way::Locked);
}

#[test]
fn one_partition_and_one_range_with_a_restorator_that_dies_freezes_and_gives_back() {
    holds(
        "01",
        "00",
        &[Lost, RestoratorCrash, DeltaUnknown],
        Way::Locked,
    );
    holds("01", "00", &[Lost, RestoratorFreeze, CloseIn], Way::Locked);
    holds(
        "01",
        "00",
        &[Lost, DeltaUnknown, DeltaLost, GiveBack],
        Way::Locked,
    );
}

#[test]
fn one_partition_and_one_range_that_is_corrected_in_portions() {
    holds("(01)2", "000", &[Lost, Lost, Chunk], Way::Locked);
    holds(
        "(01)",
        "00",
        &[Lost, Lost, Chunk, DeltaUnknown],
        Way::Locked,
    );
}

#[test]
fn two_partitions_and_one_range() {
    holds("0/1", "00", &[Unknown], Way::Locked);
    holds("0/0", "0", &[Rebalance], Way::Locked);
}

#[test]
fn one_partition_and_two_ranges() {
    holds("01", "01", &[Unknown], Way::Locked);
    holds("(01)", "01", &[Lost, DeltaUnknown], Way::Locked);
}

/// Design, section 10: a cell without an event from the base cut to the end of the log, asked after the cell was read,
/// is corrected without any lock.
#[test]
fn correction_without_the_lock_is_right() {
    holds("010", "00", &[Lost, Unknown], Way::Unlocked);
    holds("01", "00", &[Lost, Crash], Way::Unlocked);
    holds(
        "01",
        "00",
        &[Lost, DeltaUnknown, RestoratorCrash],
        Way::Unlocked,
    );
    holds("01", "00", &[Lost, Unknown, DeltaUnknown], Way::Both);
}

#[test]
fn a_model_without_a_rule_breaks_a_promise() {
    let unlike = |loss: &&Loss| {
        let explored = explore(&loss.bounds(), 2, None);
        explored.broken.is_some() != loss.is_found
    };
    let unlike: Vec<_> = LOSSES.iter().filter(unlike).map(|loss| loss.rule).collect();
    assert_eq!(unlike, [], "these are not as expected");
}
