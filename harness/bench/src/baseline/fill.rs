//! Fills the table of (g) directly, without a log: each track has the days of a month, the hours of its first day, and
//! their sums.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::{Consistency, prepared::PreparedStatement};
use scylla::value::{Counter, CqlTimestamp};
use tokio::time::Instant;

use super::{Measured, Target, connect, increment, own_cpu_seconds};
use crate::load::{COUNTER, SERVED, track};
use crate::serving::month::{self, DAY_MS, HOUR_MS};

/// Batches in flight. None is retried, because it might be counted twice: few enough for even a busy server to answer all.
const IN_FLIGHT: usize = 4;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A cell's counter, granularity, bucket and value.
type Cell = (&'static str, &'static str, i64, i64);

/// Writes every cell once.
pub(super) async fn write(tracks: u32, target: &Target) -> Result<Measured> {
    let session = connect(target).await?;
    let statement = increment(&session, &target.keyspace).await?;
    let cells: Vec<Cell> = cells().collect();
    let batch = batch(&statement, cells.len());
    let (started, cpu_before) = (Instant::now(), own_cpu_seconds()?);
    stream::iter(0..tracks)
        .map(|number| {
            let key = track(number);
            let (session, batch, cells) = (&session, &batch, &cells);
            async move { session.batch(batch, values(&key, cells)).await }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| async { Ok(()) })
        .await
        .context("a cell may be missing, or counted twice")?;
    Ok(Measured {
        events: 0.0,
        cells: f64::from(tracks) * f64::from(u32::try_from(cells.len())?),
        requests: f64::from(tracks),
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: own_cpu_seconds()? - cpu_before,
    })
}

fn batch(statement: &PreparedStatement, cells: usize) -> Batch {
    let profile = ExecutionProfile::builder().request_timeout(Some(REQUEST_TIMEOUT));
    let mut batch = Batch::new(BatchType::Counter);
    batch.set_consistency(Consistency::LocalQuorum);
    batch.set_execution_profile_handle(Some(profile.build().into_handle()));
    for _ in 0..cells {
        batch.append_statement(statement.clone());
    }
    batch
}

/// The cells of one track, as if its events were spread evenly; those of the first day are also kept by the hour. Of the
/// other counters there is all time.
fn cells() -> impl Iterator<Item = Cell> {
    let hours = (0..24).map(|hour| {
        (
            COUNTER,
            "hour",
            month::START_MS + hour * HOUR_MS,
            month::DAY_COUNT / 24,
        )
    });
    let days = (0..month::DAYS).map(|day| {
        let start_ms = month::START_MS + day * DAY_MS;
        (COUNTER, "day", start_ms, month::DAY_COUNT)
    });
    let all = SERVED.map(|counter| (counter, "all", 0, month::COUNT));
    hours.chain(days).chain(all).chain([
        (COUNTER, "month", month::START_MS, month::COUNT),
        (COUNTER, "year", month::YEAR_START_MS, month::COUNT),
    ])
}

type Values<'k> = (Counter, &'static str, &'k str, &'static str, CqlTimestamp);

fn values<'k>(key: &'k str, cells: &[Cell]) -> Vec<Values<'k>> {
    let value = |&(counter, granularity, bucket_ms, value)| {
        let bucket = CqlTimestamp(bucket_ms);
        (Counter(value), counter, key, granularity, bucket)
    };
    cells.iter().map(value).collect()
}
