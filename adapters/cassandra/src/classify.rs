//! Classifies the driver's errors: the outcome of an increment (rule P4), and whether a read can be retried.
//!
//! *Not applied* is returned only where the request was never sent, or where Cassandra refuses before executing;
//! everything else is *unknown*, and so is every variant that a later driver may add.
//!
//! A request of several counters is a batch over several Cassandra partitions. `StorageProxy.mutate` of 4.1 and 5.0 begins
//! one after the other (`mutateCounter`: it applies the increment itself, or passes it to the replica that leads it) and
//! waits for all of them only afterwards. What it says before that loop is as certain as for one partition: the batch is
//! parsed, authorised, validated and measured as a whole (`BatchMessage`, `BatchStatement`, `mutateWithTriggers`). What it
//! says within the loop (`Unavailable`) may follow the beginning of another partition, and what it says afterwards is
//! unknown for one partition, too.

use scylla::errors::{BadQuery, DbError, ExecutionError, RequestAttemptError};

use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::StoreError;

/// The outcome of a request of this many counters that ended with `error`.
#[must_use]
pub fn increment(error: &ExecutionError, counters: usize) -> Outcome {
    let cause = Cause::of(error);
    match verdict(error) {
        Verdict::NotApplied => Outcome::NotApplied(cause),
        Verdict::Unavailable => Outcome::unavailable(counters, cause),
        Verdict::Refused => Outcome::Refused(cause),
        Verdict::Unauthorized => Outcome::Unauthorized(cause),
        Verdict::Unknown => Outcome::Unknown(cause),
    }
}

/// The error of a read; [`StoreError::Unavailable`] if a retry can help.
#[must_use]
pub fn read(error: &ExecutionError) -> StoreError {
    match verdict(error) {
        Verdict::NotApplied | Verdict::Unavailable | Verdict::Unknown => {
            StoreError::Unavailable(error.to_string())
        }
        Verdict::Refused | Verdict::Unauthorized => StoreError::Refused(error.to_string()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// None of its counters was begun.
    NotApplied,
    /// One of its counters was not begun, and none behind it.
    Unavailable,
    Refused,
    Unauthorized,
    Unknown,
}

fn verdict(error: &ExecutionError) -> Verdict {
    match error {
        ExecutionError::BadQuery(bad) => of_bad_query(bad),
        // Nothing was sent: no node to send to, no connection, no statement id.
        ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        | ExecutionError::ConnectionPoolError(_) => Verdict::NotApplied,
        ExecutionError::LastAttemptError(attempt) => of_attempt(attempt),
        // The frame may be queued in the driver, in either kernel or in the server, and none of them drops it.
        ExecutionError::RequestTimeout(_) => Verdict::Unknown,
        // These follow an answer that was not an error.
        ExecutionError::UseKeyspaceError(_)
        | ExecutionError::SchemaAgreementError(_)
        | ExecutionError::MetadataError(_) => Verdict::Unknown,
        _ => Verdict::Unknown,
    }
}

/// The values do not fit the statement: nothing was sent, and the same values will never fit.
fn of_bad_query(error: &BadQuery) -> Verdict {
    match error {
        BadQuery::PartitionKeyExtraction
        | BadQuery::SerializationError(_)
        | BadQuery::ValuesTooLongForKey(..)
        | BadQuery::TooManyQueriesInBatchStatement(_) => Verdict::Refused,
        _ => Verdict::Unknown,
    }
}

fn of_attempt(error: &RequestAttemptError) -> Verdict {
    match error {
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_) => Verdict::Refused,
        // Unprepared means not executed; only preparing it again failed.
        RequestAttemptError::UnableToAllocStreamId
        | RequestAttemptError::RepreparedIdChanged { .. }
        | RequestAttemptError::RepreparedIdMissingInBatch => Verdict::NotApplied,
        RequestAttemptError::DbError(
            DbError::Unauthorized | DbError::AuthenticationError,
            words,
        ) => of_authorization(words),
        RequestAttemptError::DbError(error, _) => of_answer(error),
        // The same error means "never handed to the writer" and "the answer was lost".
        RequestAttemptError::BrokenConnectionError(_) => Verdict::Unknown,
        // An answer came, but it cannot be parsed.
        RequestAttemptError::BodyExtensionsParseError(_)
        | RequestAttemptError::CqlResultParseError(_)
        | RequestAttemptError::CqlErrorParseError(_)
        | RequestAttemptError::UnexpectedResponse(_)
        | RequestAttemptError::NonfinishedPagingState => Verdict::Unknown,
        _ => Verdict::Unknown,
    }
}

/// A statement is authorised before anything of it is executed.
fn of_authorization(words: &str) -> Verdict {
    if is_roles_unreadable(words) {
        Verdict::NotApplied
    } else {
        Verdict::Unauthorized
    }
}

/// Whether a node refuses because it cannot read roles and permissions, in the words of 4.1 and 5.0: the nodes of
/// `system_auth` that have them are away. It says so with the errors of a role that has not the right.
pub(crate) fn is_roles_unreadable(words: &str) -> bool {
    words.starts_with("Unable to perform authentication")
        || words.starts_with("Unable to perform authorization")
}

fn of_answer(error: &DbError) -> Verdict {
    match error {
        // Refused before execution. `Invalid` is a batch that is too large, or a table that this node does not know yet.
        DbError::SyntaxError | DbError::Invalid | DbError::ConfigError => Verdict::Refused,
        DbError::Unauthorized | DbError::AuthenticationError => Verdict::Unauthorized,
        // Unprepared means not executed.
        DbError::Unprepared { .. } => Verdict::NotApplied,
        // Detected before the mutation of a partition is applied or passed on. The other two are not answers to increments
        // in 4.1 and 5.0, where only reads are refused by a node that bootstraps, so nothing says when they are detected.
        DbError::Unavailable { .. } | DbError::IsBootstrapping => Verdict::Unavailable,
        DbError::RateLimitReached {
            rejected_by_coordinator,
            ..
        } => {
            if *rejected_by_coordinator {
                Verdict::Unavailable
            } else {
                Verdict::Unknown
            }
        }
        // A counter's leader also answers `Overloaded` when it cannot store a hint, after applying the increment.
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
        | DbError::Other(_) => Verdict::Unknown,
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests;
