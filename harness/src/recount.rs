//! The independent recount: reads the log and the table itself, and reports which cells are right.

mod log;
mod ranges;
mod rules;
mod table;
mod time;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::servers::Servers;

pub use log::{each as each_record, read as read_log};
pub use ranges::Ranges;
pub use rules::Rules;
pub use table::{read as read_table, session};
pub use verdict::{Tally, Verdict, Wrong, WrongCell};

/// Identifies a cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId {
    pub counter: String,
    pub key: String,
    /// `hour`, `day`, `month`, `year` or `all`.
    pub granularity: String,
    /// Start of the bucket, in milliseconds since 1970.
    pub bucket_ms: i64,
}

/// The values of cells; a missing one is 0.
pub type Cells = BTreeMap<CellId, i64>;

/// Counts the whole log again, adds what was counted of records that it has `lost`, and compares each cell with the table.
pub async fn recount(
    servers: &Servers,
    config: &Path,
    topic: &str,
    keyspace: &str,
    lost: &Cells,
) -> Result<Verdict> {
    let counting = count_log(servers, config, topic);
    let reading = async {
        let session = session(&servers.cassandra).await?;
        read_table(&session, keyspace).await
    };
    let ((mut expected, _), found) = tokio::try_join!(counting, reading)?;
    for (cell, count) in lost {
        *expected.entry(cell.clone()).or_default() += count;
    }
    expected.retain(|_, value| *value != 0);
    Ok(Verdict::of(&expected, &found))
}

/// Counts the whole log; returns the sums, and where each partition ended.
pub async fn count_log(
    servers: &Servers,
    config: &Path,
    topic: &str,
) -> Result<(Cells, Vec<(i32, i64)>)> {
    let rules = Rules::read(config)?;
    let (kafka, topic) = (servers.kafka.clone(), topic.to_owned());
    // Kafka's client blocks the thread.
    tokio::task::spawn_blocking(move || read_log(&kafka, &topic, &rules)).await?
}
