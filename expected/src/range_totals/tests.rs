use super::*;
use proptest::prelude::*;
use stitch_common::cell::Granularity;
use stitch_testkit::samples::{offsets, slot_at};

const P: Partition = Partition(0);

fn scan_key(key: &str) -> ScanKey {
    ScanKey::of(Counter::new("plays", key))
}

fn hour(n: i64) -> CellSlot {
    slot_at(Granularity::Hour, n * 3_600_000)
}

fn put(totals: &mut RangeTotals, partition: i32, offset: i64, key: &str, hour_n: i64, amount: i64) {
    let slot = PackedSlot::pack(hour(hour_n)).unwrap();
    let amount = Amount(amount);
    let slots = std::iter::once(slot);
    totals.add(
        Partition(partition),
        Offset(offset),
        &scan_key(key),
        slots,
        amount,
    );
}

fn passed(totals: &mut RangeTotals) -> Vec<String> {
    let passed = totals.take_passed().unwrap_or_default().into_iter();
    names(passed.map(|(cell, _)| cell))
}

fn names(cells: impl IntoIterator<Item = Cell>) -> Vec<String> {
    cells
        .into_iter()
        .map(|cell| cell.counter.key.0.to_string())
        .collect()
}

#[test]
fn events_below_the_cut_are_summed_and_events_above_it_make_cells_dirty() {
    let mut totals = RangeTotals::new(offsets(&[(0, 2), (1, 1)]));
    put(&mut totals, 0, 0, "a", 0, 5);
    put(&mut totals, 0, 1, "a", 0, 1);
    put(&mut totals, 0, 2, "b", 0, 1);
    put(&mut totals, 1, 0, "a", 0, 10);
    put(&mut totals, 1, 1, "c", 0, 1);
    put(&mut totals, 2, 0, "d", 0, 1);
    assert_eq!(totals.expected(&scan_key("a"), hour(0)), Count(16));
    assert_eq!(totals.expected(&scan_key("b"), hour(0)), Count(0));
    assert_eq!(
        names(totals.dirty()),
        ["b", "c", "d"],
        "a partition without cut starts at 0"
    );
}

#[test]
fn events_that_an_advancing_cut_passes_go_into_the_totals() {
    let mut totals = RangeTotals::new(offsets(&[(0, 0)]));
    totals.note_passed();
    put(&mut totals, 0, 0, "a", 0, 1);
    put(&mut totals, 0, 1, "b", 0, 1);
    totals.advance(&offsets(&[(0, 1)])).unwrap();
    assert_eq!(totals.expected(&scan_key("a"), hour(0)), Count(1));
    assert_eq!(names(totals.dirty()), ["b"]);
    assert_eq!(passed(&mut totals), ["a"]);
    assert_eq!(passed(&mut totals), Vec::<String>::new());
}

#[test]
fn events_below_a_cut_that_is_ahead_of_the_reading_are_summed_when_they_are_read() {
    let mut totals = RangeTotals::new(offsets(&[]));
    totals.note_passed();
    totals.advance(&offsets(&[(0, 2)])).unwrap();
    put(&mut totals, 0, 0, "a", 0, 1);
    put(&mut totals, 0, 2, "b", 0, 1);
    assert_eq!(totals.expected(&scan_key("a"), hour(0)), Count(1));
    assert_eq!(passed(&mut totals), ["a"]);
    assert_eq!(names(totals.dirty()), ["b"]);
}

#[test]
fn a_cut_that_goes_back_is_refused() {
    let mut totals = RangeTotals::new(offsets(&[(0, 5)]));
    let refused = |is| {
        let (partition, was) = (P, Offset(5));
        let is = Offset(is);
        AdvanceError::from(CheckpointRegression { partition, was, is })
    };
    assert_eq!(totals.advance(&offsets(&[(0, 4)])), Err(refused(4)));
    let lost = totals.advance(&offsets(&[]));
    assert_eq!(lost, Err(refused(0)), "a checkpoint that is gone is at 0");
}

#[test]
fn a_sum_of_zero_is_no_cell() {
    let mut totals = RangeTotals::new(offsets(&[(0, 9)]));
    put(&mut totals, 0, 0, "a", 0, 5);
    put(&mut totals, 0, 1, "a", 0, -5);
    assert_eq!(totals.cells(), 0);
}

#[test]
fn further_events_of_a_cell_take_no_further_memory() {
    let mut totals = RangeTotals::new(offsets(&[(0, i64::MAX)]));
    totals.note_passed();
    for offset in 0..100 {
        put(&mut totals, 0, offset, "a", offset % 20, 1);
    }
    let bytes = totals.bytes();
    for offset in 100..10_000 {
        put(&mut totals, 0, offset, "a", offset % 20, 1);
    }
    assert_eq!(totals.bytes(), bytes);
}

