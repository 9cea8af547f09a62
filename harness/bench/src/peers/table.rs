//! Whether a table is right: compared with what each track was sent, whatever the type of its values.

use std::collections::HashMap;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use scylla::client::session::Session;
use scylla::value::{Counter, CqlTimestamp, CqlValue};

use crate::load::{CELLS, COUNTER};

type Row = (String, String, String, CqlTimestamp, Option<CqlValue>);

/// How many cells differ from these events by track, all of one hour: also those that should not be there.
pub(super) async fn wrong(
    session: &Session,
    keyspace: &str,
    events: &HashMap<String, i64>,
) -> Result<u64> {
    let select = format!("SELECT counter, key, granularity, bucket, value FROM {keyspace}.counts");
    let mut rows = session.query_iter(select, ()).await?.rows_stream::<Row>()?;
    let (mut right, mut wrong) = (0, 0);
    while let Some((counter, key, granularity, CqlTimestamp(bucket), value)) =
        rows.try_next().await?
    {
        let found = value.as_ref().map_or(0, number);
        let is_cell = counter == COUNTER && CELLS.contains(&(granularity.as_str(), bucket));
        match events.get(&key) {
            Some(expected) if is_cell && *expected == found => right += 1,
            Some(_) if is_cell => {}
            _ if found == 0 => {}
            _ => wrong += 1,
        }
    }
    let expected = u64::try_from(events.len() * CELLS.len())?;
    Ok(wrong + expected - right)
}

/// The count of a track since ever, or 0.
pub(super) async fn count(session: &Session, keyspace: &str, track: &str) -> Result<i64> {
    let select = format!(
        "SELECT value FROM {keyspace}.counts WHERE counter = ? AND key = ? AND granularity = 'all' AND bucket = 0"
    );
    let rows = session
        .query_unpaged(select, (COUNTER, track))
        .await?
        .into_rows_result()?;
    let row = rows
        .maybe_first_row::<(Option<CqlValue>,)>()
        .context("a count")?;
    Ok(row.and_then(|(value,)| value).as_ref().map_or(0, number))
}

fn number(value: &CqlValue) -> i64 {
    let counter = value.as_counter().map(|Counter(count)| count);
    counter.or_else(|| value.as_bigint()).unwrap_or(0)
}
