use std::sync::Arc;
use std::time::Duration;

use scylla::errors::{
    BadQuery, BrokenConnectionErrorKind, ConnectionError, ConnectionPoolError, CqlResponseKind,
    DbError, ExecutionError, MetadataError, OperationType, PeersMetadataError, PrepareError,
    RequestAttemptError, SchemaAgreementError, SerializationError, UseKeyspaceError, WriteType,
};
use scylla::statement::Consistency;

use super::*;

const ONE: Consistency = Consistency::One;

#[derive(Debug, thiserror::Error)]
#[error("made for a test")]
struct Made;

fn serialization() -> SerializationError {
    SerializationError::new(Made)
}

fn pool() -> ConnectionPoolError {
    ConnectionPoolError::Broken {
        last_connection_error: ConnectionError::IoError(Arc::new(
            std::io::ErrorKind::ConnectionRefused.into(),
        )),
    }
}

fn write_types() -> Vec<WriteType> {
    vec![
        WriteType::Counter,
        WriteType::UnloggedBatch,
        WriteType::Batch,
        WriteType::BatchLog,
        WriteType::Simple,
        WriteType::Cas,
        WriteType::View,
        WriteType::Cdc,
        WriteType::Other("NEW".to_owned()),
    ]
}

/// Every error that Cassandra can return.
fn answers() -> Vec<(DbError, Verdict)> {
    use Verdict::{NotApplied, Refused, Unauthorized, Unavailable, Unknown};
    let rate_limited = |rejected_by_coordinator| DbError::RateLimitReached {
        op_type: OperationType::Write,
        rejected_by_coordinator,
    };
    let mut answers = vec![
        (DbError::SyntaxError, Refused),
        (DbError::Invalid, Refused),
        (DbError::Unauthorized, Unauthorized),
        (DbError::AuthenticationError, Unauthorized),
        (DbError::ConfigError, Refused),
        (
            DbError::Unavailable {
                consistency: ONE,
                required: 2,
                alive: 1,
            },
            Unavailable,
        ),
        (DbError::IsBootstrapping, Unavailable),
        (
            DbError::Unprepared {
                statement_id: Vec::new().into(),
            },
            NotApplied,
        ),
        (rate_limited(true), Unavailable),
        (rate_limited(false), Unknown),
        (DbError::Overloaded, Unknown),
        (DbError::TruncateError, Unknown),
        (DbError::ServerError, Unknown),
        (DbError::ProtocolError, Unknown),
        (DbError::Other(0x1234), Unknown),
        (
            DbError::AlreadyExists {
                keyspace: String::new(),
                table: String::new(),
            },
            Unknown,
        ),
        (
            DbError::FunctionFailure {
                keyspace: String::new(),
                function: String::new(),
                arg_types: Vec::new(),
            },
            Unknown,
        ),
    ];
    answers.extend(reads());
    answers.extend(writes());
    answers
}

fn reads() -> [(DbError, Verdict); 2] {
    use Verdict::Unknown;
    [
        (
            DbError::ReadTimeout {
                consistency: ONE,
                received: 0,
                required: 1,
                data_present: false,
            },
            Unknown,
        ),
        (
            DbError::ReadFailure {
                consistency: ONE,
                received: 0,
                required: 1,
                numfailures: 1,
                data_present: false,
            },
            Unknown,
        ),
    ]
}

fn writes() -> Vec<(DbError, Verdict)> {
    let mut answers = Vec::new();
    for write_type in write_types() {
        // Nothing received does not mean that nothing was applied.
        for received in [0, 1] {
            let timeout = DbError::WriteTimeout {
                consistency: ONE,
                received,
                required: 2,
                write_type: write_type.clone(),
            };
            let failure = DbError::WriteFailure {
                consistency: ONE,
                received,
                required: 2,
                numfailures: 1,
                write_type: write_type.clone(),
            };
            answers.extend([(timeout, Verdict::Unknown), (failure, Verdict::Unknown)]);
        }
    }
    answers
}

