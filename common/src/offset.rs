//! Positions in the event log.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A partition of the event topic. Never a Cassandra partition, which is called a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub i32);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A position in a partition: all records below it come before.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(pub i64);

impl Offset {
    /// The offset after the record at this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One offset for each partition: a position in the whole log. A missing partition is at its start, 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offsets(pub BTreeMap<Partition, Offset>);

impl Offsets {
    /// The offset of `partition`; 0 if it is missing.
    #[must_use]
    pub fn of(&self, partition: Partition) -> Offset {
        self.0.get(&partition).copied().unwrap_or_default()
    }
}
