use super::*;
use futures_util::FutureExt;
use proptest::prelude::*;
use std::collections::BTreeMap;
use stitch_common::cell::{Amount, Bucket, Granularity, Key};
use stitch_testkit::samples::{BITS, definitions, everything, slot_at};
use stitch_totals::scan_key::{PackedSlot, ScanKey};
use stitch_totals::sorted::snapshot::{Snapshot, SnapshotCounter};
use stitch_totals::sorted::sorter::LocalCells;

fn hour(n: i64) -> CellSlot {
    slot_at(Granularity::Hour, n * 3_600_000)
}

fn at(name: &str, key: &str, slot: CellSlot) -> Cell {
    Cell {
        counter: Counter::new(name, key),
        slot,
    }
}

/// The cells in scan order, half of each count in another stream.
fn expected(cells: &BTreeMap<Cell, i64>, names: &CounterNames) -> Merge<LocalCells> {
    let mut counters = BTreeMap::<ScanKey, BTreeMap<PackedSlot, i64>>::new();
    for (cell, total) in cells {
        let key = ScanKey::of(cell.counter.clone());
        let slot = PackedSlot::pack(cell.slot).unwrap();
        counters.entry(key).or_default().insert(slot, *total);
    }
    let part = |of: fn(i64) -> i64| {
        let mut snapshot = Snapshot::default();
        for (key, totals) in &counters {
            let counter = SnapshotCounter {
                token: key.token(),
                name: names.rank(&key.counter().name.0).unwrap(),
                key: key.counter().key.clone(),
            };
            snapshot.push(
                counter,
                totals
                    .iter()
                    .map(|(slot, total)| (*slot, Amount(of(*total)))),
            );
        }
        LocalCells::Snapshot(snapshot)
    };
    Merge::new(vec![
        part(|total| total / 2),
        part(|total| total - total / 2),
    ])
}

fn scan(cells: &BTreeMap<Cell, i64>) -> Vec<Row> {
    let row = |(cell, value): (&Cell, &i64)| {
        (
            cell.counter.token(),
            cell.counter.clone(),
            cell.slot,
            Count(*value),
        )
    };
    let mut rows: Vec<Row> = cells.iter().map(row).collect();
    rows.sort_by(|a, b| in_scan_order(a.0, &a.1, b.0, &b.1).then(a.2.cmp(&b.2)));
    rows
}

fn merged(expected: &BTreeMap<Cell, i64>, rows: &[Row], page: usize, scope: &Scope) -> Verdicts {
    let definitions = definitions();
    let wanted = Wanted {
        definitions: &definitions,
        scope,
    };
    let names = CounterNames::new(&definitions);
    let mut join = Join::new(wanted, &names, self::expected(expected, &names));
    for rows in rows.chunks(page) {
        join.rows(rows).now_or_never().unwrap().unwrap();
    }
    join.finish().now_or_never().unwrap().unwrap()
}

fn cells() -> impl Strategy<Value = BTreeMap<Cell, i64>> {
    let names = prop_oneof![Just("plays"), Just("bytes")];
    let cell =
        (names, 0..6_u8, -2..3_i64).prop_map(|(name, key, n)| at(name, &key.to_string(), hour(n)));
    proptest::collection::btree_map(cell, -2..3_i64, 0..25)
}

