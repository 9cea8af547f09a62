//! The independent recount: reads the log and the table by itself, and says which cells are right.

mod log;
mod rules;
mod table;
mod time;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::servers::Servers;

pub use log::{each as each_record, read as read_log};
pub use rules::Rules;
pub use table::{read as read_table, session};
pub use verdict::{Tally, Verdict, Wrong, WrongCell};

/// A cell's place: counter, key, granularity, start of the bucket in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The counter's name.
    pub counter: String,
    /// Its key.
    pub key: String,
    /// `hour`, `day`, `month`, `year` or `all`.
    pub granularity: String,
    /// Where the bucket starts.
    pub bucket_ms: i64,
}

/// The value of every cell that has one.
pub type Cells = BTreeMap<Place, i64>;

/// Counts the whole log anew and compares each cell with what the table has.
///
/// # Errors
/// If log or table cannot be read, or the configuration is not understood.
pub async fn recount(
    servers: &Servers,
    config: &Path,
    topic: &str,
    keyspace: &str,
) -> Result<Verdict> {
    let rules = Rules::read(config)?;
    let kafka = servers.kafka.clone();
    let topic = topic.to_owned();
    // Kafka's client blocks.
    let counting = tokio::task::spawn_blocking(move || read_log(&kafka, &topic, &rules));
    let session = session(&servers.cassandra).await?;
    let found = read_table(&session, keyspace).await?;
    let expected = counting.await??;
    Ok(Verdict::of(&expected, &found))
}
