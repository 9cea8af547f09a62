//! Checks what the role may do, without reading or changing a count.

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::statement::{Consistency, Statement};

use crate::schema::{BATCH, TABLE, full_name};
use crate::{classify, statements};
use stitch_common::ports::StoreError;

/// Whether the role may read counts.
pub(crate) async fn may_read(session: &Session, keyspace: &str) -> Result<(), StoreError> {
    reads(
        session,
        statements::no_count_cql(&full_name(keyspace, TABLE)),
    )
    .await
}

/// Whether the role may increment counts.
pub(crate) async fn may_increment(session: &Session, keyspace: &str) -> Result<(), StoreError> {
    changes(session, statements::no_increment_cql(keyspace)).await
}

/// Whether the role may read batch counts.
pub(crate) async fn may_read_batch(session: &Session, keyspace: &str) -> Result<(), StoreError> {
    reads(
        session,
        statements::no_count_cql(&full_name(keyspace, BATCH)),
    )
    .await
}

/// Whether the role may load batch counts.
pub(crate) async fn may_load_batch(session: &Session, keyspace: &str) -> Result<(), StoreError> {
    changes(session, statements::no_batch_count_cql(keyspace)).await
}

async fn reads(session: &Session, cql: String) -> Result<(), StoreError> {
    let read = session.query_unpaged(statement(cql), ());
    read.await.map(drop).map_err(|error| classify::read(&error))
}

/// A statement that is refused as invalid has passed the check of the right.
async fn changes(session: &Session, cql: String) -> Result<(), StoreError> {
    let refused = session.query_unpaged(statement(cql), ());
    match refused.await {
        Ok(_) => Ok(()),
        Err(error) if is_invalid(&error) => Ok(()),
        Err(error) => Err(classify::read(&error)),
    }
}

fn statement(cql: String) -> Statement {
    let mut statement = Statement::new(cql);
    statement.set_is_idempotent(true);
    statement.set_consistency(Consistency::One);
    statement
}

fn is_invalid(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_increment_has_passed_the_check_of_the_right_and_an_unauthorized_one_has_not() {
        let answer = |error: DbError| {
            ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
        };
        assert!(is_invalid(&answer(DbError::Invalid)));
        assert!(!is_invalid(&answer(DbError::Unauthorized)));
        assert!(!is_invalid(&ExecutionError::EmptyPlan));
    }
}
