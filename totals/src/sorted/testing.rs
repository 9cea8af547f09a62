//! For tests: cells with their own memory, and streams of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;

use stitch_common::cell::{Amount, EventTime, Granularity};
use stitch_common::event::slot;
use stitch_common::token::Token;

use super::counter_names::NameRank;
use super::merge::Merge;
use super::{CellTotal, SortedCells};
use crate::scan_key::PackedSlot;

/// A cell by its place in the scan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SampleCell {
    pub(crate) token: Token,
    pub(crate) name: NameRank,
    key_length: usize,
    pub(crate) key: String,
    pub(crate) slot: PackedSlot,
}

impl SampleCell {
    /// A cell of hour `hour` since 1970. `token` may be that of several keys, as no real one is.
    pub(crate) fn new(token: i64, name: u16, key: &str, hour: i64) -> Self {
        Self::of(Token(token), NameRank(name), key, hour_slot(hour))
    }

    pub(crate) fn of(token: Token, name: NameRank, key: &str, slot: PackedSlot) -> Self {
        Self {
            token,
            name,
            key_length: key.len(),
            key: key.to_owned(),
            slot,
        }
    }

    pub(crate) fn with(&self, total: i64) -> CellTotal<'_> {
        CellTotal {
            token: self.token,
            name: self.name,
            key: self.key.as_bytes(),
            slot: self.slot,
            total: Amount(total),
        }
    }
}

pub(crate) fn hour_slot(hour: i64) -> PackedSlot {
    let time = EventTime::from_ms(hour * 3_600_000).unwrap();
    PackedSlot::pack(slot(Granularity::Hour, time)).unwrap()
}

pub(crate) fn owned(cell: &CellTotal<'_>) -> (SampleCell, i64) {
    let key = std::str::from_utf8(cell.key).unwrap();
    let own = SampleCell::of(cell.token, cell.name, key, cell.slot);
    (own, cell.total.0)
}

/// The totals that are not 0.
pub(crate) type Totals = BTreeMap<SampleCell, i64>;

/// What contributions add up to, by the simplest means.
pub(crate) fn added_up(contributions: &[(SampleCell, i64)]) -> Totals {
    let mut totals = Totals::new();
    for (cell, amount) in contributions {
        let total = totals.entry(cell.clone()).or_default();
        *total = total.wrapping_add(*amount);
    }
    totals.retain(|_, total| *total != 0);
    totals
}

/// Sorted cells in memory, in parts of a few cells.
#[derive(Debug)]
pub(crate) struct SampleCells {
    cells: Vec<(SampleCell, i64)>,
    part: usize,
    /// The cells from `at` up to `loaded` are in memory.
    at: usize,
    loaded: usize,
}

impl SampleCells {
    pub(crate) fn new(totals: &Totals, part: usize) -> Self {
        Self {
            cells: totals.clone().into_iter().collect(),
            part,
            at: 0,
            loaded: 0,
        }
    }
}

impl SortedCells for SampleCells {
    type Error = Infallible;

    fn current(&self) -> Option<CellTotal<'_>> {
        let (cell, total) = self.cells[..self.loaded].get(self.at)?;
        Some(cell.with(*total))
    }

    fn step(&mut self) -> Result<bool, Infallible> {
        self.at += 1;
        Ok(self.at < self.loaded)
    }

    async fn load(&mut self) -> Result<bool, Infallible> {
        self.at = self.loaded;
        self.loaded = (self.loaded + self.part).min(self.cells.len());
        Ok(self.at < self.loaded)
    }
}

/// All cells that a merge yields. They have to be in order, each once.
pub(crate) async fn merged<S: SortedCells>(
    streams: Vec<S>,
) -> Result<Vec<(SampleCell, i64)>, S::Error> {
    let mut merge = Merge::new(streams);
    let mut cells = Vec::new();
    while let Some(cell) = merge.next().await? {
        cells.push(owned(&cell));
    }
    let again = merge.next().await?;
    assert_eq!(again, None, "the end is the end");
    assert!(
        cells.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "in scan order, each cell once: {cells:?}"
    );
    Ok(cells)
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}
