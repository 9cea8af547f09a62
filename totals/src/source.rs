//! The seam for sources of expected totals. To add a source (an archive of the log, or a query over one), write a module
//! below `source/` that implements [`ExpectedTotals`]: it adds up all events below a cut, by the same decoder
//! ([`EventReader`](crate::event_reader::EventReader)). [`log`] is the first. What lies above the cut always comes from
//! the log, by the [`LogFollower`](crate::log_follower::LogFollower).

use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::{LogError, Unreadable};
use stitch_common::progress::Progress;

use crate::log_records::LogRecordsError;
use crate::memory_pool::TooLarge;
use crate::totals_by_range::TotalsByRange;

pub mod log;

pub use log::LogSource;

/// A source of expected totals.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait ExpectedTotals {
    /// Adds to `totals` the contributions of every event below `below`, each exactly once, and of no other event.
    ///
    /// # Errors
    /// The totals are incomplete, and of no use.
    async fn add_below(
        &self,
        below: &Offsets,
        totals: &mut TotalsByRange,
        progress: &dyn Progress,
    ) -> Result<(), ExpectedError>;
}

/// Why expected totals could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectedError {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// A partition cannot be read on.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Kafka delivered nothing for too long. `partition` is one that was not read to its end.
    #[error("Kafka delivered nothing of partition {partition} for {seconds} s")]
    Stalled { partition: Partition, seconds: u64 },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<LogRecordsError> for ExpectedError {
    fn from(error: LogRecordsError) -> Self {
        match error {
            LogRecordsError::Unreadable(error) => Self::Unreadable(error),
            LogRecordsError::Stalled { partition, seconds } => Self::Stalled { partition, seconds },
            LogRecordsError::Log(error) => Self::Log(error),
        }
    }
}
