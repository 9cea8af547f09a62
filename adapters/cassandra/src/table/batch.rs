//! The existing table of batch counts.

use scylla::client::session::Session;

use super::{EnsureOutcome, Schema, SchemaError, check_table};
use crate::permissions;
use crate::schema::{self, BATCH, Replication, TableOwner};
use stitch_common::ports::{StoreError, TableIdentity};

impl Schema {
    /// Creates the table of batch counts, and its keyspace if `replication` says how. Changes nothing when both exist and
    /// are as wanted. If cancelled, run it again.
    ///
    /// # Errors
    /// The existing keyspace or table is not as wanted, or belongs to another namespace; then nothing is changed.
    pub async fn ensure_batch(
        &self,
        replication: Option<&Replication>,
    ) -> Result<(EnsureOutcome, TableIdentity), SchemaError> {
        self.ensure_keyspace(replication).await?;
        match self.check_batch().await {
            Err(SchemaError::BatchMissing(_)) => {}
            checked => return Ok((EnsureOutcome::Unchanged, checked?)),
        }
        self.change(schema::create_batch(&self.cassandra.keyspace, &self.owner))
            .await?;
        Ok((EnsureOutcome::Created, self.check_batch().await?))
    }

    /// The identity of the table of batch counts, if it is as wanted and owned by this namespace.
    ///
    /// # Errors
    /// It is missing, not as wanted, or another namespace's.
    pub async fn check_batch(&self) -> Result<TableIdentity, SchemaError> {
        check(&self.session, &self.cassandra.keyspace, &self.owner).await
    }

    /// Whether the role may read the table of batch counts.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if not; else no answer.
    pub async fn may_read_batch(&self) -> Result<(), StoreError> {
        permissions::may_read_batch(&self.session, &self.cassandra.keyspace).await
    }

    /// Whether the role may read and load the table of batch counts. It writes nothing.
    ///
    /// # Errors
    /// As [`Schema::may_read_batch`].
    pub async fn may_load_batch(&self) -> Result<(), StoreError> {
        permissions::may_load_batch(&self.session, &self.cassandra.keyspace).await
    }
}

/// [`Schema::check_batch`] through any session.
pub(crate) async fn check(
    session: &Session,
    keyspace: &str,
    owner: &TableOwner,
) -> Result<TableIdentity, SchemaError> {
    let wanted = (BATCH, schema::batch_columns());
    let checked = check_table(session, keyspace, wanted, owner).await;
    checked.map_err(|error| match error {
        SchemaError::TableMissing(table) => SchemaError::BatchMissing(table),
        SchemaError::Unclaimed(table) => SchemaError::Differs {
            differences: vec![format!("its comment is not \"{}\"", owner.comment())],
            table,
        },
        SchemaError::Claimed { table, by } => SchemaError::Differs {
            differences: vec![format!("it belongs to the namespace {by}")],
            table,
        },
        SchemaError::KeyspaceMissing { .. }
        | SchemaError::BatchMissing(_)
        | SchemaError::ProbesMissing(_)
        | SchemaError::Differs { .. }
        | SchemaError::Replication(_)
        | SchemaError::Store(_) => error,
    })
}
