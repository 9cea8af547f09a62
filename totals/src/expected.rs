//! The seam for sources of expected totals. The log is the first; an archive of it, or a query over one, can stand
//! here too: whatever adds up all events below some place of the log, by the same decoder.

use crate::memory_pool::TooLarge;
use crate::totals_by_range::TotalsByRange;
use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::LogError;
use stitch_common::progress::Progress;

pub mod log;

pub use log::Log;

/// Adds up events.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait ExpectedTotals {
    /// Puts into `totals` what every event below `below` adds, each exactly once; nothing at or above it.
    ///
    /// # Errors
    /// The totals are not complete; the ledgers are of no use then.
    async fn add_below(
        &self,
        below: &Offsets,
        totals: &mut TotalsByRange,
        progress: &dyn Progress,
    ) -> Result<(), ExpectedError>;
}

/// Why expected totals could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectedError {
    /// They take more memory than allowed.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The log cannot be read from where it has to be.
    #[error("records of partition {partition} cannot be read any more")]
    Gone {
        /// Which partition.
        partition: Partition,
        /// What Kafka says.
        #[source]
        error: LogError,
    },
    /// Nothing was delivered for a long time.
    #[error("Kafka delivered nothing of partition {partition} for {seconds} s")]
    Stalled {
        /// A partition that was not read to its end.
        partition: Partition,
        /// For how long.
        seconds: u64,
    },
    /// Kafka could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
}
