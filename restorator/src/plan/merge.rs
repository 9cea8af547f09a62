//! Merge-joins the expected totals with a scan of the table, both in the order of the scan. Pure.
//!
//! It finds missing cells as well as phantoms, in memory that does not grow with the number of cells.

use stitch_common::cell::{Cell, CellSlot, Count, Counter, CounterName};
use stitch_common::definition::Definitions;
use stitch_common::range::TokenInterval;
use stitch_common::scope::Scope;
use stitch_common::token::Token;
use stitch_totals::range_totals::RangeTotals;
use stitch_totals::scan_key::in_scan_order;

use crate::plan::judge::Verdicts;

/// A row of the scan.
pub(crate) type Row = (Token, Counter, CellSlot, Count);

/// Joins the scan of one token interval with the totals of the range that it is in. Their cut must not advance meanwhile.
#[derive(Debug)]
pub(crate) struct Merge {
    /// Counters of the totals in the interval that the scan has not reached yet, in reverse order.
    ahead: Vec<u32>,
    current: Option<CurrentCounter>,
    verdicts: Verdicts,
}

/// The counter that the scan is in.
#[derive(Debug)]
struct CurrentCounter {
    token: Token,
    counter: Counter,
    slot: CellSlot,
    scoping: Scoping,
    /// Totals of this counter that the scan has not reached yet, in reverse order.
    ahead: Vec<(CellSlot, Count)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scoping {
    InScope,
    OutOfScope,
    /// No definition names it.
    Unnamed,
}

/// The scan returned rows in another order than the table's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scan gave {0} out of order")]
pub struct OutOfOrder(pub Cell);

/// Which rows of the scan are judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub definitions: &'a Definitions,
    pub scope: &'a Scope,
}

impl Wanted<'_> {
    fn scoping(self, counter: &Counter) -> Scoping {
        let CounterName(name) = &counter.name;
        if self.definitions.counter(name).is_none() {
            return Scoping::Unnamed;
        }
        if self.scope.has_counter(counter) {
            Scoping::InScope
        } else {
            Scoping::OutOfScope
        }
    }
}

impl Merge {
    pub(crate) fn new(totals: &RangeTotals, interval: TokenInterval) -> Self {
        let mut ahead = totals.in_scan_order(interval);
        ahead.reverse();
        Self {
            ahead,
            current: None,
            verdicts: Verdicts::default(),
        }
    }

    /// Joins the next rows.
    pub(crate) fn rows(
        &mut self,
        wanted: Wanted<'_>,
        totals: &RangeTotals,
        rows: &[Row],
    ) -> Result<(), OutOfOrder> {
        for (token, counter, slot, current) in rows {
            let is_same_counter = match &self.current {
                Some(at) => {
                    let order = in_scan_order(at.token, &at.counter, *token, counter);
                    if order.is_gt() || (order.is_eq() && at.slot >= *slot) {
                        return Err(OutOfOrder(cell(counter, *slot)));
                    }
                    order.is_eq()
                }
                None => false,
            };
            if !is_same_counter {
                self.enter(wanted, totals, *token, counter, *slot);
            }
            self.judge_row(*slot, *current);
        }
        Ok(())
    }

    /// About how many bytes the verdicts take so far.
    pub(crate) const fn bytes(&self) -> usize {
        self.verdicts.bytes()
    }

    /// Ends the scan of the interval: every counter that it has not reached is missing.
    pub(crate) fn finish(mut self, totals: &RangeTotals) -> Verdicts {
        self.leave();
        while let Some(counter) = self.ahead.pop() {
            self.missing(totals, counter);
        }
        self.verdicts
    }

    /// Moves on to the next counter of the scan.
    fn enter(
        &mut self,
        wanted: Wanted<'_>,
        totals: &RangeTotals,
        token: Token,
        counter: &Counter,
        slot: CellSlot,
    ) {
        self.leave();
        let mut expected = Vec::new();
        let mut counter = counter;
        while let Some(&next) = self.ahead.last() {
            let key = totals.scan_key(next);
            let order = in_scan_order(key.token(), key.counter(), token, counter);
            if order.is_gt() {
                break;
            }
            self.ahead.pop();
            if order.is_eq() {
                expected = totals.totals(next).collect();
                expected.reverse();
                // The same texts, but shared with the totals.
                counter = key.counter();
                break;
            }
            self.missing(totals, next);
        }
        self.current = Some(CurrentCounter {
            token,
            counter: counter.clone(),
            slot,
            scoping: wanted.scoping(counter),
            ahead: expected,
        });
    }

