//! Batch counts: whatever is published holds at every quorum, at every moment. A cell may be newer while a load goes on,
//! never older; while none goes on, it is exactly the sum of the events below the cut.

use std::collections::{BTreeMap, BTreeSet};

use stitch_batch::record::{BatchRecord, Generation};
use stitch_common::offset::Partition;
use stitch_common::ports::WriteTime;
use stitch_protocol::envelope;

use super::{Finding, Kind, events};
use crate::trace::{Actor, Tracepoint};
use crate::world::World;
use crate::world::cassandra::NODES;
use crate::world::zookeeper::ROOT;

/// What the checker knows of batch counts.
#[derive(Debug, Default)]
pub(crate) struct BatchState {
    record: Option<BatchRecord>,
    /// Cells that were changed by hand, and the loads that were begun since. Any of these sets them right that is published.
    changed_by_hand: BTreeMap<usize, BTreeSet<WriteTime>>,
}

impl World {
    fn batch_path() -> String {
        format!("{ROOT}/batch")
    }

    /// The generation that is published.
    pub(crate) fn published_batch(&self) -> Option<Generation> {
        self.batch.borrow().record.as_ref()?.published.clone()
    }

    /// A node was written: that of the batch, perhaps.
    pub(super) fn batch_written(&self, actor: Actor, path: &str, after: &[u8]) {
        if path != Self::batch_path() {
            return;
        }
        let record: BatchRecord =
            envelope::open(path, after).expect("the product writes what it can read");
        let (loading, published) = (record.loading.clone(), record.published.clone());
        let mut state = self.batch.borrow_mut();
        let before = state.record.replace(record);
        let before = before.and_then(|before| before.published);
        let is_new = |new: &Generation| before.as_ref() != Some(new);
        if let Some(published) = published.filter(is_new) {
            self.record(actor, Tracepoint::BatchPublished, || {
                format!("publishes the totals {}", published.totals)
            });
            let wrong = &mut state.changed_by_hand;
            wrong.retain(|_, loads| !loads.contains(&published.written));
        }
        if let Some(loading) = loading {
            for loads in state.changed_by_hand.values_mut() {
                loads.insert(loading.written);
            }
            self.record(actor, Tracepoint::BatchLoading, || {
                format!("begins to load the totals {}", loading.totals)
            });
        }
        drop(state);
        self.check_batch();
    }

    /// Changes a cell of batch counts by hand. `false` if there is none.
    pub(crate) fn change_batch_by_hand(&self) -> bool {
        /// More than all events together.
        const AMOUNT: i64 = 1 << events::EVENTS_MAX;
        let cells = self.cluster.batch.cells();
        if cells.is_empty() {
            return false;
        }
        let cell = self.rng.pick_ref(&cells);
        let index = self.checker.borrow_mut().cell(&cell.counter, cell.slot);
        let mut state = self.batch.borrow_mut();
        if state.changed_by_hand.contains_key(&index) {
            return false;
        }
        state.changed_by_hand.insert(index, BTreeSet::new());
        self.cluster.batch.add_by_hand(cell, AMOUNT);
        true
    }

    /// Once a run has published that met no fault, cells that were changed by hand before are right.
    pub(crate) fn check_no_batch_is_excused(&self) {
        let left = self.batch.borrow().changed_by_hand.len();
        if left > 0 {
            let what =
                format!("{left} cells were changed by hand in batch, and published as they are");
            self.report(Finding::new(Kind::WrongBatch, what));
        }
    }

    /// Checks what a reader may see now.
    pub(crate) fn check_batch(&self) {
        let state = self.batch.borrow();
        let Some(record) = &state.record else {
            return;
        };
        let Some(published) = &record.published else {
            return;
        };
        let is_loading = record.loading.is_some();
        let checker = self.checker.borrow();
        let mut wrong = None;
        for (index, checked) in checker.cells.iter().enumerate() {
            let counter = &checked.cell.counter.name;
            if !published.has(counter) || state.changed_by_hand.contains_key(&index) {
                continue;
            }
            let below = |partition| published.cut.of(Partition(partition));
            let expected = checker.expected(index, below);
            for absent in 0..NODES {
                let quorum: Vec<_> = (0..NODES).filter(|node| *node != absent).collect();
                let value = self.cluster.batch.value(&checked.cell, &quorum);
                let is_newer = value & expected == expected;
                if value != expected && !(is_loading && is_newer) {
                    wrong = Some(format!(
                        "{} is {value} in batch at nodes {quorum:?}, and {expected} at the cut of {}",
                        checked.cell, published.totals
                    ));
                }
            }
        }
        drop((state, checker));
        if let Some(what) = wrong {
            self.report(Finding::new(Kind::WrongBatch, what));
        }
    }
}
