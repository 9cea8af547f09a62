//! Every CQL string that a running program sends, prepared once. Those that create the table are in
//! [`schema`](crate::schema).

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::policies::load_balancing::LoadBalancingPolicy;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, Statement};

use crate::page_size::PageSize;
use crate::schema::{BATCH, TABLE, full_name, quoted};
use stitch_common::ports::{Level, StoreError};
use stitch_config::WriteConsistency;

/// A node's client connections and their STARTUP options.
pub(super) const CLIENTS: &str = "SELECT address, port, client_options FROM system_views.clients";
/// A node's settings that the quiescence barrier depends on.
pub(super) const SETTINGS: &str = "SELECT name, value FROM system_views.settings WHERE name IN \
     ('native_transport_timeout', 'counter_write_request_timeout', 'native_transport_idle_timeout', \
     'internode_timeout')";
/// How many rows a page may have at most, for roles that are no superusers.
pub(super) const PAGE_GUARDRAIL: &str =
    "SELECT value FROM system_views.settings WHERE name = 'page_size_fail_threshold'";
/// The release that a node is of.
pub(super) const RELEASE: &str = "SELECT release_version FROM system.local";
/// A node about itself.
pub(super) const LOCAL: &str =
    "SELECT host_id, data_center, rpc_address, rpc_port, tokens FROM system.local";
/// The address on which a node hears its peers.
pub(super) const LISTEN_ADDRESS: &str = "SELECT listen_address FROM system.local";
/// The address on which a node hears clients, as configured.
pub(super) const BIND_ADDRESS: &str =
    "SELECT value FROM system_views.settings WHERE name = 'rpc_address'";
/// A node about its peers.
pub(super) const PEERS: &str =
    "SELECT host_id, data_center, native_address, native_port, tokens FROM system.peers_v2";
/// A node's gossip, itself included.
pub(super) const GOSSIP: &str = "SELECT host_id, dc, native_address_and_port, generation, heartbeat, status_with_port \
     FROM system_views.gossip_info";
/// A node's host id and its tokens.
pub(super) const IDENTITY: &str = "SELECT host_id, tokens FROM system.local";

/// Batches of up to this many cells are cached; larger ones are assembled each time.
const CACHED_BATCH_CELLS_MAX: usize = 128;

/// How increments are sent.
#[derive(Clone, Debug)]
pub(super) struct WriteSettings {
    pub(super) consistency: WriteConsistency,
    /// After this time the outcome is unknown.
    pub(super) request_timeout: Duration,
    /// Chooses the node.
    pub(super) balancing: Arc<dyn LoadBalancingPolicy>,
}

/// A counter batch without statements, with every setting that rule P4 depends on: exactly one attempt.
#[must_use]
pub(super) fn empty_batch(settings: &WriteSettings) -> Batch {
    let mut batch = Batch::new(BatchType::Counter);
    batch.set_is_idempotent(false);
    batch.set_retry_policy(Some(Arc::new(FallthroughRetryPolicy::new())));
    batch.set_consistency(write_consistency(settings.consistency));
    batch.set_request_timeout(Some(settings.request_timeout));
    batch.set_load_balancing_policy(Some(Arc::clone(&settings.balancing)));
    batch
}

/// Reads no count: no counter has this name. A role without SELECT is turned down all the same.
pub(super) fn no_count_cql(table: &str) -> String {
    format!("SELECT value FROM {table} WHERE counter = '' AND key = ''")
}

/// Increments nothing: Cassandra checks the right to MODIFY first, and then refuses the statement, because increments take
/// no timestamp.
pub(super) fn no_increment_cql(keyspace: &str) -> String {
    let table = format!("{}.{TABLE}", quoted(keyspace));
    format!(
        "UPDATE {table} USING TIMESTAMP 1 SET value = value + 0 \
         WHERE counter = '' AND key = '' AND granularity = '' AND bucket = 0"
    )
}

/// Loads nothing: Cassandra checks the rights to SELECT and MODIFY first, and then refuses the statement, because a condition
/// takes no timestamp.
pub(super) fn no_batch_count_cql(keyspace: &str) -> String {
    let table = full_name(keyspace, BATCH);
    format!(
        "UPDATE {table} USING TIMESTAMP 1 SET value = 0 \
         WHERE counter = '' AND key = '' AND granularity = '' AND bucket = 0 IF EXISTS"
    )
}

