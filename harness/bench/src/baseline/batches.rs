//! The bare driver: batches of one counter, with nothing to do before they are sent.

use std::pin::pin;

use anyhow::{Result, bail};
use futures_util::stream::{self, StreamExt};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::value::{Counter, CqlTimestamp};

use super::{IN_FLIGHT, Measured, Stopwatch, Target, connect, increment};
use crate::load::{CELLS, COUNTER, track};

/// Sends batches until the time is over.
pub(super) async fn send(cells: usize, tracks: u32, target: &Target) -> Result<Measured> {
    let session = connect(target).await?;
    let statement = increment(&session, &target.keyspace).await?;
    let mut batch = Batch::new(BatchType::Counter);
    batch.set_consistency(Consistency::LocalQuorum);
    for _ in 0..cells {
        batch.append_statement(statement.clone());
    }
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let keys = stream::repeat_with(|| track(random.random_range(0..tracks)));
    let requests = keys
        .map(async |key| session.batch(&batch, values(&key, cells)).await)
        .buffer_unordered(IN_FLIGHT);
    let mut requests = pin!(requests);
    let mut stopwatch = Stopwatch::new(target);
    while let Some(answer) = requests.next().await {
        if let Err(error) = answer {
            stopwatch.record_failure(error.into())?;
            continue;
        }
        if let Some(measured) = stopwatch.record_answer()? {
            let cells = u32::try_from(cells)?;
            return Ok(Measured {
                cells: measured.requests * f64::from(cells),
                ..measured
            });
        }
    }
    bail!("an endless stream ended")
}

type Values<'k> = (Counter, &'static str, &'k str, &'static str, CqlTimestamp);

fn values(key: &str, cells: usize) -> Vec<Values<'_>> {
    let cell = |(granularity, bucket_ms)| {
        (
            Counter(1),
            COUNTER,
            key,
            granularity,
            CqlTimestamp(bucket_ms),
        )
    };
    CELLS.into_iter().cycle().take(cells).map(cell).collect()
}