#[test]
fn events_that_the_cut_has_passed_take_only_the_memory_of_their_cells() {
    let mut totals = RangeTotals::new(offsets(&[]));
    put(&mut totals, 0, 0, "a", 0, 1);
    for offset in 1..10_000 {
        put(&mut totals, 0, offset, "a", 0, 1);
    }
    assert!(totals.bytes_above_cut() >= 10_000 * size_of::<Increment>());
    totals.advance(&offsets(&[(0, 9_999)])).unwrap();
    assert!(totals.bytes_above_cut() <= 2 * size_of::<Increment>());
    totals.advance(&offsets(&[(0, 10_000)])).unwrap();
    assert_eq!(totals.bytes_above_cut(), 0);
    assert_eq!(totals.expected(&scan_key("a"), hour(0)), Count(10_000));
}

/// The example: base cut 10, events at 10, 50 and 99, a later cut at 30. A checkpoint may go on to 50 without passing an
/// event.
#[test]
fn an_event_is_passed_only_by_an_offset_beyond_it() {
    let mut totals = RangeTotals::new(offsets(&[(0, 10)]));
    for offset in [10, 50, 99] {
        put(&mut totals, 0, offset, "a", 0, 1);
    }
    totals.advance(&offsets(&[(0, 30)])).unwrap();
    for now in [30, 31, 50] {
        assert_eq!(
            totals.event_between_cut_and(&offsets(&[(0, now)])),
            Ok(None),
            "{now}"
        );
    }
    assert_eq!(
        totals.event_between_cut_and(&offsets(&[(0, 51)])),
        Ok(Some(P)),
    );
    assert_eq!(totals.event_between_cut_and(&offsets(&[(1, 51)])), Ok(None),);
}

#[test]
fn events_that_do_not_fit_take_only_the_memory_of_their_cells_and_stop_the_cut() {
    let mut totals = RangeTotals::new(offsets(&[(0, 1)]));
    put(&mut totals, 0, 0, "a", 0, 1);
    put(&mut totals, 0, 1, "b", 0, 1);
    totals.overflow();
    put(&mut totals, 0, 2, "c", 0, 1);
    let bytes = totals.bytes();
    for offset in 3..10_000 {
        put(&mut totals, 0, offset, "c", 0, 1);
    }
    assert_eq!(totals.bytes(), bytes);
    assert_eq!(names(totals.dirty()), ["b", "c"]);
    assert_eq!(totals.expected(&scan_key("a"), hour(0)), Count(1));
    assert_eq!(totals.advance(&offsets(&[(0, 2)])), Err(Overflow.into()));
    assert_eq!(
        totals.event_between_cut_and(&offsets(&[(0, 2)])),
        Err(Overflow)
    );
    assert_eq!(totals.cut(), &offsets(&[(0, 1)]));
}

/// What a cell should hold is foreseen by what has not passed yet; what has is added to it.
#[test]
fn dirty_cells_are_foreseen_first_and_none_that_the_cut_has_passed() {
    let mut totals = RangeTotals::new(offsets(&[(0, 0)]));
    totals.note_passed();
    put(&mut totals, 0, 0, "passed", 0, 1);
    put(&mut totals, 0, 1, "dirty", 0, 1);
    put(&mut totals, 0, 2, "beyond", 0, 1);
    put(&mut totals, 0, 3, "passed", 0, 1);
    totals.set_ceiling(offsets(&[(0, 2)]));
    totals.advance(&offsets(&[(0, 1)])).unwrap();
    assert_eq!(names(totals.dirty_soon(2)), ["beyond", "dirty"]);
    assert_eq!(names(totals.dirty_soon(1)), ["dirty"]);
    let cell = |key: &str| Cell {
        counter: Counter::new("plays", key),
        slot: hour(0),
    };
    assert_eq!(
        ["passed", "dirty", "none"].map(|key| totals.is_passed(&cell(key))),
        [true, false, false]
    );
}

#[test]
fn nothing_is_kept_of_events_above_a_final_cut() {
    let mut totals = RangeTotals::new(offsets(&[(0, 1)]));
    put(&mut totals, 0, 0, "a", 0, 1);
    put(&mut totals, 0, 1, "b", 0, 1);
    totals.finish();
    let bytes = totals.bytes();
    put(&mut totals, 0, 2, "c", 0, 1);
    assert_eq!((totals.bytes(), totals.bytes_above_cut()), (bytes, 0));
    assert_eq!(totals.expected(&scan_key("a"), hour(0)), Count(1));
    assert!(!totals.has_free_cut());
}

#[derive(Clone, Debug)]
enum Step {
    Read {
        partition: i32,
        key: u8,
        amount: i64,
    },
    Advance {
        partition: i32,
        by: i64,
    },
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_i32, 0..4_u8, any::<i64>())
            .prop_map(|(partition, key, amount)| Step::Read { partition, key, amount }),
        3 => (0..2_i32, 0..4_i64).prop_map(|(partition, by)| Step::Advance { partition, by }),
        1 => Just(Step::Take),
    ]
}

