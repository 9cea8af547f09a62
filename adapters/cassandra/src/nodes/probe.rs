//! A probe of one node: an increment of Stitch's own that this node, and no other, leads.

use std::sync::Arc;

use scylla::client::session::Session;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::{Consistency, Statement};
use uuid::Uuid;

use crate::{classify, schema, statements, table};
use stitch_common::ports::StoreError;
use stitch_common::token::Token;

/// What a node says of itself.
pub(super) struct Identity {
    pub(super) host: Option<Uuid>,
    /// The lowest of its tokens; none if it owns none, and so leads no increment.
    pub(super) token: Option<Token>,
}

/// Asks the node for its host id and its tokens.
pub(super) async fn identity(session: &Session) -> Result<Identity, StoreError> {
    let rows: Vec<(Option<Uuid>, Option<Vec<String>>)> =
        table::rows(session, statements::IDENTITY, ()).await?;
    let (host, tokens) = rows.into_iter().next().unwrap_or_default();
    let tokens = tokens.unwrap_or_default();
    let numbers = tokens.iter().filter_map(|token| token.parse().ok());
    Ok(Identity {
        host,
        token: numbers.min().map(Token),
    })
}

/// Increments the row that belongs to the owner of `token` alone: once, and at the level of one replica.
pub(super) async fn increment(
    session: &Session,
    keyspace: &str,
    token: Token,
) -> Result<(), StoreError> {
    let statement = statement(keyspace, token);
    match session.query_unpaged(statement, ()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(classify::read(&error)),
    }
}

fn statement(keyspace: &str, token: Token) -> Statement {
    let mut statement = Statement::new(schema::increment_probe(keyspace, token));
    statement.set_consistency(Consistency::One);
    statement.set_is_idempotent(false);
    statement.set_retry_policy(Some(Arc::new(FallthroughRetryPolicy::new())));
    statement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_one_attempt_at_one_replica() {
        let statement = statement("stitch", Token(7));
        assert_eq!(statement.get_consistency(), Some(Consistency::One));
        assert!(!statement.get_is_idempotent());
        let policy = statement.get_retry_policy().expect("it has a policy");
        let policy = policy.as_any().expect("the policy is the driver's");
        assert!(policy.is::<FallthroughRetryPolicy>());
    }
}
