//! R5: reads what dirty and wrong cells hold, at `ALL` unless the operator accepts less.

use std::collections::BTreeMap;

use stitch_common::cell::Cell;

use super::acquire::LockedRange;
use super::dirty::DirtyCells;
use crate::cells::{self, Waiting};
use crate::failpoint;
use crate::plan::judge::Drift;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// The cells that are wrong under the lock.
#[derive(Debug)]
pub(crate) struct CurrentDrift {
    wrong: Vec<(Cell, Drift)>,
}

impl CurrentDrift {
    pub(crate) fn wrong(&self) -> &[(Cell, Drift)] {
        &self.wrong
    }

    /// Leaves these cells out: no correction changes them.
    pub(super) fn set_aside(&mut self, cells: &BTreeMap<Cell, Drift>) {
        self.wrong.retain(|(cell, _)| !cells.contains_key(cell));
    }

    pub(crate) fn into_wrong(self) -> Vec<(Cell, Drift)> {
        self.wrong
    }
}

/// Reads the cells that can be wrong.
pub(crate) async fn read<B: Backends>(
    held: &LockedRange<'_, '_, B>,
    dirty: &DirtyCells,
) -> Result<CurrentDrift, Unverified> {
    let expected = dirty.expected();
    let read = cells::read(held.context(), Waiting::UnderLock, expected.keys());
    let read = held.bound.wait("reading the cells", read).await?;
    let wrong = read.into_iter().filter_map(|(cell, current)| {
        let drift = Drift::between(expected[&cell], current)?;
        Some((cell, drift))
    });
    failpoint::pass("r5-read");
    Ok(CurrentDrift {
        wrong: wrong.collect(),
    })
}
