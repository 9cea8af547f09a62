//! What the restorator knows: the product's own range totals and verdicts, computed from the log on each use, so that a
//! state need not hold them.

use std::collections::BTreeSet;

use stitch_common::cell::{Amount, Cell, Count};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_expected::range_totals::RangeTotals;
use stitch_restorator::plan::judge::{Drift, Verdicts};
use stitch_restorator::restoration::{at_rest, dirty, verify};

use crate::bounds::{Bounds, CELLS, PARTITIONS};
use crate::rule::Rule;
use crate::state::{Cut, Restorator};

/// One offset for each partition.
pub(crate) type Ends = [u8; PARTITIONS];

pub(crate) fn of_range(cut: &Cut, range: usize) -> Ends {
    cut.map(|offsets| offsets[range])
}

fn partition(number: usize) -> Partition {
    Partition(i32::try_from(number).expect("two partitions"))
}

fn offsets(bounds: &Bounds, ends: &Ends) -> Offsets {
    let each = (0..bounds.log.len()).map(|p| (partition(p), Offset(ends[p].into())));
    Offsets(each.collect())
}

fn count(value: i16) -> Count {
    Count(value.into())
}

fn value(count: Count) -> i16 {
    i16::try_from(count.0).expect("few events")
}

/// The totals of a range with this cut, after the log was read up to `ends`.
fn totals(bounds: &Bounds, range: usize, cut: &Ends, ends: &Ends) -> RangeTotals {
    let mut totals = RangeTotals::new(offsets(bounds, cut));
    for (p, events) in bounds.log.iter().enumerate() {
        for (at, event) in events.iter().enumerate().take(usize::from(ends[p])) {
            for &cell in event.iter().filter(|cell| bounds.cells[**cell] == range) {
                let one = bounds.product(cell);
                let at_offset = Offset(i64::try_from(at).expect("few events"));
                let amount = Amount(bounds.amount(p, at).into());
                let slots = std::iter::once(one.slot);
                totals.add(partition(p), at_offset, &one.scan_key, slots, amount);
            }
        }
    }
    totals
}

/// The expected value of a cell at the cut.
fn expected(bounds: &Bounds, totals: &RangeTotals, cell: usize) -> Count {
    let one = bounds.product(cell);
    totals.expected(&one.scan_key, one.cell.slot)
}

/// Judges the value of a cell at this cut: its correction, 0 if it is right.
pub(crate) fn judge(bounds: &Bounds, cut: &Cut, cell: usize, current: i16) -> i16 {
    let range = bounds.cells[cell];
    let cut = of_range(cut, range);
    let expected = expected(bounds, &totals(bounds, range, &cut, &cut), cell);
    let drift = Drift::between(expected, count(current));
    drift.map_or(0, |drift| value(Count(drift.correction().0)))
}

/// The totals of a range with this cut and these ceilings, after the whole log was read.
fn bounded(bounds: &Bounds, range: usize, cut: &Ends, ceilings: &Ends) -> RangeTotals {
    let mut totals = totals(bounds, range, cut, &whole(bounds));
    totals.set_ceiling(offsets(bounds, ceilings));
    totals
}

fn whole(bounds: &Bounds) -> Ends {
    let mut ends = Ends::default();
    for (end, events) in ends.iter_mut().zip(&bounds.log) {
        *end = u8::try_from(events.len()).expect("few events");
    }
    ends
}

/// The cells with an event from the cut up to the ceilings: they cannot be judged.
pub(crate) fn dirty(bounds: &Bounds, cut: &Cut, ceilings: &Cut) -> [bool; CELLS] {
    let mut dirty = [false; CELLS];
    for range in 0..bounds.ranges() {
        let (cut, ceilings) = (of_range(cut, range), of_range(ceilings, range));
        let totals = bounded(bounds, range, &cut, &ceilings);
        set(bounds, totals.dirty().iter(), &mut dirty);
    }
    dirty
}

fn set<'a>(bounds: &Bounds, cells: impl Iterator<Item = &'a Cell>, into: &mut [bool; CELLS]) {
    for cell in cells.filter_map(|cell| bounds.index_of(cell)) {
        into[cell] = true;
    }
}

