//! A session that writes and scans batch counts. Inserts have a fixed time, so the driver may repeat them.

use scylla::client::session::Session;
use scylla::statement::Statement;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{Counter as Increment, CqlTimestamp};

use crate::page_size::PageSize;
use crate::read::CellValue;
use crate::schema::{BATCH, TABLE, TableOwner, full_name};
use crate::statements::{self, read_consistency, write_consistency};
use crate::table::{self, batch};
use crate::{classify, connect, scan};
use stitch_common::ports::{
    BatchTable, CellBatch, CellScan, Level, ScanPage, ScanPosition, StoreError, TableIdentity,
    WriteTime,
};
use stitch_common::range::TokenInterval;
use stitch_config::Config;

/// The id under which nodes list this session; not a member's.
const BATCH_ID: &str = "stitch-batch";

/// A session with the cluster of `[batch.cassandra]`.
pub struct ScyllaBatch {
    table: TableIdentity,
    insert: PreparedStatement,
    empty: Batch,
    scan: ScanAtAll,
}

impl std::fmt::Debug for ScyllaBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScyllaBatch").finish_non_exhaustive()
    }
}

impl ScyllaBatch {
    /// Connects, and checks that this namespace owns the table of batch counts.
    ///
    /// # Errors
    /// No node reached, or the table is missing, not as wanted, or another namespace's.
    pub async fn connect(config: &Config) -> Result<Self, crate::SchemaError> {
        let cassandra = &config.batch.cassandra;
        let builder = connect::builder(cassandra, BATCH_ID, cassandra.connections_per_node)?;
        let session = connect::session(builder, cassandra).await?;
        let owner = TableOwner::of_namespace(&config.namespace);
        let table = batch::check(&session, &cassandra.keyspace, &owner).await?;
        let name = full_name(&cassandra.keyspace, BATCH);
        let insert = Statement::new(statements::insert_cql(&name));
        let insert = statements::prepared(&session, insert).await?;
        // The rows of a batch are of one partition, so it needs no batch log.
        let mut empty = Batch::new(BatchType::Unlogged);
        empty.set_is_idempotent(true);
        empty.set_consistency(write_consistency(cassandra.write_consistency));
        empty.set_request_timeout(Some(cassandra.request_timeout));
        Ok(Self {
            table,
            insert,
            empty,
            scan: ScanAtAll::new(session, &name).await?,
        })
    }

    /// The table.
    #[must_use]
    pub const fn table(&self) -> &TableIdentity {
        &self.table
    }
}

impl BatchTable for ScyllaBatch {
    async fn insert(&self, batch: &CellBatch, written: WriteTime) -> Result<(), StoreError> {
        let mut statements = self.empty.clone();
        let (name, key) = (&*batch.counter.name.0, &*batch.counter.key.0);
        let mut values = Vec::with_capacity(batch.values.len());
        for (slot, count) in &batch.values {
            statements.append_statement(self.insert.clone());
            let bucket = CqlTimestamp(slot.bucket.0);
            let granularity = slot.granularity.name();
            values.push((name, key, granularity, bucket, count.0, written.0));
        }
        let sent = self.scan.session.batch(&statements, values).await;
        let session = &self.scan.session;
        sent.map(|_| ())
            .map_err(|error| naming_nodes(session, classify::read(&error)))
    }
}

impl CellScan for ScyllaBatch {
    async fn scan(
        &self,
        tokens: TokenInterval,
        after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        self.scan.page::<i64>(tokens, after).await
    }
}

/// A session that scans the table of counts, beside the processors: no member, and it changes nothing.
pub struct ScyllaScan(ScanAtAll);

impl std::fmt::Debug for ScyllaScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScyllaScan").finish_non_exhaustive()
    }
}

impl ScyllaScan {
    /// Connects, and checks that this namespace owns the table of counts.
    ///
    /// # Errors
    /// No node reached, or the table is missing, not as wanted, or another namespace's.
    pub async fn connect(config: &Config) -> Result<Self, crate::SchemaError> {
        let cassandra = &config.cassandra;
        let builder = connect::builder(cassandra, BATCH_ID, cassandra.connections_per_node)?;
        let session = connect::session(builder, cassandra).await?;
        let owner = TableOwner::of_namespace(&config.namespace);
        table::check(&session, cassandra, &owner).await?;
        let name = full_name(&cassandra.keyspace, TABLE);
        Ok(Self(ScanAtAll::new(session, &name).await?))
    }
}

impl CellScan for ScyllaScan {
    async fn scan(
        &self,
        tokens: TokenInterval,
        after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        self.0.page::<Increment>(tokens, after).await
    }
}

/// Names the nodes that the driver has no connection to: at level `ALL` one of them is enough for no answer, and Cassandra
/// says only how many replicas it has.
fn naming_nodes(session: &Session, error: StoreError) -> StoreError {
    let StoreError::Unavailable(why) = error else {
        return error;
    };
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info().iter();
    let down = nodes.filter(|node| !node.is_connected());
    let down: Vec<_> = down.map(|node| node.address.to_string()).collect();
    match down.is_empty() {
        true => StoreError::Unavailable(why),
        false => StoreError::Unavailable(format!("no connection to {}: {why}", down.join(", "))),
    }
}

/// A session, and the scan of a table at level `ALL` through it.
struct ScanAtAll {
    session: Session,
    statement: PreparedStatement,
    page_size: PageSize,
}

impl ScanAtAll {
    async fn new(session: Session, table: &str) -> Result<Self, StoreError> {
        let statement = Statement::new(statements::scan_cql(table));
        let mut statement = statements::prepared(&session, statement).await?;
        statement.set_is_idempotent(true);
        statement.set_consistency(read_consistency(Level::All));
        Ok(Self {
            session,
            statement,
            page_size: PageSize::default(),
        })
    }

    async fn page<V: CellValue>(
        &self,
        tokens: TokenInterval,
        after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        let statement = (&self.statement, &self.page_size);
        let page = scan::page::<V>(&self.session, statement, tokens, after).await;
        page.map_err(|error| naming_nodes(&self.session, error))
    }
}
