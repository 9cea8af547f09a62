//! Reads chosen cells: a counter's cells in one request, many requests at once, each with retries.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use stitch_common::cell::{Cell, CellSlot, Count, Counter};
use stitch_common::clock::Clock;
use stitch_common::ports::{CellSelection, Store, StoreError};

use crate::context::{PATIENCE, RestoreContext};
use crate::error::Error;
use stitch_common::ports::Backends;

/// Cells of a counter in one request.
const CELLS_PER_READ: usize = 100;

/// How long nodes that are away are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// For a moment: a range is locked, and its events wait.
    UnderLock,
    /// For [`PATIENCE`], so that a node that starts again does not cost what was read for hours.
    WithoutLock,
}

/// Reads these cells, each named once. A cell without a row is 0.
pub(crate) async fn read<'a, B: Backends>(
    context: &RestoreContext<'_, B>,
    waiting: Waiting,
    cells: impl IntoIterator<Item = &'a Cell>,
) -> Result<Vec<(Cell, Count)>, Error> {
    let requests = requests(cells);
    let reads = requests.iter().map(|(counter, slots)| async move {
        let read = || {
            context
                .store
                .read(counter, CellSelection::Cells(slots), context.level())
        };
        let rows = with_retries(context, waiting, read).await?;
        Ok::<_, Error>(with_missing_rows(counter, slots, &rows))
    });
    let in_flight = context.config.restorator.requests_in_flight_max.max(1);
    let read = stream::iter(reads).buffered(in_flight);
    let read: Vec<Vec<_>> = read.try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// Retries a read: it changes nothing, and a replica may be busy for a moment, or its node away.
pub(crate) async fn with_retries<B: Backends, T, F: Future<Output = Result<T, StoreError>>>(
    context: &RestoreContext<'_, B>,
    waiting: Waiting,
    read: impl Fn() -> F,
) -> Result<T, StoreError> {
    const PAUSES_MS: [u64; 3] = [200, 500, 1000];
    const LONG_PAUSE: Duration = Duration::from_secs(5);
    let clock = context.clock;
    let until = clock.now().plus(PATIENCE);
    let mut pauses = PAUSES_MS.into_iter().map(Duration::from_millis);
    loop {
        let why = match read().await {
            Err(StoreError::Unavailable(why)) => why,
            read => return read,
        };
        let pause = match (pauses.next(), waiting) {
            (Some(pause), _) => {
                tracing::warn!(why, "a read failed and is retried");
                pause
            }
            (None, Waiting::WithoutLock) if clock.now() < until => {
                context.note_nodes_away(&why);
                LONG_PAUSE
            }
            (None, Waiting::UnderLock | Waiting::WithoutLock) => {
                return Err(StoreError::Unavailable(why));
            }
        };
        clock.sleep(pause).await;
    }
}

fn requests<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Vec<(Counter, Vec<CellSlot>)> {
    let mut counters = BTreeMap::<&Counter, Vec<CellSlot>>::new();
    for cell in cells {
        counters.entry(&cell.counter).or_default().push(cell.slot);
    }
    let mut requests = Vec::new();
    for (counter, slots) in counters {
        let chunks = slots.chunks(CELLS_PER_READ);
        requests.extend(chunks.map(|slots| (counter.clone(), slots.to_vec())));
    }
    requests
}

fn with_missing_rows(
    counter: &Counter,
    slots: &[CellSlot],
    rows: &[(CellSlot, Count)],
) -> Vec<(Cell, Count)> {
    let rows: BTreeMap<CellSlot, Count> = rows.iter().copied().collect();
    let counts = slots.iter().map(|&slot| {
        let counter = counter.clone();
        let count = rows.get(&slot).copied().unwrap_or_default();
        (Cell { counter, slot }, count)
    });
    counts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::Granularity;
    use stitch_testkit::samples::slot_at;

    fn cell(key: &str, hour: i64) -> Cell {
        Cell {
            counter: Counter::new("plays", key),
            slot: slot_at(Granularity::Hour, hour * 3_600_000),
        }
    }

    #[test]
    fn the_cells_of_a_counter_are_read_together_and_in_bounded_requests() {
        let many: Vec<Cell> = (0..250).map(|hour| cell("a", hour)).collect();
        let others = [cell("b", 0), cell("b", 1)];
        let requests = requests(others.iter().chain(&many));
        let sizes: Vec<_> = requests.iter().map(|(_, slots)| slots.len()).collect();
        assert_eq!(sizes, [100, 100, 50, 2]);
    }

    #[test]
    fn a_cell_without_a_row_is_zero() {
        let (a, b) = (cell("a", 0), cell("a", 1));
        let read = with_missing_rows(&a.counter, &[a.slot, b.slot], &[(b.slot, Count(4))]);
        assert_eq!(read, [(a, Count(0)), (b, Count(4))]);
    }
}