/// The cells of a range with an event that a later cut has passed: converging reads them again.
pub(crate) fn passed(bounds: &Bounds, base: &Cut, later: &Cut, range: usize) -> [bool; CELLS] {
    let (base, later) = (of_range(base, range), of_range(later, range));
    let mut totals = totals(bounds, range, &base, &later);
    totals.note_passed();
    let mut passed = [false; CELLS];
    if totals.advance(&offsets(bounds, &later)).is_ok() {
        let cells = totals.take_passed().expect("they are noted");
        set(bounds, cells.iter().map(|(cell, _)| cell), &mut passed);
    }
    passed
}

/// The cells to correct without a lock, by the product's rule, each once.
pub(crate) fn wrong_at_rest(bounds: &Bounds, knows: &Restorator, ceilings: &Cut) -> [bool; CELLS] {
    let dirty = dirty(bounds, &knows.base, ceilings);
    let named = (0..bounds.cells.len()).filter(|cell| dirty[*cell]);
    let named = named.filter(|_| !bounds.lacks(Rule::CorrectAtRest));
    let named: BTreeSet<Cell> = named
        .map(|cell| bounds.product(cell).cell.clone())
        .collect();
    let mut sure = [false; CELLS];
    for range in 0..bounds.ranges() {
        let wrong = at_rest::wrong_cells(&verdicts(bounds, knows, range), &named);
        set(bounds, wrong.iter().map(|(cell, _)| cell), &mut sure);
    }
    let corrected = knows.corrected.iter();
    sure.iter_mut()
        .zip(corrected)
        .for_each(|(sure, corrected)| *sure &= !corrected);
    sure
}

fn verdicts(bounds: &Bounds, knows: &Restorator, range: usize) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for cell in bounds.cells_of(range) {
        let (current, wrong) = (knows.read[cell], knows.wrong[cell]);
        let cell = bounds.product(cell).cell.clone();
        verdicts.judge(cell, count(current + wrong), count(current));
    }
    verdicts
}

/// The cells of a range to read under its lock, by the product's rule; `None` if the cut went back.
pub(crate) fn to_read(
    bounds: &Bounds,
    knows: &Restorator,
    range: usize,
    cut: &Ends,
    ceilings: &Ends,
) -> Option<[bool; CELLS]> {
    let mut totals = bounded(bounds, range, &of_range(&knows.base, range), ceilings);
    totals.note_passed();
    totals.advance(&offsets(bounds, cut)).ok()?;
    let passed = totals.take_passed().expect("they are noted").into_iter();
    let mut passed: Vec<Cell> = passed.map(|(cell, _)| cell).collect();
    if bounds.lacks(Rule::PassedAreRead) {
        passed.clear();
    }
    let verdicts = verdicts(bounds, knows, range);
    let mut cells = [false; CELLS];
    set(
        bounds,
        dirty::to_read(&totals, passed, &verdicts).iter(),
        &mut cells,
    );
    Some(cells)
}

/// The correction of a cell under the lock.
pub(crate) fn correction(bounds: &Bounds, cut: &Ends, cell: usize, current: i16) -> i16 {
    let totals = totals(bounds, bounds.cells[cell], cut, cut);
    let drift = Drift::between(expected(bounds, &totals, cell), count(current));
    drift.map_or(0, |drift| value(Count(drift.correction().0)))
}

/// Whether corrected cells are still wrong, by the product's rule.
pub(crate) fn is_still_wrong(
    bounds: &Bounds,
    range: usize,
    cut: &Ends,
    corrected: &[bool; CELLS],
    now: &[i16; CELLS],
) -> bool {
    let totals = totals(bounds, range, cut, cut);
    let (mut sent, mut read) = (Vec::new(), Vec::new());
    for cell in (0..bounds.cells.len()).filter(|cell| corrected[*cell]) {
        let drift = Drift {
            expected: expected(bounds, &totals, cell),
            current: Count(0),
        };
        sent.push((bounds.product(cell).cell.clone(), drift));
        read.push((bounds.product(cell).cell.clone(), count(now[cell])));
    }
    !verify::still_wrong(&sent, &read).is_empty()
}

/// Whether the checkpoint has passed an event of a locked range, by the product's rule.
pub(crate) fn has_passed(
    bounds: &Bounds,
    range: usize,
    cut: &Ends,
    now: &Ends,
    ends: &Ends,
) -> bool {
    let totals = totals(bounds, range, cut, ends);
    let passed = totals.event_between_cut_and(&offsets(bounds, now));
    passed.expect("few events").is_some()
}
