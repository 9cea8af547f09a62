//! Merge-joins the expected totals with a scan of the table, both in the order of the scan.
//!
//! It finds missing cells as well as phantoms, in memory that does not grow with the number of cells.

use std::cmp::Ordering;

use stitch_common::cell::{Cell, CellSlot, Count, Counter, CounterName, Key};
use stitch_common::definition::Definitions;
use stitch_common::scope::Scope;
use stitch_common::token::Token;
use stitch_totals::scan_key::in_scan_order;
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::merge::Merge;
use stitch_totals::sorted::{CellTotal, SortedCells};

use crate::error::Error;
use crate::plan::judge::Verdicts;

/// A row of the scan.
pub(crate) type Row = (Token, Counter, CellSlot, Count);

/// Joins the scan of one token interval with the expected totals in it, which do not change meanwhile.
pub(crate) struct Join<'a, S> {
    wanted: Wanted<'a>,
    names: &'a CounterNames,
    /// The cells that the scan has not reached, the current one first.
    expected: Merge<S>,
    is_started: bool,
    /// The row that the scan is at.
    at: Option<(Token, Counter, CellSlot, Scoping)>,
    /// The counter of the last cell that was judged wrong: its cells share its texts.
    counter: Option<Counter>,
    verdicts: Verdicts,
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

    fn has(self, name: &CounterName, key: &[u8]) -> bool {
        let Scope {
            counter, key: only, ..
        } = self.scope;
        counter.as_ref().is_none_or(|scoped| scoped == name)
            && only
                .as_ref()
                .is_none_or(|scoped| scoped.0.as_bytes() == key)
    }
}

impl<'a, S> Join<'a, S>
where
    S: SortedCells,
    Error: From<S::Error>,
{
    /// Joins with `expected`, whose counters have these `names`.
    pub(crate) fn new(wanted: Wanted<'a>, names: &'a CounterNames, expected: Merge<S>) -> Self {
        Self {
            wanted,
            names,
            expected,
            is_started: false,
            at: None,
            counter: None,
            verdicts: Verdicts::default(),
        }
    }

    /// Joins the next rows.
    ///
    /// # Errors
    /// The expected totals cannot be read, or the rows are not in order.
    pub(crate) async fn rows(&mut self, rows: &[Row]) -> Result<(), Error> {
        self.start().await?;
        for row in rows {
            let scoping = self.step(row)?;
            while self.order_of_expected(row).is_lt() {
                self.missing();
                self.expected.next().await?;
            }
            let (_, counter, slot, current) = row;
            let mut expected = Count(0);
            if self.order_of_expected(row).is_eq() {
                let total = self.expected.current().map(|cell| cell.total.0);
                expected = Count(total.unwrap_or_default());
                if scoping == Scoping::InScope {
                    self.verdicts.expect(&counter.name, expected);
                }
                self.expected.next().await?;
            }
            match scoping {
                Scoping::OutOfScope => {}
                Scoping::Unnamed => self.verdicts.note_unnamed(&counter.name, 1),
                Scoping::InScope if expected == *current => {}
                Scoping::InScope => {
                    let counter = shared(&mut self.counter, &counter.name, &counter.key.0);
                    let slot = *slot;
                    self.verdicts
                        .judge(Cell { counter, slot }, expected, *current);
                }
            }
        }
        Ok(())
    }

    /// About how many bytes the verdicts take so far.
    pub(crate) const fn bytes(&self) -> usize {
        self.verdicts.bytes()
    }

    /// Ends the scan of the interval: every cell that it has not reached is missing.
    ///
    /// # Errors
    /// The expected totals cannot be read.
    pub(crate) async fn finish(mut self) -> Result<Verdicts, Error> {
        self.start().await?;
        while self.expected.current().is_some() {
            self.missing();
            self.expected.next().await?;
        }
        Ok(self.verdicts)
    }

    async fn start(&mut self) -> Result<(), Error> {
        if !self.is_started {
            self.is_started = true;
            self.expected.next().await?;
        }
        Ok(())
    }

    /// Moves on to the next row, which must lie behind the one before.
    fn step(&mut self, (token, counter, slot, _): &Row) -> Result<Scoping, OutOfOrder> {
        if let Some((last_token, last, last_slot, scoping)) = &mut self.at {
            let order = in_scan_order(*last_token, last, *token, counter);
            if order.is_gt() || (order.is_eq() && *last_slot >= *slot) {
                let (counter, slot) = (counter.clone(), *slot);
                return Err(OutOfOrder(Cell { counter, slot }));
            }
            if order.is_eq() {
                *last_slot = *slot;
                return Ok(*scoping);
            }
        }
        let scoping = self.wanted.scoping(counter);
        self.at = Some((*token, counter.clone(), *slot, scoping));
        Ok(scoping)
    }

    /// Where the current expected cell lies, seen from the row; behind it, if there is none.
    fn order_of_expected(&self, (token, counter, slot, _): &Row) -> Ordering {
        let Some(cell) = self.expected.current() else {
            return Ordering::Greater;
        };
        let name = &self.names.name(cell.name).0;
        let (row_name, row_key) = (&counter.name.0, counter.key.0.as_bytes());
        // As `in_scan_order` has it.
        let of_cell = (name.len(), &**name, cell.key.len(), cell.key);
        let of_row = (row_name.len(), &**row_name, row_key.len(), row_key);
        cell.token
            .cmp(token)
            .then_with(|| of_cell.cmp(&of_row))
            .then_with(|| cell.slot.unpack().cmp(slot))
    }

    /// The table has no row of the current expected cell.
    fn missing(&mut self) {
        let Some(CellTotal {
            name,
            key,
            slot,
            total,
            ..
        }) = self.expected.current()
        else {
            return;
        };
        let name = self.names.name(name);
        if !self.wanted.has(name, key) {
            return;
        }
        let expected = Count(total.0);
        self.verdicts.expect(name, expected);
        let key = std::str::from_utf8(key).expect("keys are texts");
        let counter = shared(&mut self.counter, name, key);
        let slot = slot.unpack();
        self.verdicts
            .judge(Cell { counter, slot }, expected, Count(0));
    }
}

/// The counter of this name and key, with the texts of the `last` one if it is the same.
fn shared(last: &mut Option<Counter>, name: &CounterName, key: &str) -> Counter {
    match last {
        Some(last) if last.name == *name && *last.key.0 == *key => last.clone(),
        Some(_) | None => {
            let counter = Counter {
                name: name.clone(),
                key: Key(key.into()),
            };
            last.insert(counter).clone()
        }
    }
}

#[cfg(test)]
mod tests;
