//! What every event below a cut adds up to: totals at an earlier cut, and the events since.

use std::cell::RefCell;
use std::collections::BTreeMap;

use stitch_common::cell::{Cell, Count, Counter, Key};
use stitch_common::clock::Clock;
use stitch_common::ports::{EventLog, ObjectStore};
use stitch_common::progress::Progress;

use crate::base_part::BasePart;
use crate::base_totals::BaseTotals;
use crate::expected_error::ExpectedError;
use crate::totals_by_range::TotalsByRange;
use stitch_totals::manifest::SourceSpan;
use stitch_totals::records::{Reach, Records};
use stitch_totals::sorted::merge::Merge;
use stitch_totals::sorted::sorter::LocalCells;
use stitch_totals::sorted::tokens::TokenSelection;
use stitch_totals::totals_cells::TotalsCells;
use stitch_totals::totals_error::TotalsError;

/// Adds what the records of `spans` contribute, all of which lie below the cuts of all ranges.
///
/// # Errors
/// The totals are incomplete, and of no use. So they are when the call is cancelled.
pub async fn add_records<S: ObjectStore, L: EventLog, C: Clock>(
    records: &Records<'_, S, L, C>,
    reach: &Reach,
    spans: &[SourceSpan],
    totals: &RefCell<TotalsByRange>,
    progress: &dyn Progress,
) -> Result<(), ExpectedError> {
    let offsets = spans.iter().map(|span| span.to.0 - span.from.0);
    let total = u64::try_from(offsets.sum::<i64>()).ok();
    progress.begin("reading records", "records", total);
    let mut reader = records.read(reach, spans).await?;
    while let Some(batch) = reader.next().await? {
        totals.borrow_mut().add_below(batch.values())?;
        progress.advance(batch.records());
        TotalsByRange::merge_runs(totals).await?;
    }
    progress.end();
    records.check_again(spans).await?;
    Ok(())
}

/// Where the cells of the base are looked up.
#[derive(Debug)]
pub enum LookupBase<'a, S> {
    /// In the object store, if there is a base.
    Store(Option<&'a BaseTotals<S>>),
    /// In a copy of its part on local disk, which has all of the cells.
    Part(&'a BasePart),
}

impl<'a, S: ObjectStore> LookupBase<'a, S> {
    const fn is_none(&self) -> bool {
        match self {
            Self::Store(base) => base.is_none(),
            Self::Part(part) => part.run().is_none(),
        }
    }

    fn cells_of(&self, wanted: &TokenSelection) -> Option<TotalsCells<'a, S>> {
        match self {
            Self::Store(base) => {
                base.map(|base| TotalsCells::Base(Box::new(base.cells_of(wanted.clone()))))
            }
            Self::Part(part) => part.run().map(|run| {
                TotalsCells::Local(LocalCells::Run(Box::new(run.cells_of(wanted.clone()))))
            }),
        }
    }
}

/// The cells with wanted tokens, in the order of the table's scan, and what the events below the cuts add up to in them.
/// What is added to `totals` later changes nothing.
pub fn cells<'a, S: ObjectStore>(
    base: &LookupBase<'a, S>,
    totals: &TotalsByRange,
    wanted: &TokenSelection,
) -> Merge<TotalsCells<'a, S>> {
    let base = base.cells_of(wanted);
    let streams = totals.streams(wanted).into_iter().map(TotalsCells::Local);
    Merge::new(base.into_iter().chain(streams).collect())
}

/// What the events below the cuts add up to in these cells.
///
/// # Errors
/// The base or the spill folder cannot be read.
pub async fn counts<S: ObjectStore>(
    base: LookupBase<'_, S>,
    totals: &RefCell<TotalsByRange>,
    of: impl IntoIterator<Item = Cell>,
) -> Result<BTreeMap<Cell, Count>, TotalsError> {
    let mut counts: BTreeMap<Cell, Count> = of.into_iter().map(|cell| (cell, Count(0))).collect();
    if counts.is_empty() {
        return Ok(counts);
    }
    if base.is_none() {
        let totals = totals.borrow();
        let in_memory = |(cell, count): (&Cell, &mut Count)| {
            let known = totals.in_memory(cell);
            *count = known.unwrap_or_default();
            known.is_some()
        };
        if counts.iter_mut().all(in_memory) {
            return Ok(counts);
        }
    }
    let tokens = counts.keys().map(|cell| cell.counter.token());
    let wanted = TokenSelection::listed(tokens);
    let (mut cells, names) = {
        let totals = totals.borrow();
        (self::cells(&base, &totals, &wanted), totals.names().clone())
    };
    while let Some(found) = cells.next().await? {
        let key = std::str::from_utf8(found.key).expect("keys are texts");
        let cell = Cell {
            counter: Counter {
                name: names.name(found.name).clone(),
                key: Key(key.into()),
            },
            slot: found.slot.unpack(),
        };
        if let Some(count) = counts.get_mut(&cell) {
            *count = Count(found.total.0);
        }
    }
    Ok(counts)
}
