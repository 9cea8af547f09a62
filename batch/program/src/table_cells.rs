//! What a table holds, as a stream of cells in the order of its scan.

use std::sync::Arc;

use stitch_common::cell::Amount;
use stitch_common::clock::Clock;
use stitch_common::ports::{CellScan, ScanPage, ScanPosition};
use stitch_common::range::TokenInterval;
use stitch_common::token::Token;
use stitch_common::wait::yield_now;
use stitch_totals::scan_key::PackedSlot;
use stitch_totals::sorted::counter_names::{CounterNames, NameRank};
use stitch_totals::sorted::{CellTotal, SortedCells};

use crate::batch_error::BatchError;
use crate::patience::Patience;

/// The cells of some tokens of a table. A row that holds 0 is left out: it counts as much as none. So is a row that no event
/// can have made, which is counted.
pub struct TableCells<'a, T, C> {
    table: &'a T,
    names: &'a CounterNames,
    tokens: TokenInterval,
    patience: &'a Patience<'a, C>,
    rows: Vec<Row>,
    at: usize,
    next: Next,
    foreign: u64,
}

struct Row {
    token: Token,
    name: NameRank,
    key: Arc<str>,
    slot: PackedSlot,
    total: Amount,
}

enum Next {
    Page(Option<ScanPosition>),
    End,
}

impl<'a, T: CellScan, C: Clock> TableCells<'a, T, C> {
    /// The cells of these tokens.
    pub const fn new(
        table: &'a T,
        names: &'a CounterNames,
        tokens: TokenInterval,
        patience: &'a Patience<'a, C>,
    ) -> Self {
        Self {
            table,
            names,
            tokens,
            patience,
            rows: Vec::new(),
            at: 0,
            next: Next::Page(None),
            foreign: 0,
        }
    }

    /// How many rows so far are of no counter or no bucket of this namespace.
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    fn take(&mut self, page: ScanPage) {
        self.rows.clear();
        self.at = 0;
        self.foreign += page.foreign.values().sum::<u64>();
        for (token, counter, slot, count) in page.cells {
            let name = self.names.rank(&counter.name.0);
            let (Some(name), Some(slot)) = (name, PackedSlot::pack(slot)) else {
                self.foreign += 1;
                continue;
            };
            if count.0 != 0 {
                self.rows.push(Row {
                    token,
                    name,
                    key: counter.key.0,
                    slot,
                    total: Amount(count.0),
                });
            }
        }
        self.next = match page.next {
            Some(position) => Next::Page(Some(position)),
            None => Next::End,
        };
    }
}

impl<T: CellScan, C: Clock> SortedCells for TableCells<'_, T, C> {
    type Error = BatchError;

    fn current(&self) -> Option<CellTotal<'_>> {
        let row = self.rows.get(self.at)?;
        Some(CellTotal {
            token: row.token,
            name: row.name,
            key: row.key.as_bytes(),
            slot: row.slot,
            total: row.total,
        })
    }

    fn step(&mut self) -> Result<bool, BatchError> {
        self.at += 1;
        Ok(self.at < self.rows.len())
    }

    async fn load(&mut self) -> Result<bool, BatchError> {
        self.rows.clear();
        self.at = 0;
        while let Next::Page(position) = &self.next {
            let scan = async || self.table.scan(self.tokens, position.clone()).await;
            let page = self.patience.repeat(scan).await?;
            self.take(page);
            yield_now().await;
            if !self.rows.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
