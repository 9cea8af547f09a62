//! The existing table: created by `init`, and checked by every other command before it relies on it.

pub(crate) mod batch;
mod current;
mod probes;

pub(super) use current::current_id;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;

use scylla::client::session::Session;
use scylla::statement::Statement;
use uuid::Uuid;

use super::{classify, connect};
use crate::schema::{
    self, Column, Datacenters, PARTITIONER, Replication, ReplicationError, SpeculativeRetry, TABLE,
    TableOwner,
};
use stitch_common::ports::{StoreError, TableIdentity};
use stitch_config::Cassandra;

/// How long a schema change may take. Every node takes part in it, so the timeout of increments is too short for it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The outcome of [`Schema::ensure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnsureOutcome {
    /// The table was missing, and has been created.
    Created,
    /// The table was as wanted and had no owner; now this namespace owns it.
    Claimed,
    /// The table was as wanted and owned by this namespace.
    Unchanged,
}

/// Why the table cannot be counted in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The keyspace is missing.
    #[error(
        "there is no keyspace \"{keyspace}\"; create it, for example with `{statement};`, or by `stitch-processor init \
         --replication`"
    )]
    KeyspaceMissing {
        keyspace: String,
        /// A statement that creates it.
        statement: String,
    },
    /// The table is missing.
    #[error("there is no table {0}; `stitch-processor init` creates it")]
    TableMissing(String),
    /// The table of batch counts is missing.
    #[error("there is no table {0}; `stitch-batch init` creates it")]
    BatchMissing(String),
    /// The table of probes, or its keyspace, is missing.
    #[error("there is no table {0}; `stitch-processor init` creates it")]
    ProbesMissing(String),
    /// The table, or its keyspace, is not as wanted.
    #[error(
        "{table} is not as wanted: {}; use another keyspace, or change it by hand",
        .differences.join("; ")
    )]
    Differs {
        table: String,
        /// A line for each difference.
        differences: Vec<String>,
    },
    /// Another namespace owns the table.
    #[error(
        "table {table} belongs to the namespace {by}: two namespaces in one table would each undo the other's \
         counts; use another keyspace, or, if that namespace no longer exists, give the table another comment \
         (ALTER TABLE {table} WITH comment = '') and run `stitch-processor init`"
    )]
    Claimed { table: String, by: TableOwner },
    /// No namespace owns the table.
    #[error("table {0} belongs to no namespace; `stitch-processor init` claims it")]
    Unclaimed(String),
    /// `--replication` does not fit the cluster.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// Cassandra could not be asked, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SchemaError> for StoreError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Store(error) => error,
            SchemaError::KeyspaceMissing { .. }
            | SchemaError::TableMissing(_)
            | SchemaError::ProbesMissing(_)
            | SchemaError::BatchMissing(_)
            | SchemaError::Differs { .. }
            | SchemaError::Claimed { .. }
            | SchemaError::Unclaimed(_)
            | SchemaError::Replication(_) => Self::Refused(error.to_string()),
        }
    }
}

/// The table and its keyspace, through a session that changes no count.
#[derive(Debug)]
pub struct Schema {
    session: Session,
    cassandra: Cassandra,
    owner: TableOwner,
}

impl Schema {
    /// Connects.
    ///
    /// # Errors
    /// No node answers.
    pub(super) async fn connect(
        cassandra: &Cassandra,
        owner: TableOwner,
    ) -> Result<Self, StoreError> {
        let builder = connect::builder(cassandra, "stitch-schema", 1)?;
        Ok(Self {
            session: connect::session(builder, cassandra).await?,
            cassandra: cassandra.clone(),
            owner,
        })
    }