    /// Leaves the counter: every total that its rows have not reached is missing.
    fn leave(&mut self) {
        if let Some(at) = self.current.take() {
            for (slot, expected) in at.ahead.into_iter().rev() {
                let cell = cell(&at.counter, slot);
                self.verdicts.judge(cell, expected, Count(0));
            }
        }
    }

    /// A counter without any row: all of its totals are missing.
    fn missing(&mut self, totals: &RangeTotals, counter: u32) {
        let name = totals.scan_key(counter).counter();
        for (slot, expected) in totals.totals(counter) {
            self.verdicts.judge(cell(name, slot), expected, Count(0));
        }
    }

    fn judge_row(&mut self, slot: CellSlot, current: Count) {
        let Some(at) = &mut self.current else {
            return;
        };
        at.slot = slot;
        match at.scoping {
            Scoping::OutOfScope => return,
            Scoping::Unnamed => return self.verdicts.note_unnamed(&at.counter.name, 1),
            Scoping::InScope => {}
        }
        let mut expected = Count(0);
        while let Some(&(next, total)) = at.ahead.last() {
            if next > slot {
                break;
            }
            at.ahead.pop();
            if next == slot {
                expected = total;
                break;
            }
            let cell = cell(&at.counter, next);
            self.verdicts.judge(cell, total, Count(0));
        }
        if expected != current {
            let cell = cell(&at.counter, slot);
            self.verdicts.judge(cell, expected, current);
        }
    }
}

fn cell(counter: &Counter, slot: CellSlot) -> Cell {
    Cell {
        counter: counter.clone(),
        slot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use stitch_common::cell::{Amount, Bucket, Granularity, Key};
    use stitch_common::offset::{Offset, Partition};
    use stitch_common::range::RangeBits;
    use stitch_testkit::samples::{BITS, definitions, everything, offsets, slot_at};
    use stitch_totals::scan_key::{PackedSlot, ScanKey};

    fn hour(n: i64) -> CellSlot {
        slot_at(Granularity::Hour, n * 3_600_000)
    }

    fn at(name: &str, key: &str, slot: CellSlot) -> Cell {
        cell(&Counter::new(name, key), slot)
    }

    fn totals(cells: &BTreeMap<Cell, i64>) -> RangeTotals {
        let mut totals = RangeTotals::new(offsets(&[(0, 1)]));
        for (cell, total) in cells {
            let key = ScanKey::of(cell.counter.clone());
            let slots = PackedSlot::pack(cell.slot).into_iter();
            totals.add(Partition(0), Offset(0), &key, slots, Amount(*total));
        }
        totals
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

    fn whole() -> TokenInterval {
        let none = RangeBits::new(0).unwrap();
        none.interval(stitch_common::range::RangeId(0))
    }

    fn merged(
        expected: &BTreeMap<Cell, i64>,
        rows: &[Row],
        page: usize,
        scope: &Scope,
    ) -> Verdicts {
        let definitions = definitions();
        let wanted = Wanted {
            definitions: &definitions,
            scope,
        };
        let totals = totals(expected);
        let mut merge = Merge::new(&totals, whole());
        for rows in rows.chunks(page) {
            merge.rows(wanted, &totals, rows).unwrap();
        }
        merge.finish(&totals)
    }

    fn cells() -> impl Strategy<Value = BTreeMap<Cell, i64>> {
        let names = prop_oneof![Just("plays"), Just("bytes")];
        let cell = (names, 0..6_u8, -2..3_i64)
            .prop_map(|(name, key, n)| at(name, &key.to_string(), hour(n)));
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
            let definitions = definitions();
            let scope = everything();
            let wanted = Wanted { definitions: &definitions, scope: &scope };
            let mut together = Verdicts::default();
            for range in BITS.ranges() {
                let totals = totals(&expected);
                let interval = BITS.interval(range);
                let mut merge = Merge::new(&totals, interval);
                let rows: Vec<Row> = scan(&current).into_iter().filter(|row| interval.contains(row.0)).collect();
                merge.rows(wanted, &totals, &rows).unwrap();
                together.extend(merge.finish(&totals));
            }
            prop_assert_eq!(together, merged(&expected, &scan(&current), 9, &scope));
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
        scope.key = None;
        assert_eq!(
            merged(&BTreeMap::new(), &scan(&current), 9, &scope)
                .wrong()
                .len(),
            1
        );
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
        let totals = totals(&BTreeMap::new());
        assert!(
            Merge::new(&totals, whole())
                .rows(wanted, &totals, &rows)
                .is_err()
        );
        let twice = [rows[0].clone(), rows[0].clone()];
        assert!(
            Merge::new(&totals, whole())
                .rows(wanted, &totals, &twice)
                .is_err()
        );
    }
}