proptest! {
    /// The merge finds exactly the cells whose counts differ, a missing row being 0, however the rows are paged.
    #[test]
    fn exactly_the_cells_that_differ_are_wrong(expected in cells(), current in cells(), page in 1..7_usize) {
        let verdicts = merged(&expected, &scan(&current), page, &everything());
        let of = |cells: &BTreeMap<Cell, i64>, cell: &Cell| Count(cells.get(cell).copied().unwrap_or(0));
        let mut differing = Verdicts::default();
        for cell in expected.keys().chain(current.keys()) {
            differing.judge(cell.clone(), of(&expected, cell), of(&current, cell));
        }
        prop_assert_eq!(verdicts, differing);
    }

    #[test]
    fn scans_of_all_intervals_find_what_one_scan_finds(expected in cells(), current in cells()) {
        let mut together = Verdicts::default();
        for range in BITS.ranges() {
            let interval = BITS.interval(range);
            let inside = |cells: &BTreeMap<Cell, i64>| {
                let mut cells = cells.clone();
                cells.retain(|cell, _| interval.contains(cell.counter.token()));
                cells
            };
            together.extend(merged(&inside(&expected), &scan(&inside(&current)), 9, &everything()));
        }
        prop_assert_eq!(together, merged(&expected, &scan(&current), 9, &everything()));
    }

    /// What is expected is summed up on the way, whatever the table holds.
    #[test]
    fn the_expected_cells_in_scope_are_counted_and_added_up(expected in cells(), current in cells(), all in any::<bool>()) {
        let mut scope = everything();
        if !all {
            scope.counter = Some(CounterName("plays".into()));
        }
        let verdicts = merged(&expected, &scan(&current), 9, &scope);
        let in_scope = expected.iter().filter(|(cell, total)| scope.has_counter(&cell.counter) && **total != 0);
        let mut sums = BTreeMap::new();
        for (cell, total) in in_scope.clone() {
            *sums.entry(cell.counter.name.clone()).or_insert(0_i128) += i128::from(*total);
        }
        prop_assert_eq!(verdicts.expected_cells(), u64::try_from(in_scope.count()).unwrap());
        prop_assert_eq!(verdicts.expected_sums(), &sums);
    }
}

#[test]
fn a_counter_that_no_definition_names_is_reported_and_not_judged() {
    let unnamed = BTreeMap::from([
        (at("skips", "a", hour(0)), 3),
        (at("skips", "b", hour(0)), 3),
    ]);
    let verdicts = merged(&BTreeMap::new(), &scan(&unnamed), 9, &everything());
    assert!(verdicts.wrong().is_empty());
    assert_eq!(verdicts.unnamed_counters()[&CounterName("skips".into())], 2);
}

#[test]
fn cells_out_of_scope_are_not_judged() {
    let current = BTreeMap::from([
        (at("bytes", "a", hour(0)), 3),
        (at("plays", "b", hour(0)), 3),
    ]);
    let mut scope = everything();
    scope.counter = Some(CounterName("plays".into()));
    scope.key = Some(Key("a".into()));
    assert!(
        merged(&BTreeMap::new(), &scan(&current), 9, &scope)
            .wrong()
            .is_empty()
    );
    assert!(
        merged(&current, &[], 9, &scope).wrong().is_empty(),
        "nor are those that are missing"
    );
    scope.key = None;
    for (expected, rows) in [
        (BTreeMap::new(), scan(&current)),
        (current.clone(), Vec::new()),
    ] {
        assert_eq!(merged(&expected, &rows, 9, &scope).wrong().len(), 1);
    }
}

#[test]
fn a_row_that_no_event_can_be_in_is_a_phantom() {
    let odd = CellSlot {
        granularity: Granularity::Hour,
        bucket: Bucket(1),
    };
    let expected = BTreeMap::from([(at("plays", "a", hour(0)), 3)]);
    let mut current = expected.clone();
    current.insert(at("plays", "a", odd), 5);
    let verdicts = merged(&expected, &scan(&current), 9, &everything());
    let wrong: Vec<_> = verdicts.wrong().iter().collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!((wrong[0].0.slot, wrong[0].1.expected), (odd, Count(0)));
}

#[test]
fn a_scan_out_of_order_is_refused() {
    let current = BTreeMap::from([
        (at("plays", "a", hour(0)), 3),
        (at("plays", "a", hour(1)), 3),
    ]);
    let mut rows = scan(&current);
    rows.reverse();
    let (definitions, scope) = (definitions(), everything());
    let wanted = Wanted {
        definitions: &definitions,
        scope: &scope,
    };
    let names = CounterNames::new(&definitions);
    let twice = vec![rows[0].clone(), rows[0].clone()];
    for rows in [rows, twice] {
        let nothing = expected(&BTreeMap::new(), &names);
        let mut join = Join::new(wanted, &names, nothing);
        let refused = join.rows(&rows).now_or_never().unwrap();
        assert!(matches!(refused, Err(Error::OutOfOrder(_))), "{refused:?}");
    }
}
