//! Reads the table of counts through a plain session, from every replica.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use scylla::client::session::Session;
use scylla::statement::{Consistency, Statement};
use scylla::value::{Counter, CqlTimestamp};

use super::{CellId, Cells};

type Row = (String, String, String, CqlTimestamp, Option<Counter>);

/// A session of the driver with default settings.
pub async fn session(nodes: &[String]) -> Result<Session> {
    crate::secure::cassandra(nodes)?
        .build()
        .await
        .context("Cassandra")
}

/// Reads every cell of the table that is not 0.
pub async fn read(session: &Session, keyspace: &str) -> Result<Cells> {
    let mut select = Statement::new(format!(
        "SELECT counter, key, granularity, bucket, value FROM {keyspace}.counts"
    ));
    select.set_consistency(Consistency::All);
    let rows = session.query_iter(select, ()).await?.rows_stream::<Row>()?;
    let cell = |(counter, key, granularity, CqlTimestamp(bucket_ms), value): Row| {
        let id = CellId {
            counter,
            key,
            granularity,
            bucket_ms,
        };
        (id, value.map_or(0, |Counter(value)| value))
    };
    let cells: Vec<(CellId, i64)> = rows.map_ok(cell).try_collect().await?;
    Ok(cells.into_iter().filter(|(_, value)| *value != 0).collect())
}
