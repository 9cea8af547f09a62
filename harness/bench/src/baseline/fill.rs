//! Fills a table with what is read in (g), past every log: each track has the days of a month, the hours of a day, and
//! what these add up to.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::{Consistency, prepared::PreparedStatement};
use scylla::value::{Counter, CqlTimestamp};
use tokio::time::Instant;

use super::{Given, Measured, connect, increment, own_cpu_seconds};
use crate::load::{COUNTER, track};
use crate::serving::month::{self, DAY_MS, HOUR_MS};

/// Batches on their way at once. None is sent again, because it might be counted twice: so few that even a busy server
/// gives up none of them.
const IN_FLIGHT: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// A cell's granularity, bucket and value.
type Cell = (&'static str, i64, i64);

/// Writes every cell once.
pub(super) async fn write(tracks: u32, given: &Given) -> Result<Measured> {
    let session = connect(given).await?;
    let statement = increment(&session, &given.keyspace).await?;
    let cells: Vec<Cell> = cells().collect();
    let batch = batch(&statement, cells.len());
    let (begun, cpu_before) = (Instant::now(), own_cpu_seconds()?);
    stream::iter(0..tracks)
        .map(|number| {
            let key = track(number);
            let (session, batch, cells) = (&session, &batch, &cells);
            async move { session.batch(batch, values(&key, cells)).await }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| async { Ok(()) })
        .await
        .context("a cell may be missing, or be there twice")?;
    Ok(Measured {
        events: 0.0,
        cells: f64::from(tracks) * f64::from(u32::try_from(cells.len())?),
        requests: f64::from(tracks),
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: own_cpu_seconds()? - cpu_before,
    })
}

fn batch(statement: &PreparedStatement, cells: usize) -> Batch {
    let patient = ExecutionProfile::builder().request_timeout(Some(PATIENCE));
    let mut batch = Batch::new(BatchType::Counter);
    batch.set_consistency(Consistency::LocalQuorum);
    batch.set_execution_profile_handle(Some(patient.build().into_handle()));
    for _ in 0..cells {
        batch.append_statement(statement.clone());
    }
    batch
}

/// As if events had come evenly, some in each hour; those of the first day are kept by the hour, too.
fn cells() -> impl Iterator<Item = Cell> {
    let hours = (0..24).map(|hour| {
        (
            "hour",
            month::START_MS + hour * HOUR_MS,
            month::DAY_COUNT / 24,
        )
    });
    let days =
        (0..month::DAYS).map(|day| ("day", month::START_MS + day * DAY_MS, month::DAY_COUNT));
    hours.chain(days).chain([
        ("month", month::START_MS, month::COUNT),
        ("year", month::YEAR_START_MS, month::COUNT),
        ("all", 0, month::COUNT),
    ])
}

type Values<'k> = (Counter, &'static str, &'k str, &'static str, CqlTimestamp);

fn values<'k>(key: &'k str, cells: &[Cell]) -> Vec<Values<'k>> {
    let value = |&(granularity, bucket_ms, value)| {
        let bucket = CqlTimestamp(bucket_ms);
        (Counter(value), COUNTER, key, granularity, bucket)
    };
    cells.iter().map(value).collect()
}
