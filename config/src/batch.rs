//! The section `[batch]`.

use std::time::Duration;

use crate::section::{Section, section};
use crate::servers::Cassandra;
use stitch_common::user_error::UserError;

section! {
    /// `[batch]`
    pub Batch(realtime_cassandra: &Cassandra) {
        /// Whether counts are also computed in batch and served from the table `batch_counts`.
        enabled: bool = flag("enabled"; false),
        /// Whether processors count in real time, too. Without, there is no table `counts`.
        realtime: bool = realtime("realtime"; enabled),
        /// The allowance for late events: buckets that ended this long before a batch are closed, and served from it.
        closed_after: Duration = milliseconds("closed_after_ms"; 3_600_000, 0),
        /// The cluster and the keyspace of `batch_counts`: `[batch.cassandra]`, by default `[cassandra]`.
        cassandra: Cassandra = batch_cassandra("cassandra"; realtime_cassandra),
    }
}

impl Section<'_> {
    /// Without real time there must be batch: else nothing would be counted.
    fn realtime(&mut self, key: &str, enabled: bool) -> Result<bool, UserError> {
        let source = self.entries.get(key).map(|entry| entry.source);
        let realtime = self.flag(key, true)?;
        match source {
            Some(source) if !realtime && !enabled => {
                let what = " = false, and batch.enabled is false: nothing would be counted";
                let help = "write enabled = true in [batch], or leave realtime out";
                Err(self.wrong(key, source, what, help))
            }
            Some(_) | None => Ok(realtime),
        }
    }

    fn batch_cassandra(&mut self, key: &str, default: &Cassandra) -> Result<Cassandra, UserError> {
        if !self.entries.contains_key(key) {
            return Ok(default.clone());
        }
        Cassandra::read(self.section(key)?)
    }
}