fn increment_cql(keyspace: &str) -> String {
    format!(
        "UPDATE {}.{TABLE} SET value = value + ? WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ?",
        quoted(keyspace)
    )
}

/// Of the table of this full name, as all reads below.
fn read_whole_cql(table: &str) -> String {
    format!("SELECT granularity, bucket, value FROM {table} WHERE counter = ? AND key = ?")
}

pub(super) fn read_cells_cql(table: &str) -> String {
    format!("{} AND (granularity, bucket) IN ?", read_whole_cql(table))
}

/// One cell, without the list of cells that [`read_cells_cql`] takes.
pub(super) fn read_cell_cql(table: &str) -> String {
    format!(
        "{} AND granularity = ? AND bucket = ?",
        read_whole_cql(table)
    )
}

/// Buckets of one granularity, both ends included.
pub(super) fn read_span_cql(table: &str) -> String {
    format!(
        "{} AND granularity = ? AND bucket >= ? AND bucket <= ?",
        read_whole_cql(table)
    )
}

/// Both ends are included: the lowest token of a range is one of its tokens, and so is the highest of all.
pub(super) fn scan_cql(table: &str) -> String {
    format!(
        "SELECT counter, key, granularity, bucket, value FROM {table} \
         WHERE token(counter, key) >= ? AND token(counter, key) <= ?"
    )
}

/// Writes a cell of the table of batch counts.
pub(super) fn insert_cql(table: &str) -> String {
    format!(
        "INSERT INTO {table} (counter, key, granularity, bucket, value) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
    )
}

/// The prepared statements of one session.
pub(super) struct Statements {
    increment: PreparedStatement,
    empty: Batch,
    batches: Vec<OnceLock<Batch>>,
    whole: AtLevels,
    cells: AtLevels,
    scan: AtLevels,
    /// The size of all pages that they read.
    pub(super) page_size: PageSize,
}

impl std::fmt::Debug for Statements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statements").finish_non_exhaustive()
    }
}

impl Statements {
    /// Prepares all statements.
    ///
    /// # Errors
    /// The table is missing or another one, or no node answers.
    pub(super) async fn prepare(
        session: &Session,
        keyspace: &str,
        settings: &WriteSettings,
    ) -> Result<Self, StoreError> {
        let table = full_name(keyspace, TABLE);
        let increment = prepared(session, Statement::new(increment_cql(keyspace))).await?;
        let mut batches = Vec::new();
        batches.resize_with(CACHED_BATCH_CELLS_MAX, OnceLock::new);
        Ok(Self {
            increment,
            empty: empty_batch(settings),
            batches,
            whole: AtLevels::prepare(session, read_whole_cql(&table)).await?,
            cells: AtLevels::prepare(session, read_cells_cql(&table)).await?,
            scan: AtLevels::prepare(session, scan_cql(&table)).await?,
            page_size: PageSize::default(),
        })
    }

    /// The batch that increments `cells` cells. Cached, because assembling one costs more than sending it.
    pub(super) fn batch(&self, cells: NonZeroUsize) -> BatchRef<'_> {
        match self.batches.get(cells.get() - 1) {
            Some(cached) => BatchRef::Cached(cached.get_or_init(|| self.assemble(cells.get()))),
            None => BatchRef::Assembled(Box::new(self.assemble(cells.get()))),
        }
    }

    fn assemble(&self, cells: usize) -> Batch {
        let mut batch = self.empty.clone();
        for _ in 0..cells {
            batch.append_statement(self.increment.clone());
        }
        batch
    }

    /// Reads all cells of a counter, by pages.
    pub(super) fn whole(&self, level: Level) -> &PreparedStatement {
        self.whole.at(level)
    }

    /// Reads named cells of a counter.
    pub(super) fn cells(&self, level: Level) -> &PreparedStatement {
        self.cells.at(level)
    }

    /// Reads the cells of some tokens, by pages.
    pub(super) fn scan(&self, level: Level) -> &PreparedStatement {
        self.scan.at(level)
    }
}

/// A batch to send.
pub(super) enum BatchRef<'a> {
    Cached(&'a Batch),
    Assembled(Box<Batch>),
}

