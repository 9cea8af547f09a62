//! The part of a base that has the cells of one range, on local disk: single cells are looked up in it without a request
//! to an object store, by reading a block of 64 KiB instead of a row group. For what has to be found while a lock is held.

use std::rc::Rc;

use stitch_common::ports::ObjectStore;
use stitch_common::wait::yield_now;
use stitch_totals::sorted::merge::Merge;
use stitch_totals::sorted::run::{Run, RunWriter};
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::sorted::tokens::TokenSelection;
use stitch_totals::totals_error::TotalsError;

use crate::base_totals::BaseTotals;

/// A part of a base, in the spill folder for as long as this value lives.
#[derive(Clone, Debug)]
pub struct BasePart(Option<Rc<Run>>);

/// Cells that are copied before other futures of the process run, which may hold locks.
const CELLS_AT_ONCE: u64 = 2000;

impl BasePart {
    /// Copies the cells of `tokens` out of `base`; there are none without a base.
    ///
    /// # Errors
    /// The base cannot be read, or the spill folder is full. Nothing of it is left then, nor when the call is cancelled.
    pub async fn copy<S: ObjectStore>(
        base: Option<&BaseTotals<S>>,
        tokens: TokenSelection,
        folder: &SpillFolder,
    ) -> Result<Self, TotalsError> {
        let Some(base) = base else {
            return Ok(Self(None));
        };
        let mut cells = Merge::new(vec![base.cells_of(tokens)]);
        let mut run = RunWriter::new(folder)?;
        let mut copied = 0_u64;
        while let Some(cell) = cells.next().await? {
            run.push(&cell)?;
            copied += 1;
            if copied.is_multiple_of(CELLS_AT_ONCE) {
                yield_now().await;
            }
        }
        Ok(Self(Some(Rc::new(run.finish()?))))
    }

    pub(crate) const fn run(&self) -> Option<&Rc<Run>> {
        self.0.as_ref()
    }
}