    /// Creates what is missing: the keyspace, if `replication` says how, the table, its owner, and the table of probes. Changes nothing when
    /// everything exists and agrees. If cancelled, run it again.
    ///
    /// # Errors
    /// The existing keyspace or table is not as wanted, or belongs to another namespace; then nothing is changed.
    pub async fn ensure(
        &self,
        replication: Option<&Replication>,
    ) -> Result<EnsureOutcome, SchemaError> {
        self.ensure_keyspace(replication).await?;
        let counts = match self.check_counts().await {
            Ok(_) => EnsureOutcome::Unchanged,
            Err(SchemaError::TableMissing(_)) => {
                self.change(schema::create_table(&self.cassandra.keyspace, &self.owner))
                    .await?;
                EnsureOutcome::Created
            }
            Err(SchemaError::Unclaimed(_)) => {
                self.change(schema::set_owner(&self.cassandra.keyspace, &self.owner))
                    .await?;
                EnsureOutcome::Claimed
            }
            Err(other) => return Err(other),
        };
        if counts != EnsureOutcome::Unchanged {
            // Another namespace may have created or claimed it at the same moment.
            self.check_counts().await?;
        }
        let created = self.ensure_probes().await?;
        Ok(match counts {
            EnsureOutcome::Unchanged if created => EnsureOutcome::Created,
            EnsureOutcome::Unchanged | EnsureOutcome::Created | EnsureOutcome::Claimed => counts,
        })
    }

    /// Creates the table of probes, if it is missing. Returns whether it was.
    async fn ensure_probes(&self) -> Result<bool, SchemaError> {
        let keyspace = &self.cassandra.keyspace;
        match probes::check(&self.session, keyspace).await {
            Ok(()) => return Ok(false),
            Err(SchemaError::ProbesMissing(_)) => {}
            Err(other) => return Err(other),
        }
        self.change(schema::create_probes_keyspace(keyspace))
            .await?;
        self.change(schema::create_probes(keyspace, &self.owner))
            .await?;
        probes::check(&self.session, keyspace).await?;
        Ok(true)
    }

    /// The identity of the table of counts, if it and the table of probes are as wanted, and owned by this namespace.
    ///
    /// # Errors
    /// One is missing, not as wanted, or another namespace's.
    pub async fn check(&self) -> Result<TableIdentity, SchemaError> {
        let identity = self.check_counts().await?;
        probes::check(&self.session, &self.cassandra.keyspace).await?;
        Ok(identity)
    }

    /// The identity of the table of counts, if it is as wanted and owned by this namespace.
    ///
    /// # Errors
    /// It is missing, not as wanted, or another namespace's.
    pub async fn check_counts(&self) -> Result<TableIdentity, SchemaError> {
        check(&self.session, &self.cassandra, &self.owner).await
    }

    /// The keyspace's replication, as Cassandra lists it; `None` if there is no keyspace.
    ///
    /// # Errors
    /// No node answers.
    pub async fn replication(&self) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        replication(&self.session, &self.cassandra.keyspace).await
    }

    /// The replication of users and permissions.
    ///
    /// # Errors
    /// No node answers.
    pub async fn auth_replication(&self) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        replication(&self.session, "system_auth").await
    }

    /// How long a coordinator of this table of the keyspace waits for a replica; `None` if there is no such table.
    ///
    /// # Errors
    /// No node answers.
    pub async fn speculation(&self, table: &str) -> Result<Option<SpeculativeRetry>, StoreError> {
        let options: Option<(String, String)> = row(
            &self.session,
            "SELECT speculative_retry, additional_write_policy FROM system_schema.tables WHERE keyspace_name = ? AND \
             table_name = ?",
            (&self.cassandra.keyspace, table),
        )
        .await?;
        Ok(options.map(|(of_reads, of_repairs)| SpeculativeRetry {
            of_reads,
            of_repairs,
        }))
    }

    /// The cluster's data centres.
    ///
    /// # Errors
    /// No node answers.
    pub async fn datacenters(&self) -> Result<Datacenters, StoreError> {
        datacenters(&self.session).await
    }

    async fn ensure_keyspace(&self, wanted: Option<&Replication>) -> Result<(), SchemaError> {
        let keyspace = &self.cassandra.keyspace;
        let existing = self.replication().await?;
        let difference = match (&existing, wanted) {
            (Some(existing), Some(wanted)) => wanted.difference(existing),
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        if let Some(difference) = difference {
            return Err(SchemaError::Differs {
                table: format!("keyspace \"{keyspace}\""),
                differences: vec![difference],
            });
        }
        if existing.is_some() {
            return Ok(());
        }
        match wanted {
            Some(wanted) => {
                let local = self.cassandra.local_datacenter.as_deref();
                let statement = wanted.statement(keyspace, &self.datacenters().await?, local)?;
                Ok(self.change(statement).await?)
            }
            None => Err(keyspace_missing(&self.session, keyspace).await?),
        }
    }

    /// The driver waits for schema agreement after each change.
    async fn change(&self, statement: String) -> Result<(), StoreError> {
        let mut statement = Statement::new(statement);
        statement.set_request_timeout(Some(CHANGE_TIMEOUT));
        let result = self.session.query_unpaged(statement, ()).await;
        result.map(|_| ()).map_err(|error| classify::read(&error))
    }
}