proptest! {
    /// However reading and cut go on: totals are the sums of the events below the cut,
    /// every cell with an event at or above it is dirty, and every cell that the cut passes is returned once, with what
    /// passed. Taking sums out changes none of it.
    #[test]
    fn totals_are_the_sums_of_the_events_below_the_cut(steps in proptest::collection::vec(step(), 0..60)) {
        let mut totals = RangeTotals::new(offsets(&[]));
        totals.note_passed();
        let mut log: Vec<(Partition, Offset, u8, i64)> = Vec::new();
        let mut ends = [0_i64; 2];
        let mut cut = [0_i64; 2];
        let (mut taken, mut noted) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Read { partition, key, amount } => {
                    let index = usize::try_from(partition).unwrap();
                    let offset = ends[index];
                    ends[index] += 1;
                    log.push((Partition(partition), Offset(offset), key, amount));
                    put(&mut totals, partition, offset, &key.to_string(), 0, amount);
                    if Offset(offset) < totals.cut().of(Partition(partition)) {
                        let sum = noted.entry(key.to_string()).or_insert(Amount(0));
                        *sum = sum.plus(Amount(amount));
                    }
                }
                Step::Advance { partition, by } => {
                    let before = totals.cut().clone();
                    cut[usize::try_from(partition).unwrap()] += by;
                    let to = offsets(&[(0, cut[0]), (1, cut[1])]);
                    totals.advance(&to).unwrap();
                    let passed: BTreeMap<String, Amount> = totals
                        .take_passed()
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(cell, amount)| (cell.counter.key.0.to_string(), amount))
                        .collect();
                    for (p, offset, key, amount) in &log {
                        if *offset >= before.of(*p) && *offset < to.of(*p) {
                            let sum = noted.entry(key.to_string()).or_insert(Amount(0));
                            *sum = sum.plus(Amount(*amount));
                        }
                    }
                    prop_assert_eq!(passed, std::mem::take(&mut noted));
                }
                Step::Take => {
                    for (key, totals) in totals.take_counted() {
                        let key: u8 = key.counter().key.0.parse().unwrap();
                        for count in totals.values() {
                            let sum = taken.entry(key).or_insert(0_i64);
                            *sum = sum.wrapping_add(count.0);
                        }
                    }
                }
            }
            let dirty = names(totals.dirty());
            for key in 0..4_u8 {
                let below = log.iter().filter(|(p, offset, k, _)| *k == key && *offset < totals.cut().of(*p));
                let sum = below.fold(0_i64, |sum, (_, _, _, amount)| sum.wrapping_add(*amount));
                let in_memory = totals.expected(&scan_key(&key.to_string()), hour(0)).0;
                let taken = taken.get(&key).copied().unwrap_or_default();
                prop_assert_eq!(in_memory.wrapping_add(taken), sum);
                let above = log.iter().any(|(p, offset, k, _)| *k == key && *offset >= totals.cut().of(*p));
                prop_assert_eq!(above, dirty.contains(&key.to_string()));
            }
        }
    }

    #[test]
    fn counters_in_scan_order_are_ordered_by_token(keys in proptest::collection::btree_set("[a-z]{1,3}", 0..30)) {
        let mut totals = RangeTotals::new(offsets(&[(0, 1)]));
        for key in &keys {
            put(&mut totals, P.0, 0, key, 0, 1);
        }
        let mut tokens = Vec::new();
        totals.in_scan_order(&TokenSelection::ALL, |key, _| tokens.push(key.token()));
        prop_assert_eq!(tokens.len(), keys.len());
        prop_assert!(tokens.is_sorted());
        let wanted = TokenSelection::listed(tokens.iter().copied().take(2));
        let mut some = Vec::new();
        totals.in_scan_order(&wanted, |key, _| some.push(key.token()));
        prop_assert_eq!(some, tokens.iter().copied().take(2).collect::<Vec<_>>());
    }
}

#[test]
fn what_a_free_cut_has_passed_can_be_forgotten_and_what_a_held_one_has_passed_cannot() {
    for (is_held, kept) in [(false, None), (true, Some(1))] {
        let mut totals = RangeTotals::new(offsets(&[(0, 0)]));
        totals.note_passed();
        put(&mut totals, 0, 0, "a", 0, 1);
        totals.advance(&offsets(&[(0, 1)])).unwrap();
        if is_held {
            totals.hold_cut();
        }
        totals.forget_passed();
        assert_eq!(totals.take_passed().map(|cells| cells.len()), kept);
        assert_eq!(
            totals.take_passed().map(|cells| cells.len()),
            Some(0),
            "noted again"
        );
    }
}