/// Every error of an attempt that can be constructed outside of the driver.
fn attempts() -> Vec<(RequestAttemptError, Verdict)> {
    use Verdict::{NotApplied, Refused, Unknown};
    let mut attempts = vec![
        (
            RequestAttemptError::SerializationError(serialization()),
            Refused,
        ),
        (RequestAttemptError::UnableToAllocStreamId, NotApplied),
        (
            RequestAttemptError::RepreparedIdChanged {
                statement: String::new(),
                expected_id: Vec::new(),
                reprepared_id: Vec::new(),
            },
            NotApplied,
        ),
        (RequestAttemptError::RepreparedIdMissingInBatch, NotApplied),
        (
            RequestAttemptError::BrokenConnectionError(
                BrokenConnectionErrorKind::ChannelError.into(),
            ),
            Unknown,
        ),
        (
            RequestAttemptError::BrokenConnectionError(
                BrokenConnectionErrorKind::TooManyOrphanedStreamIds(1025).into(),
            ),
            Unknown,
        ),
        (
            RequestAttemptError::UnexpectedResponse(CqlResponseKind::Ready),
            Unknown,
        ),
        (RequestAttemptError::NonfinishedPagingState, Unknown),
    ];
    // Of a node that cannot read roles: as Cassandra 5.0.9 says it.
    let unread = [
        (DbError::Unauthorized, "authorization of permissions"),
        (
            DbError::Unauthorized,
            "authorization of super-user permission",
        ),
        (DbError::AuthenticationError, "authentication"),
    ];
    attempts.extend(unread.map(|(answer, doing)| {
        let words =
            format!("Unable to perform {doing}: Cannot achieve consistency level LOCAL_ONE");
        (RequestAttemptError::DbError(answer, words), NotApplied)
    }));
    attempts.extend(answers().into_iter().map(|(answer, verdict)| {
        (
            RequestAttemptError::DbError(answer, "why".to_owned()),
            verdict,
        )
    }));
    attempts
}

fn errors() -> Vec<(ExecutionError, Verdict)> {
    use Verdict::{NotApplied, Refused, Unknown};
    let mut errors: Vec<(ExecutionError, Verdict)> = vec![
        (BadQuery::PartitionKeyExtraction.into(), Refused),
        (
            BadQuery::SerializationError(serialization()).into(),
            Refused,
        ),
        (
            BadQuery::ValuesTooLongForKey(70_000, 65_535).into(),
            Refused,
        ),
        (
            BadQuery::TooManyQueriesInBatchStatement(65_536).into(),
            Refused,
        ),
        (ExecutionError::EmptyPlan, NotApplied),
        (
            PrepareError::PreparedStatementIdsMismatch.into(),
            NotApplied,
        ),
        (PrepareError::ConnectionPoolError(pool()).into(), NotApplied),
        (pool().into(), NotApplied),
        (ConnectionPoolError::Initializing.into(), NotApplied),
        (
            ConnectionPoolError::NodeDisabledByHostFilter.into(),
            NotApplied,
        ),
        (
            ExecutionError::RequestTimeout(Duration::from_secs(5)),
            Unknown,
        ),
        (
            UseKeyspaceError::RequestTimeout(Duration::from_secs(5)).into(),
            Unknown,
        ),
        (
            SchemaAgreementError::Timeout(Duration::from_secs(5)).into(),
            Unknown,
        ),
        (
            MetadataError::Peers(PeersMetadataError::EmptyPeers).into(),
            Unknown,
        ),
    ];
    let attempts = attempts().into_iter();
    errors.extend(attempts.map(|(attempt, verdict)| (attempt.into(), verdict)));
    errors
}

/// The verdict of an outcome, with its cause.
fn outcome_of(error: &ExecutionError, counters: usize) -> (Verdict, String) {
    match increment(error, counters) {
        Outcome::NotApplied(Cause(cause)) => (Verdict::NotApplied, cause),
        Outcome::Refused(Cause(cause)) => (Verdict::Refused, cause),
        Outcome::Unauthorized(Cause(cause)) => (Verdict::Unauthorized, cause),
        Outcome::Unknown(Cause(cause)) => (Verdict::Unknown, cause),
        Outcome::Applied => panic!("an error never means applied: {error}"),
    }
}

#[test]
fn every_error_of_the_driver_has_its_outcome() {
    for (error, verdict) in errors() {
        let expected = if verdict == Verdict::Unavailable {
            Verdict::NotApplied
        } else {
            verdict
        };
        assert_eq!(outcome_of(&error, 1), (expected, error.to_string()));
    }
}

#[test]
fn what_cassandra_says_after_it_may_have_begun_one_of_several_counters_is_unknown() {
    for (error, verdict) in errors() {
        let expected = if verdict == Verdict::Unavailable {
            Verdict::Unknown
        } else {
            verdict
        };
        assert_eq!(outcome_of(&error, 2), (expected, error.to_string()));
    }
}

#[test]
fn a_read_is_refused_only_where_a_retry_would_be_refused_too() {
    for (error, verdict) in errors() {
        let refused = matches!(read(&error), StoreError::Refused(_));
        let final_of_read = matches!(verdict, Verdict::Refused | Verdict::Unauthorized);
        assert_eq!(refused, final_of_read, "{error}");
    }
}
