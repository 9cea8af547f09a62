//! Why totals cannot be built, by what the caller can do.

use stitch_common::cell::CounterName;
use stitch_common::user_error::UserError;

use crate::manifest::TotalsId;
use crate::records::RecordsError;
use crate::totals_error::TotalsError;

/// Why totals cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Totals(#[from] TotalsError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The newest totals lack counters.
    #[error("the newest totals, {id}, lack the counters {}", names(counters))]
    Lacking {
        id: TotalsId,
        counters: Vec<CounterName>,
    },
    /// There is no such counter, or no totals that lack it.
    #[error("--counter {}: {why}", counter.0)]
    NotAdded {
        counter: CounterName,
        why: &'static str,
    },
    /// A cluster has not done its work, or contradicts itself.
    #[error("{}", .0.message)]
    Cluster(UserError),
    /// There are no such totals.
    #[error("there are no totals {0}")]
    NoSuchTotals(TotalsId),
}

fn names(counters: &[CounterName]) -> String {
    let names: Vec<_> = counters.iter().map(|counter| &*counter.0).collect();
    names.join(" and ")
}

impl From<BuildError> for UserError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Totals(error) => error.into(),
            BuildError::Records(error) => error.into(),
            BuildError::Cluster(error) => error,
            BuildError::Lacking { ref counters, .. } => {
                let options: Vec<_> = counters
                    .iter()
                    .map(|counter| format!("--counter {}", counter.0))
                    .collect();
                let help = format!(
                    "count their past: stitch-totals build {}; or everything again, with --from-beginning",
                    options.join(" ")
                );
                Self::new(error, help)
            }
            BuildError::NotAdded { .. } => Self::new(
                error,
                "see stitch-totals list, and the counters of the configuration",
            ),
            BuildError::NoSuchTotals(_) => Self::new(error, "see stitch-totals list"),
        }
    }
}

impl From<crate::sorted::spill_folder::SpillError> for BuildError {
    fn from(error: crate::sorted::spill_folder::SpillError) -> Self {
        Self::Totals(error.into())
    }
}
