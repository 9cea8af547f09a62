//! The cells of the plan that a run was given. What is corrected does not depend on them: the run audits the plan's scope
//! again. Its report says how many of the corrected cells are in the plan, if there is memory to know that.

use std::collections::BTreeSet;
use std::fs::File;

use stitch_common::cell::Cell;
use stitch_expected::memory_pool::{MemoryPool, MemoryReservation};

use crate::plan::file::{PlanError, PlanFile};
use crate::plan::judge::{TEXTS_BYTES, WRONG_CELL_BYTES};

/// The largest part of the memory that is left.
const PART: usize = 4;

/// The cells of a plan: all of them, or only their number.
#[derive(Debug)]
pub(super) struct PlannedCells {
    number: u64,
    kept: Option<(BTreeSet<Cell>, MemoryReservation)>,
}

impl PlannedCells {
    /// Reads the cells of the plan, unless they take more than a part of the memory.
    ///
    /// # Errors
    /// The plan cannot be read, or was changed since it was opened.
    pub(super) fn read(file: &mut PlanFile<File>, memory: &MemoryPool) -> Result<Self, PlanError> {
        let number = file.cells();
        let bytes = usize::try_from(number).unwrap_or(usize::MAX);
        let bytes = bytes.saturating_mul(WRONG_CELL_BYTES + TEXTS_BYTES);
        let fits = bytes <= memory.available() / PART;
        let reserved = memory.try_reserve(bytes).ok().filter(|_| fits);
        let Some(reserved) = reserved else {
            return Ok(Self { number, kept: None });
        };
        let mut cells = BTreeSet::new();
        file.each(|cell, _| {
            cells.insert(cell);
        })?;
        Ok(Self {
            number,
            kept: Some((cells, reserved)),
        })
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether the cell is in the plan; `None` if that is not known of any cell.
    pub(super) fn contain(&self, cell: &Cell) -> Option<bool> {
        let (cells, _) = self.kept.as_ref()?;
        Some(cells.contains(cell))
    }

    /// Whether it is known which cells are in the plan.
    pub(super) const fn are_kept(&self) -> bool {
        self.kept.is_some()
    }
}
