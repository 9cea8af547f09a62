//! Why a batch is not published, by what the caller can do.

use stitch_common::ports::StoreError;
use stitch_common::user_error::UserError;
use stitch_totals::totals_error::TotalsError;

/// Why a batch is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The totals cannot be read.
    #[error(transparent)]
    Totals(#[from] TotalsError),
    /// Cassandra.
    #[error("batch counts: {0}")]
    Store(#[from] StoreError),
    /// ZooKeeper.
    #[error(transparent)]
    ZooKeeper(#[from] stitch_protocol::Error),
    /// What was read back is not what was to be loaded.
    #[error(
        "batch counts are not the totals {totals}: {rows} cells with the digest {digest} were read back, not {rows_wanted} with \
         {digest_wanted}; {foreign} rows are of no counter of this namespace"
    )]
    Differs {
        totals: String,
        rows: u64,
        digest: String,
        rows_wanted: u64,
        digest_wanted: String,
        foreign: u64,
    },
    /// It is not known as of when totals count everything.
    #[error(
        "the totals {0} do not say as of when they count every event: their cut was chosen by a restoration"
    )]
    NoAsOf(String),
}

const STORE: &str = "see whether the nodes of [batch.cassandra] (by default [cassandra]) are up and take writes; nothing was published, and \
                     `stitch-batch run` goes on";
const DIFFERS: &str =
    "nothing was published; see docs/operations/batch.md, \"What was read back differs\"";

impl From<BatchError> for UserError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Totals(error) => error.into(),
            BatchError::ZooKeeper(error) => error.into(),
            BatchError::Store(StoreError::Unavailable(_)) => Self::new(error, STORE),
            BatchError::Store(error) => error.into(),
            BatchError::Differs { .. } => Self::new(error, DIFFERS),
            BatchError::NoAsOf(_) => Self::new(
                error,
                "run `stitch-batch run`, which builds totals up to the end of the log",
            ),
        }
    }
}
