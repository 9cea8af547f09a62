//! What ZooKeeper says of the batch counts. A record that cannot be used is a failure of batch alone: what is counted in
//! real time, and how fresh that is, does not depend on it.

use std::sync::Arc;

use stitch_batch::record::BatchRecord;
use stitch_common::user_error::UserError;
use stitch_protocol::error::Error;

/// What is known of the batch counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchKnowledge {
    /// The record.
    Record(Arc<BatchRecord>),
    /// Nothing was ever loaded, or the namespace has no batch counts.
    Nothing,
    /// The record cannot be used until an operator acts. What it said before may have been withdrawn since, so it is not
    /// relied upon.
    Unusable(UserError),
}

impl BatchKnowledge {
    /// What a read of the record has found.
    ///
    /// # Errors
    /// ZooKeeper was not read, which says nothing of the record.
    pub fn of_read(read: Result<Option<BatchRecord>, Error>) -> Result<Self, Error> {
        match read {
            Ok(Some(record)) => Ok(Self::Record(Arc::new(record))),
            Ok(None) => Ok(Self::Nothing),
            Err(
                error @ (Error::Refused { .. }
                | Error::NotInitialised { .. }
                | Error::Missing { .. }
                | Error::Corrupt { .. }),
            ) => Ok(Self::Unusable(error.into())),
            Err(error @ (Error::SessionOver | Error::Lost { .. } | Error::Unanswered { .. })) => {
                Err(error)
            }
        }
    }

    /// The record, if there is one that can be used.
    pub const fn record(&self) -> Option<&Arc<BatchRecord>> {
        match self {
            Self::Record(record) => Some(record),
            Self::Nothing | Self::Unusable(_) => None,
        }
    }

    /// Why the record cannot be used, if it cannot.
    pub const fn failure(&self) -> Option<&UserError> {
        match self {
            Self::Unusable(error) => Some(error),
            Self::Record(_) | Self::Nothing => None,
        }
    }
}
