//! Cells of totals, wherever they come from.

use stitch_common::ports::ObjectStore;

use crate::sorted::sorter::LocalCells;
use crate::sorted::{CellTotal, SortedCells};
use crate::totals_error::TotalsError;
use crate::totals_file::reader::TotalsReader;

/// Cells of earlier totals, or of this process.
pub enum TotalsCells<'a, S> {
    Base(Box<TotalsReader<'a, S>>),
    Local(LocalCells),
}

impl<S: ObjectStore> SortedCells for TotalsCells<'_, S> {
    type Error = TotalsError;

    fn current(&self) -> Option<CellTotal<'_>> {
        match self {
            Self::Base(cells) => cells.current(),
            Self::Local(cells) => cells.current(),
        }
    }

    fn step(&mut self) -> Result<bool, TotalsError> {
        match self {
            Self::Base(cells) => cells.step(),
            Self::Local(cells) => Ok(cells.step()?),
        }
    }

    async fn load(&mut self) -> Result<bool, TotalsError> {
        match self {
            Self::Base(cells) => cells.load().await,
            Self::Local(cells) => Ok(cells.load().await?),
        }
    }
}
