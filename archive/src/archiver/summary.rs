//! What an archiver has done.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Unreadable, UnreadableReason};
use stitch_common::user_error::UserError;

use crate::chain::Segment;

const SILENT: &str = "see whether the brokers are up, whether the partition has a leader, and whether a transaction on it is \
                      left open (kafka-transactions.sh find-hanging); then run the command again: it goes on where the \
                      archive ends";

/// What an archiver has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Segments that it has put.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The position up to which each partition is complete.
    pub complete_to: BTreeMap<Partition, Offset>,
    /// The partitions that could not be read on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stopped: Vec<Stopped>,
}

impl Summary {
    pub(super) const fn add(&mut self, segment: &Segment) {
        self.segments += 1;
        self.records += segment.rows;
        self.bytes += segment.bytes;
    }
}

/// A partition that cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// The partition.
    pub partition: Partition,
    /// The archive ends here, and the log cannot be read from here on.
    pub offset: Offset,
    /// Why.
    #[serde(flatten)]
    pub error: UserError,
}

impl Stopped {
    /// A partition whose archive is not what was expected at `offset`.
    pub(super) fn new(partition: Partition, offset: Offset, error: impl Into<UserError>) -> Self {
        Self {
            partition,
            offset,
            error: error.into(),
        }
    }

    /// A partition of which Kafka has delivered nothing for this long.
    pub(super) fn silent(partition: Partition, offset: Offset, silence: Duration) -> Self {
        let seconds = silence.as_secs();
        let message = format!("Kafka delivered nothing of partition {partition} for {seconds} s");
        Self::new(partition, offset, UserError::new(message, SILENT))
    }
}

impl From<Unreadable> for Stopped {
    fn from(error: Unreadable) -> Self {
        let (partition, offset, reason) = (error.partition, error.offset, error.reason);
        let error = match reason {
            UnreadableReason::Deleted => UserError::new(
                format!(
                    "partition {partition}: records are lost from offset {offset} on: they were deleted before they were archived; {}",
                    error.cause
                ),
                "see docs/operations/archive.md, \"Kafka has deleted what was not archived\"",
            ),
            UnreadableReason::Truncated | UnreadableReason::Missing => UserError::new(
                error,
                "see docs/operations/archive.md, \"The log is not the one that was archived\"",
            ),
            UnreadableReason::Damaged
            | UnreadableReason::Undecodable
            | UnreadableReason::Unauthorized => error.into(),
        };
        Self {
            partition,
            offset,
            error,
        }
    }
}
