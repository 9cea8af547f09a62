//! Reads the table of counts by a plain session, from every replica.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::{Consistency, Statement};
use scylla::value::{Counter, CqlTimestamp};

use super::{Cells, Place};

type Row = (String, String, String, CqlTimestamp, Option<Counter>);

/// A session of the driver with nothing set.
///
/// # Errors
/// If no node answers.
pub async fn session(nodes: &[String]) -> Result<Session> {
    SessionBuilder::new()
        .known_nodes(nodes)
        .build()
        .await
        .context("Cassandra")
}

/// Every cell of the table that is not 0.
///
/// # Errors
/// If a replica does not answer.
pub async fn read(session: &Session, keyspace: &str) -> Result<Cells> {
    let mut every = Statement::new(format!(
        "SELECT counter, key, granularity, bucket, value FROM {keyspace}.counts"
    ));
    every.set_consistency(Consistency::All);
    let rows = session.query_iter(every, ()).await?.rows_stream::<Row>()?;
    let cell = |(counter, key, granularity, CqlTimestamp(bucket_ms), value): Row| {
        let place = Place {
            counter,
            key,
            granularity,
            bucket_ms,
        };
        (place, value.map_or(0, |Counter(value)| value))
    };
    let cells: Vec<(Place, i64)> = rows.map_ok(cell).try_collect().await?;
    Ok(cells.into_iter().filter(|(_, value)| *value != 0).collect())
}
