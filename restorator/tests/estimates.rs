//! Compares the restorator's estimates of memory with the process's resident memory. One test, because the whole process is
//! measured; nothing is freed in between, because the allocator would use it again.

use std::fs;
use std::hint::black_box;

use stitch_common::cell::{Amount, Cell, CellSlot, Count, Counter, EventTime, Granularity};
use stitch_common::event::slot;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_expected::range_totals::RangeTotals;
use stitch_restorator::plan::judge::Verdicts;
use stitch_totals::scan_key::{PackedSlot, ScanKey};
use stitch_totals::sorted::tokens::TokenSelection;

const P: Partition = Partition(0);

/// The anonymous resident memory of this process, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes = kibibytes.and_then(|number| number.parse::<usize>().ok());
    kibibytes.expect("the kernel's line for it") * 1024
}

/// Makes something, and compares its estimate with the memory that it takes.
fn measured<T>(what: &str, make: impl FnOnce() -> T, estimate: impl Fn(&T) -> usize) -> T {
    let before = resident();
    let made = black_box(make());
    let taken = resident() - before;
    let estimated = estimate(&made);
    let percent = estimated * 100 / taken;
    let comparison = format!("{what}: {estimated} bytes estimated, {taken} taken, {percent} %");
    assert!(taken > 8_000_000, "too little to measure: {comparison}");
    assert!((80..=125).contains(&percent), "{comparison}");
    made
}

fn hour(n: i64) -> CellSlot {
    let time = EventTime::from_ms(n * 3_600_000).expect("a year of ours");
    slot(Granularity::Hour, time)
}

fn scan_key(key: usize) -> ScanKey {
    ScanKey::of(Counter::new("plays", format!("track-{key:08}")))
}

/// `counters` counters of `cells` cells, one event each, below the cut or above it.
fn totals(counters: usize, cells: i64, is_below: bool) -> RangeTotals {
    let cut = if is_below { i64::MAX } else { 0 };
    let mut totals = RangeTotals::new(Offsets([(P, Offset(cut))].into()));
    for n in 0..cells {
        for key in 0..counters {
            let slots = PackedSlot::pack(hour(n)).into_iter();
            totals.add(P, Offset(0), &scan_key(key), slots, Amount(1));
        }
    }
    totals
}

/// All cells of the totals, missing in the table.
fn missing(totals: &RangeTotals) -> Verdicts {
    let mut verdicts = Verdicts::default();
    totals.in_scan_order(&TokenSelection::ALL, |key, totals| {
        // As the merge-join has it: a copy of the texts, shared by the cells of the counter.
        let Counter { name, key } = key.counter();
        let counter = Counter::new(name.0.to_string(), key.0.to_string());
        for (slot, total) in totals {
            let (counter, slot) = (counter.clone(), slot.unpack());
            verdicts.judge(Cell { counter, slot }, *total, Count(0));
        }
    });
    verdicts
}

fn phantoms(counters: usize) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for key in 0..counters {
        let counter = scan_key(key).counter().clone();
        let slot = hour(0);
        verdicts.judge(Cell { counter, slot }, Count(0), Count(1));
    }
    verdicts
}

#[test]
fn estimates_of_memory_are_about_right() {
    let small = measured(
        "one cell a counter",
        || totals(100_000, 1, true),
        RangeTotals::bytes,
    );
    let large = measured(
        "many cells a counter",
        || totals(5_000, 100, true),
        RangeTotals::bytes,
    );
    let above = measured(
        "cells above the cut",
        || totals(5_000, 100, false),
        RangeTotals::bytes,
    );
    let wrong = measured(
        "wrong cells, one a counter",
        || missing(&small),
        Verdicts::bytes,
    );
    let many = measured(
        "wrong cells, many a counter",
        || missing(&large),
        Verdicts::bytes,
    );
    let phantoms = measured("phantoms", || phantoms(100_000), Verdicts::bytes);
    drop((small, large, above, wrong, many, phantoms));
}
