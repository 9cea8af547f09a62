//! Why a batch is not published, by what the caller can do.

use stitch_common::offset::{Offset, Partition};
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
    /// The totals lack the beginning of what was published.
    #[error(
        "the totals {totals} count partition {partition} from offset {from} on, and what was published counted it from offset \
         {before}: what lies between would be missing from every count"
    )]
    BeginsLater {
        totals: String,
        partition: Partition,
        from: Offset,
        before: Offset,
    },
    /// It is not known as of when totals count everything.
    #[error(
        "the totals {0} do not say as of when they count every event: their cut was chosen by a restoration"
    )]
    NoAsOf(String),
}

const STORE: &str = "see whether the nodes of [cassandra], and of [batch.cassandra] if it names others, are up, and take writes if this \
                     was a load; then run the command again: nothing was published, and a load that was begun goes on";
const BEGINS_LATER: &str = "nothing was loaded; bring back totals or an archive that have it: see docs/operations/batch.md, \
                            \"Counting would begin later\"";
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
            BatchError::BeginsLater { .. } => Self::new(error, BEGINS_LATER),
            BatchError::NoAsOf(_) => Self::new(
                error,
                "run `stitch-batch run`, which builds totals up to the end of the log",
            ),
        }
    }
}
