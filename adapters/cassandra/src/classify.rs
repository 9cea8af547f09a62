//! What an error of the driver says about an increment (rule P4), and about a read.
//!
//! *Not applied* is said only where the request never left, or where Cassandra refuses before it executes; everything
//! doubtful is *unknown*, and so is every variant that a later driver may add. A batch lies in one Cassandra
//! partition: over several, `Unavailable` for the second could follow the first one's application.

use scylla::errors::{BadQuery, DbError, ExecutionError, RequestAttemptError};

use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::StoreError;

/// What became of an increment that ended with `error`.
#[must_use]
pub fn increment(error: &ExecutionError) -> Outcome {
    let standing = standing(error);
    let cause = Cause::of(error);
    match standing {
        Standing::NotApplied => Outcome::NotApplied(cause),
        Standing::Refused => Outcome::Refused(cause),
        Standing::Unknown => Outcome::Unknown(cause),
    }
}

/// Whether a read that ended with `error` is worth another try.
#[must_use]
pub fn read(error: &ExecutionError) -> StoreError {
    match standing(error) {
        Standing::NotApplied | Standing::Unknown => StoreError::Unavailable(error.to_string()),
        Standing::Refused => StoreError::Refused(error.to_string()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    NotApplied,
    Refused,
    Unknown,
}

fn standing(error: &ExecutionError) -> Standing {
    match error {
        ExecutionError::BadQuery(bad) => of_bad_query(bad),
        // Nothing was sent: no node to send to, no connection, no statement id.
        ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        | ExecutionError::ConnectionPoolError(_) => Standing::NotApplied,
        ExecutionError::LastAttemptError(attempt) => of_attempt(attempt),
        // The frame may be queued in the driver, in either kernel or in the server, and none of them drops it.
        ExecutionError::RequestTimeout(_) => Standing::Unknown,
        // These follow an answer that was not an error.
        ExecutionError::UseKeyspaceError(_)
        | ExecutionError::SchemaAgreementError(_)
        | ExecutionError::MetadataError(_) => Standing::Unknown,
        _ => Standing::Unknown,
    }
}

/// The values do not fit the statement: nothing was sent, and the same values never will fit.
fn of_bad_query(error: &BadQuery) -> Standing {
    match error {
        BadQuery::PartitionKeyExtraction
        | BadQuery::SerializationError(_)
        | BadQuery::ValuesTooLongForKey(..)
        | BadQuery::TooManyQueriesInBatchStatement(_) => Standing::Refused,
        _ => Standing::Unknown,
    }
}

fn of_attempt(error: &RequestAttemptError) -> Standing {
    match error {
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_) => Standing::Refused,
        // Unprepared means not executed, and what then failed was only to prepare it again.
        RequestAttemptError::UnableToAllocStreamId
        | RequestAttemptError::RepreparedIdChanged { .. }
        | RequestAttemptError::RepreparedIdMissingInBatch => Standing::NotApplied,
        RequestAttemptError::DbError(error, _) => of_answer(error),
        // The same error stands for "never handed to the writer" and for "the answer was lost".
        RequestAttemptError::BrokenConnectionError(_) => Standing::Unknown,
        // There was an answer, and it cannot be read.
        RequestAttemptError::BodyExtensionsParseError(_)
        | RequestAttemptError::CqlResultParseError(_)
        | RequestAttemptError::CqlErrorParseError(_)
        | RequestAttemptError::UnexpectedResponse(_)
        | RequestAttemptError::NonfinishedPagingState => Standing::Unknown,
        _ => Standing::Unknown,
    }
}

fn of_answer(error: &DbError) -> Standing {
    match error {
        // Refused before it was executed, and would be again: a batch that is too large is `Invalid`.
        DbError::SyntaxError
        | DbError::Invalid
        | DbError::Unauthorized
        | DbError::AuthenticationError
        | DbError::ConfigError => Standing::Refused,
        // Refused before it was executed. `Unavailable` is found before a single partition's mutation is sent on.
        DbError::Unavailable { .. } | DbError::IsBootstrapping | DbError::Unprepared { .. } => {
            Standing::NotApplied
        }
        DbError::RateLimitReached {
            rejected_by_coordinator,
            ..
        } => {
            if *rejected_by_coordinator {
                Standing::NotApplied
            } else {
                Standing::Unknown
            }
        }
        // `Overloaded` is also said by the counter's leader when it cannot keep a hint: after it applied the increment.
        // A write timeout with no reply received does not mean that the leader did not apply it.
        DbError::Overloaded
        | DbError::WriteTimeout { .. }
        | DbError::WriteFailure { .. }
        | DbError::ReadTimeout { .. }
        | DbError::ReadFailure { .. }
        | DbError::ServerError
        | DbError::ProtocolError
        | DbError::TruncateError
        | DbError::FunctionFailure { .. }
        | DbError::AlreadyExists { .. }
        | DbError::Other(_) => Standing::Unknown,
        _ => Standing::Unknown,
    }
}

#[cfg(test)]
mod tests;
