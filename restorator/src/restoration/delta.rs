//! What has to be added, if the operator expected that much.

use stitch_common::cell::{Amount, Cell, CellSlot};
use stitch_common::ports::CounterBatch;

use super::acquire::Held;
use super::current::Current;
use crate::limits::{self, Extent};
use crate::plan::judge::Drift;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// Corrections, each to be sent once.
#[derive(Debug)]
pub(crate) struct Delta {
    corrections: Vec<(Cell, Drift)>,
}

impl Delta {
    /// The cells, and in what way they are wrong.
    pub(crate) fn corrections(&self) -> &[(Cell, Drift)] {
        &self.corrections
    }

    /// The same, to be sent.
    pub(crate) fn into_corrections(self) -> Vec<(Cell, Drift)> {
        self.corrections
    }

    /// The same as batches of one counter each.
    pub(crate) fn batches(&self) -> Vec<CounterBatch> {
        batches(&self.corrections)
    }
}

/// About 4 KiB, below Cassandra's warning.
const CELLS_A_BATCH: usize = 40;

fn batches(corrections: &[(Cell, Drift)]) -> Vec<CounterBatch> {
    let amount =
        |(cell, drift): &(Cell, Drift)| -> (CellSlot, Amount) { (cell.slot, drift.correction()) };
    let of_one_counter = corrections.chunk_by(|(a, _), (b, _)| a.counter == b.counter);
    let chunks = of_one_counter.flat_map(|cells| cells.chunks(CELLS_A_BATCH));
    let batch = |cells: &[(Cell, Drift)]| CounterBatch {
        counter: cells[0].0.counter.clone(),
        amounts: cells.iter().map(amount).collect(),
    };
    chunks.map(batch).collect()
}

/// The differences, unless they go beyond what the operator expected of all ranges together.
///
/// # Errors
/// They do: nothing of the range is corrected.
pub(crate) fn between<B: Backends>(
    held: &mut Held<'_, B>,
    current: Current,
) -> Result<Delta, Unverified> {
    let context = held.context();
    let known = &held.claim.corrected;
    let new = current
        .wrong()
        .iter()
        .filter(|(cell, _)| !known.contains_key(cell));
    let spent = context
        .spent
        .get()
        .plus(Extent::of(new.map(|(_, drift)| *drift)));
    limits::check(context.limits, spent)?;
    context.spent.set(spent);
    Ok(Delta {
        corrections: current.into_wrong(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::{Count, Counter, Granularity};
    use stitch_testkit::samples::slot_at;

    #[test]
    fn a_batch_has_one_counter_and_few_cells_and_leads_to_what_is_expected() {
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
