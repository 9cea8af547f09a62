//! Errors of the archive, by what the caller can do.

use stitch_common::ports::{ObjectError, ObjectName};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;

/// An error of reading or writing the archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The object store.
    #[error(transparent)]
    Store(#[from] ObjectError),
    /// An object is not what was put there.
    #[error("{name} is damaged: {why}")]
    Damaged {
        /// The object.
        name: ObjectName,
        /// What is wrong with it.
        why: String,
    },
    /// An object belongs elsewhere: another cluster, topic, partition or interval.
    #[error("{name} does not belong there: {why}")]
    Foreign {
        /// The object.
        name: ObjectName,
        /// What it says of itself, and what was expected.
        why: String,
    },
    /// There are segments, and nothing says where their chain begins. It is not made again: a chain that begins anywhere else
    /// would pass over what is there.
    #[error("{name} is missing, and without it {segment} is no part of the archive")]
    OriginMissing {
        /// The origin.
        name: ObjectName,
        /// The first segment that is there.
        segment: ObjectName,
    },
    /// An object was written by a later version.
    #[error("{name} has format {format}, and this version reads format 1")]
    Newer {
        /// The object.
        name: ObjectName,
        /// Its format.
        format: String,
    },
}

const DAMAGED: &str = "see docs/operations/archive.md, \"The archive is damaged\"";
const ORIGIN: &str = "bring the object back from a version or a copy of the bucket, or write it: see \
                      docs/operations/archive.md, \"The origin is missing\"";
const NEWER: &str = "use the version of Stitch that wrote the archive, or a later one";

impl From<ArchiveError> for ServerFailure {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => error.into(),
            ArchiveError::Damaged { .. }
            | ArchiveError::Foreign { .. }
            | ArchiveError::OriginMissing { .. }
            | ArchiveError::Newer { .. } => Self::Refused(error.into()),
        }
    }
}

impl From<ArchiveError> for UserError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => error.into(),
            ArchiveError::Damaged { .. } | ArchiveError::Foreign { .. } => {
                Self::new(error, DAMAGED)
            }
            ArchiveError::OriginMissing { .. } => Self::new(error, ORIGIN),
            ArchiveError::Newer { .. } => Self::new(error, NEWER),
        }
    }
}
