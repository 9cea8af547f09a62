//! The streams that a build merges.

use stitch_common::ports::ObjectStore;

use crate::sorted::{CellTotal, SortedCells};
use crate::totals_cells::TotalsCells;
use crate::totals_error::TotalsError;

/// Cells of earlier totals or of this process, or those that a cluster has added up.
pub(super) enum BuildCells<'a, S, G> {
    Totals(TotalsCells<'a, S>),
    Cluster(Box<G>),
}

impl<S: ObjectStore, G: SortedCells<Error = TotalsError>> SortedCells for BuildCells<'_, S, G> {
    type Error = TotalsError;

    fn current(&self) -> Option<CellTotal<'_>> {
        match self {
            Self::Totals(cells) => cells.current(),
            Self::Cluster(cells) => cells.current(),
        }
    }

    fn step(&mut self) -> Result<bool, TotalsError> {
        match self {
            Self::Totals(cells) => cells.step(),
            Self::Cluster(cells) => cells.step(),
        }
    }

    async fn load(&mut self) -> Result<bool, TotalsError> {
        match self {
            Self::Totals(cells) => cells.load().await,
            Self::Cluster(cells) => cells.load().await,
        }
    }
}