impl std::ops::Deref for BatchRef<'_> {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        match self {
            Self::Cached(batch) => batch,
            Self::Assembled(batch) => batch,
        }
    }
}

/// One read statement at each level.
struct AtLevels {
    all: PreparedStatement,
    quorum: PreparedStatement,
}

impl AtLevels {
    async fn prepare(session: &Session, cql: String) -> Result<Self, StoreError> {
        let mut all = prepared(session, Statement::new(cql)).await?;
        all.set_is_idempotent(true);
        let mut quorum = all.clone();
        all.set_consistency(read_consistency(Level::All));
        quorum.set_consistency(read_consistency(Level::Quorum));
        Ok(Self { all, quorum })
    }

    fn at(&self, level: Level) -> &PreparedStatement {
        match level {
            Level::All => &self.all,
            Level::Quorum => &self.quorum,
        }
    }
}

pub(super) async fn prepared(
    session: &Session,
    statement: Statement,
) -> Result<PreparedStatement, StoreError> {
    let cql = statement.contents.clone();
    session
        .prepare(statement)
        .await
        .map_err(|error| match error {
            PrepareError::ConnectionPoolError(_) => StoreError::Unavailable(error.to_string()),
            PrepareError::AllAttemptsFailed { first_attempt } => {
                crate::classify::read(&first_attempt.into())
            }
            PrepareError::PreparedStatementIdsMismatch => StoreError::Refused(format!(
                "the nodes prepare `{cql}` under different ids: bring them to one version"
            )),
            _ => StoreError::Unavailable(error.to_string()),
        })
}

pub(super) const fn write_consistency(consistency: WriteConsistency) -> Consistency {
    match consistency {
        WriteConsistency::LocalOne => Consistency::LocalOne,
        WriteConsistency::LocalQuorum => Consistency::LocalQuorum,
        WriteConsistency::EachQuorum => Consistency::EachQuorum,
        WriteConsistency::Quorum => Consistency::Quorum,
        WriteConsistency::One => Consistency::One,
        WriteConsistency::All => Consistency::All,
    }
}

/// A majority in *every* data centre sees every write that the majority of any one of them acknowledged.
pub(super) const fn read_consistency(level: Level) -> Consistency {
    match level {
        Level::All => Consistency::All,
        Level::Quorum => Consistency::EachQuorum,
    }
}

#[cfg(test)]
mod tests {
    use scylla::policies::load_balancing::DefaultPolicy;

    use super::*;

    fn settings() -> WriteSettings {
        WriteSettings {
            consistency: WriteConsistency::LocalQuorum,
            request_timeout: Duration::from_secs(3),
            balancing: DefaultPolicy::builder().build(),
        }
    }

    #[test]
    fn an_increment_is_a_counter_batch_at_the_configured_consistency() {
        let batch = empty_batch(&settings());
        assert_eq!(batch.get_type(), BatchType::Counter);
        assert_eq!(batch.get_consistency(), Some(Consistency::LocalQuorum));
        assert_eq!(batch.get_request_timeout(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_driver_neither_retries_an_increment_nor_sends_it_twice() {
        let batch = empty_batch(&settings());
        assert!(
            !batch.get_is_idempotent(),
            "otherwise the driver may send it speculatively"
        );
        let policy = batch.get_retry_policy().expect("the batch has a policy");
        let policy = policy.as_any().expect("the policy is the driver's");
        assert!(
            policy.is::<FallthroughRetryPolicy>(),
            "the default policy retries requests that it takes for not executed"
        );
    }

    #[test]
    fn reads_ask_every_replica_or_a_majority_in_every_data_centre() {
        assert_eq!(read_consistency(Level::All), Consistency::All);
        assert_eq!(read_consistency(Level::Quorum), Consistency::EachQuorum);
    }

    #[test]
    fn a_keyspace_is_quoted_in_every_statement() {
        let counts = full_name("Stitch", TABLE);
        for cql in [
            increment_cql("Stitch"),
            read_whole_cql(&counts),
            read_cells_cql(&counts),
            read_cell_cql(&counts),
            read_span_cql(&counts),
            scan_cql(&counts),
        ] {
            assert!(cql.contains("\"Stitch\".counts"), "{cql}");
        }
    }
}
