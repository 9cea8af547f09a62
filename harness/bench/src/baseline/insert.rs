//! The bare driver: writes the batch counts of every track by prepared inserts, with nothing to find out before.

use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use scylla::client::session::Session;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;
use tokio::time::Instant;

use super::{IN_FLIGHT, Measured, Target, connect, own_cpu_seconds};
use crate::load::{CELLS, COUNTER, track};

/// Writes every cell once, into a table of its own.
pub(super) async fn write(tracks: u32, batched: bool, target: &Target) -> Result<Measured> {
    let session = connect(target).await?;
    let insert = prepare(&session, &target.keyspace).await?;
    let mut batch = Batch::new(BatchType::Unlogged);
    batch.set_consistency(Consistency::LocalQuorum);
    CELLS
        .iter()
        .for_each(|_| batch.append_statement(insert.clone()));
    let (started, cpu_before) = (Instant::now(), own_cpu_seconds()?);
    let keys = stream::iter((0..tracks).map(track));
    if batched {
        keys.map(async |key| {
            let values = CELLS.map(|cell| values(&key, cell));
            session.batch(&batch, &values[..]).await
        })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| async { Ok(()) })
        .await
        .context("a batch of inserts")?;
    } else {
        keys.flat_map(|key| stream::iter(CELLS).map(move |cell| (key.clone(), cell)))
            .map(async |(key, cell)| session.execute_unpaged(&insert, values(&key, cell)).await)
            .buffer_unordered(IN_FLIGHT)
            .try_for_each(|_| async { Ok(()) })
            .await
            .context("an insert")?;
    }
    let cells = f64::from(tracks) * f64::from(u32::try_from(CELLS.len())?);
    Ok(Measured {
        events: 0.0,
        cells,
        requests: if batched { f64::from(tracks) } else { cells },
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: own_cpu_seconds()? - cpu_before,
    })
}

/// An empty table like that of batch counts, and its insert.
async fn prepare(session: &Session, keyspace: &str) -> Result<PreparedStatement> {
    let table = format!("{keyspace}.bare_counts");
    for statement in [
        format!("DROP TABLE IF EXISTS {table}"),
        format!(
            "CREATE TABLE {table} (counter text, key text, granularity text, bucket timestamp, value bigint, \
             PRIMARY KEY ((counter, key), granularity, bucket))"
        ),
    ] {
        session.query_unpaged(statement, ()).await?;
    }
    let insert = format!(
        "INSERT INTO {table} (counter, key, granularity, bucket, value) VALUES (?, ?, ?, ?, ?)"
    );
    let mut insert = session.prepare(insert).await?;
    insert.set_consistency(Consistency::LocalQuorum);
    Ok(insert)
}

type Values<'k> = (&'static str, &'k str, &'static str, CqlTimestamp, i64);

fn values<'k>(key: &'k str, (granularity, bucket_ms): (&'static str, i64)) -> Values<'k> {
    (COUNTER, key, granularity, CqlTimestamp(bucket_ms), 1)
}
