//! Errors of totals in the object store, by what the caller can do.

use stitch_archive::store_check;
use stitch_common::ports::{ObjectError, ObjectName};
use stitch_common::user_error::UserError;

use crate::sorted::spill_folder::SpillError;

/// An error of reading or writing totals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TotalsError {
    /// The object store.
    #[error(transparent)]
    Store(#[from] ObjectError),
    /// The spill folder.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// An object is not what was put there.
    #[error("{name} is damaged: {why}")]
    Damaged { name: ObjectName, why: String },
    /// An object was written by a later version.
    #[error("{name} has format {format}, which this version of Stitch does not know")]
    Newer { name: ObjectName, format: u32 },
    /// The store does not keep what is there.
    #[error("the store overwrote {name} instead of putting it only if it is absent")]
    Overwrites { name: ObjectName },
    /// Totals cannot be used for what was asked.
    #[error("{name} cannot be used: {why}")]
    Unusable { name: ObjectName, why: String },
    /// Other totals have the same name.
    #[error(
        "{name} was put by another process, and its totals have the digest {theirs}, not {ours}"
    )]
    Contradicted {
        name: ObjectName,
        theirs: String,
        ours: String,
    },
    /// What was written is not what was added up: a defect of Stitch, or of this machine.
    #[error("the totals of this run contradict themselves: {0}")]
    Inconsistent(String),
}

const DAMAGED: &str = "build totals again (stitch-totals build --from-beginning), and see docs/operations/totals.md, \"Totals are damaged\"";

impl From<TotalsError> for UserError {
    fn from(error: TotalsError) -> Self {
        match error {
            TotalsError::Store(error) => error.into(),
            TotalsError::Spill(error) => error.into(),
            TotalsError::Damaged { .. } => Self::new(error, DAMAGED),
            TotalsError::Newer { .. } => Self::new(
                error,
                "use the version of Stitch that wrote it, or a later one",
            ),
            TotalsError::Overwrites { .. } => Self::new(error, store_check::HELP),
            TotalsError::Unusable { .. } => Self::new(
                error,
                "choose other totals (stitch-totals list), or build them again (stitch-totals build --from-beginning)",
            ),
            TotalsError::Contradicted { .. } => Self::new(
                error,
                "verify them (stitch-totals verify), and see docs/operations/totals.md, \"Totals are damaged\"",
            ),
            TotalsError::Inconsistent(_) => Self::new(
                error,
                "nothing was put; run the command again, and report it with its output if it happens twice",
            ),
        }
    }
}
