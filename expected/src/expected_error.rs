//! Why expected totals cannot be had.

use stitch_common::ports::{LogError, Unreadable};
use stitch_common::user_error::UserError;

use crate::memory_pool::ResourcesExhausted;
use stitch_totals::build::BuildError;
use stitch_totals::log_records::LogRecordsError;
use stitch_totals::records::RecordsError;
use stitch_totals::sorted::spill_folder::SpillError;
use stitch_totals::totals_error::TotalsError;

/// Why expected totals cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectedError {
    /// Too much waits to be counted.
    #[error(transparent)]
    ResourcesExhausted(#[from] ResourcesExhausted),
    /// What was read cannot be kept.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// The base, the archive or the log.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl From<TotalsError> for ExpectedError {
    fn from(error: TotalsError) -> Self {
        Self::Build(error.into())
    }
}

impl From<RecordsError> for ExpectedError {
    fn from(error: RecordsError) -> Self {
        Self::Build(error.into())
    }
}

impl From<LogRecordsError> for ExpectedError {
    fn from(error: LogRecordsError) -> Self {
        RecordsError::from(error).into()
    }
}

impl From<Unreadable> for ExpectedError {
    fn from(error: Unreadable) -> Self {
        LogRecordsError::from(error).into()
    }
}

impl From<LogError> for ExpectedError {
    fn from(error: LogError) -> Self {
        LogRecordsError::from(error).into()
    }
}

const EXHAUSTED: &str = "raise [restorator] memory_mib_max, restore a part at a time with --ranges A-B or --counter NAME, or run it again \
                         when the processors have caught up";

impl From<ResourcesExhausted> for UserError {
    fn from(error: ResourcesExhausted) -> Self {
        Self::new(error, EXHAUSTED)
    }
}

impl From<ExpectedError> for UserError {
    fn from(error: ExpectedError) -> Self {
        match error {
            ExpectedError::ResourcesExhausted(error) => error.into(),
            ExpectedError::Spill(error) => error.into(),
            ExpectedError::Build(error) => error.into(),
        }
    }
}