/// [`Schema::check_counts`] through any session.
pub(super) async fn check(
    session: &Session,
    cassandra: &Cassandra,
    owner: &TableOwner,
) -> Result<TableIdentity, SchemaError> {
    check_table(
        session,
        &cassandra.keyspace,
        (TABLE, schema::columns()),
        owner,
    )
    .await
}

/// The identity of a table of this name, if it has these columns and this owner.
async fn check_table(
    session: &Session,
    keyspace: &str,
    (name, wanted): (&str, BTreeMap<String, Column>),
    owner: &TableOwner,
) -> Result<TableIdentity, SchemaError> {
    let table = schema::full_name(keyspace, name);
    let (cluster, partitioner): (String, String) = row(
        session,
        "SELECT cluster_name, partitioner FROM system.local",
        (),
    )
    .await?
    .ok_or_else(|| StoreError::Refused("system.local has no row".to_owned()))?;
    if partitioner != PARTITIONER {
        return Err(StoreError::Refused(format!(
            "the cluster's partitioner is {partitioner}; Stitch needs {PARTITIONER}"
        ))
        .into());
    }
    if replication(session, keyspace).await?.is_none() {
        return Err(keyspace_missing(session, keyspace).await?);
    }
    let existing: Option<(Uuid, Option<String>)> = row(
        session,
        "SELECT id, comment FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?",
        (keyspace, name),
    )
    .await?;
    let Some((id, comment)) = existing else {
        return Err(SchemaError::TableMissing(table));
    };
    let columns = columns(session, keyspace, name).await?;
    let differences = schema::differences(&columns, &wanted);
    if !differences.is_empty() {
        return Err(SchemaError::Differs { table, differences });
    }
    match TableOwner::from_comment(comment.as_deref().unwrap_or_default()) {
        Some(by) if by == *owner => Ok(TableIdentity { cluster, table: id }),
        Some(by) => Err(SchemaError::Claimed { table, by }),
        None => Err(SchemaError::Unclaimed(table)),
    }
}

async fn keyspace_missing(session: &Session, keyspace: &str) -> Result<SchemaError, SchemaError> {
    let datacenters = datacenters(session).await?;
    Ok(SchemaError::KeyspaceMissing {
        keyspace: keyspace.to_owned(),
        statement: Replication::proposed(&datacenters).statement(keyspace, &datacenters, None)?,
    })
}

async fn replication(
    session: &Session,
    keyspace: &str,
) -> Result<Option<BTreeMap<String, String>>, StoreError> {
    let existing: Option<(HashMap<String, String>,)> = row(
        session,
        "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?",
        (keyspace,),
    )
    .await?;
    Ok(existing.map(|(replication,)| replication.into_iter().collect()))
}

async fn datacenters(session: &Session) -> Result<Datacenters, StoreError> {
    let mut datacenters = Datacenters::new();
    for table in ["system.local", "system.peers"] {
        let existing: Vec<(String,)> =
            rows(session, format!("SELECT data_center FROM {table}"), ()).await?;
        for (name,) in existing {
            *datacenters.entry(name).or_default() += 1;
        }
    }
    Ok(datacenters)
}

