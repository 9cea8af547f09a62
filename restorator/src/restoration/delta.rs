//! R6: the corrections, if the operator expected that many.

use std::collections::BTreeMap;

use stitch_common::cell::Cell;
use stitch_common::ports::CounterBatch;

use super::sent::SentCorrections;
use crate::limits::Extent;
use crate::plan::judge::Drift;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// Corrections, each of which is sent once.
#[derive(Debug)]
pub(crate) struct Delta {
    corrections: Vec<(Cell, Drift)>,
    /// What was charged for them.
    charged: Extent,
}

impl Delta {
    pub(crate) fn corrections(&self) -> &[(Cell, Drift)] {
        &self.corrections
    }

    pub(super) const fn charged(&self) -> Extent {
        self.charged
    }

    pub(crate) fn into_corrections(self) -> Vec<(Cell, Drift)> {
        self.corrections
    }

    /// Batches of one counter each.
    pub(crate) fn batches(&self) -> Vec<CounterBatch> {
        batches(&self.corrections)
    }
}

/// About 4 KiB, below Cassandra's warning.
const CELLS_PER_BATCH: usize = 40;

fn batches(corrections: &[(Cell, Drift)]) -> Vec<CounterBatch> {
    let by_counter = corrections.chunk_by(|(a, _), (b, _)| a.counter == b.counter);
    let chunks = by_counter.flat_map(|cells| cells.chunks(CELLS_PER_BATCH));
    let batches = chunks.map(|cells| {
        let amounts = cells
            .iter()
            .map(|(cell, drift)| (cell.slot, drift.correction()));
        CounterBatch {
            counter: cells[0].0.counter.clone(),
            amounts: amounts.collect(),
        }
    });
    batches.collect()
}

/// The corrections for these wrong cells, charged to the limits of the run; what is not sent is given back.
///
/// # Errors
/// All of it would exceed a limit: nothing of it is corrected.
pub(crate) fn of<B: Backends>(
    sent: &SentCorrections<'_, B>,
    wrong: Vec<(Cell, Drift)>,
) -> Result<Delta, Unverified> {
    let charged = sent.charge(&wrong)?;
    Ok(Delta {
        corrections: wrong,
        charged,
    })
}

/// What these corrections add to what was `corrected` before in the range: a cell counts once, however often it is
/// corrected, and every change counts.
pub(super) fn charge<'a>(
    corrected: &BTreeMap<Cell, Drift>,
    corrections: impl Iterator<Item = (&'a Cell, Drift)>,
) -> Extent {
    corrections.fold(Extent::default(), |sum, (cell, drift)| {
        sum.plus(Extent {
            cells: u64::from(!corrected.contains_key(cell)),
            change: u128::from(drift.size()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::{Count, Counter, Granularity};
    use stitch_testkit::samples::slot_at;

    #[test]
    fn a_batch_has_few_cells_of_one_counter_and_leads_to_the_expected_counts() {
        let cell = |key: &str, hour: i64| Cell {
            counter: Counter::new("plays", key),
            slot: slot_at(Granularity::Hour, hour * 3_600_000),
        };
        let drift = Drift::between(Count(3), Count(5)).unwrap();
        let mut corrections: Vec<_> = (0..50).map(|hour| (cell("a", hour), drift)).collect();
        corrections.push((cell("b", 0), drift));
        let batches = batches(&corrections);
        let sizes: Vec<_> = batches.iter().map(|batch| batch.amounts.len()).collect();
        assert_eq!(sizes, [40, 10, 1]);
        assert_eq!(&*batches[2].counter.key.0, "b");
        assert!(
            batches
                .iter()
                .flat_map(|b| &b.amounts)
                .all(|(_, amount)| amount.0 == -2)
        );
    }
}