async fn columns(
    session: &Session,
    keyspace: &str,
    table: &str,
) -> Result<BTreeMap<String, Column>, StoreError> {
    let existing: Vec<(String, String, String, i32, String)> = rows(
        session,
        "SELECT column_name, type, kind, position, clustering_order FROM system_schema.columns \
         WHERE keyspace_name = ? AND table_name = ?",
        (keyspace, table),
    )
    .await?;
    let column = |(name, cql_type, kind, position, order)| {
        let column = Column {
            cql_type,
            kind,
            position,
            order,
        };
        (name, column)
    };
    Ok(existing.into_iter().map(column).collect())
}

async fn row<R>(
    session: &Session,
    statement: impl Into<Statement>,
    values: impl scylla::serialize::row::SerializeRow,
) -> Result<Option<R>, StoreError>
where
    R: for<'f> scylla::deserialize::row::DeserializeRow<'f, 'f>,
{
    Ok(rows(session, statement, values).await?.into_iter().next())
}

/// All rows of a statement on one of Cassandra's own tables, which have few.
pub(super) async fn rows<R>(
    session: &Session,
    statement: impl Into<Statement>,
    values: impl scylla::serialize::row::SerializeRow,
) -> Result<Vec<R>, StoreError>
where
    R: for<'f> scylla::deserialize::row::DeserializeRow<'f, 'f>,
{
    let mut statement = statement.into();
    statement.set_is_idempotent(true);
    let result = session
        .query_unpaged(statement, values)
        .await
        .map_err(|error| classify::read(&error))?;
    let unlike = |error: &dyn std::fmt::Display| {
        StoreError::Refused(format!(
            "Cassandra's own tables do not have the expected columns: {error}"
        ))
    };
    let result = result.into_rows_result().map_err(|error| unlike(&error))?;
    let rows = result.rows::<R>().map_err(|error| unlike(&error))?;
    rows.collect::<Result<_, _>>()
        .map_err(|error| unlike(&error))
}

impl From<SchemaError> for UserError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::KeyspaceMissing {
                keyspace,
                statement,
            } => Self::new(
                format!("there is no keyspace \"{keyspace}\" in Cassandra"),
                format!(
                    "run this statement in cqlsh: {statement}; or run `init` with --replication 3"
                ),
            ),
            SchemaError::TableMissing(table) | SchemaError::ProbesMissing(table) => Self::new(
                format!("there is no table {table} in Cassandra"),
                "`stitch-processor init` creates it",
            ),
            SchemaError::BatchMissing(table) => Self::new(
                format!("there is no table {table} in Cassandra"),
                "`stitch-batch init` creates it",
            ),
            SchemaError::Differs { table, differences } => Self::new(
                format!(
                    "{table} in Cassandra is not as wanted: {}",
                    differences.join("; ")
                ),
                "name another keyspace by cassandra.keyspace, or change it by hand",
            ),
            SchemaError::Claimed { table, by } => Self::new(
                format!(
                    "the table {table} in Cassandra belongs to the namespace {by}: two namespaces in one table would \
                     each undo the other's counts"
                ),
                format!(
                    "name another keyspace by cassandra.keyspace; or, if that namespace no longer exists, run in cqlsh \
                     ALTER TABLE {table} WITH comment = ''; and then `stitch-processor init`"
                ),
            ),
            SchemaError::Unclaimed(table) => Self::new(
                format!("the table {table} in Cassandra belongs to no namespace"),
                "`stitch-processor init` claims it",
            ),
            SchemaError::Replication(error) => {
                Self::new(error, "see `nodetool status`, and correct --replication")
            }
            SchemaError::Store(error) => error.into(),
        }
    }
}

impl From<SchemaError> for ServerFailure {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Store(error) => error.into(),
            SchemaError::KeyspaceMissing { .. }
            | SchemaError::TableMissing(_)
            | SchemaError::BatchMissing(_)
            | SchemaError::ProbesMissing(_)
            | SchemaError::Differs { .. }
            | SchemaError::Claimed { .. }
            | SchemaError::Unclaimed(_)
            | SchemaError::Replication(_) => Self::Refused(error.into()),
        }
    }
}
