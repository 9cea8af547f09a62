//! Reads counts for the API, at the configured consistency and speculatively from a second node when the first is slow.
//! The protocol does not depend on these reads, and this session never changes the store.

use std::sync::Arc;

use futures_util::future::try_join_all;
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::policies::retry::DefaultRetryPolicy;
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, Statement};
use scylla::value::{Counter as CounterValue, CqlTimestamp};

use super::{SchemaError, connect, read, statements, table};
use crate::page_size::PageSize;
use crate::schema::{BATCH, TABLE, TableOwner, full_name};
use stitch_common::cell::{Bucket, CellSlot, Count, Counter, Granularity};
use stitch_common::ports::{StoreError, TableIdentity};
use stitch_config::{Api, Cassandra, Config, ReadConsistency};

/// The id under which nodes list this session; not a member's.
const READER_ID: &str = "stitch-api";
/// Requests of one read in flight at once.
const REQUESTS_AT_ONCE: usize = 16;
/// Cells that one request names.
const NAMED_CELLS_MAX: usize = 100;
/// How often a slow read is sent again, to one node more each time.
const SPECULATIVE_MAX: usize = 2;

/// Buckets of one granularity that are read together, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketSpan {
    pub granularity: Granularity,
    pub first: Bucket,
    pub last: Bucket,
}

/// How the table has its values.
#[derive(Clone, Copy)]
enum Values {
    Counters,
    Plain,
}

impl Values {
    const fn table_name(self) -> &'static str {
        match self {
            Self::Counters => TABLE,
            Self::Plain => BATCH,
        }
    }
}

/// A read-only session for counts: those in real time, or those in batch.
pub struct ScyllaReader {
    session: Session,
    values: Values,
    table: TableIdentity,
    keyspace: String,
    profile: ExecutionProfileHandle,
    one: PreparedStatement,
    named: PreparedStatement,
    span: PreparedStatement,
    page_size: PageSize,
}

impl std::fmt::Debug for ScyllaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScyllaReader").finish_non_exhaustive()
    }
}

impl ScyllaReader {
    /// Connects, and checks that this namespace owns the table.
    ///
    /// # Errors
    /// No node reached, or the table is missing, not as wanted, or another namespace's.
    pub async fn connect(config: &Config) -> Result<Self, StoreError> {
        let cassandra = &config.cassandra;
        let session = session(cassandra).await?;
        let owner = TableOwner::of_namespace(&config.namespace);
        let table = table::check(&session, cassandra, &owner).await?;
        let profile = profile(config, cassandra);
        let keyspace = cassandra.keyspace.clone();
        Self::new(session, Values::Counters, table, keyspace, profile).await
    }

    /// As [`ScyllaReader::connect`], to the table of batch counts.
    ///
    /// # Errors
    /// No node reached, or the table is missing, not as wanted, or another namespace's.
    pub async fn connect_batch(config: &Config) -> Result<Self, SchemaError> {
        let cassandra = &config.batch.cassandra;
        let session = session(cassandra).await?;
        let owner = TableOwner::of_namespace(&config.namespace);
        let table = table::batch::check(&session, &cassandra.keyspace, &owner).await?;
        let profile = profile(config, cassandra);
        let keyspace = cassandra.keyspace.clone();
        Ok(Self::new(session, Values::Plain, table, keyspace, profile).await?)
    }

    async fn new(
        session: Session,
        values: Values,
        table: TableIdentity,
        keyspace: String,
        profile: ExecutionProfile,
    ) -> Result<Self, StoreError> {
        let profile = profile.into_handle();
        let name = &full_name(&keyspace, values.table_name());
        let prepared = async |cql: String| {
            let mut prepared = statements::prepared(&session, Statement::new(cql)).await?;
            // Otherwise the driver would neither ask a second node nor repeat a read lost with its connection.
            prepared.set_is_idempotent(true);
            prepared.set_execution_profile_handle(Some(profile.clone()));
            Ok::<_, StoreError>(prepared)
        };
        let one = prepared(statements::read_cell_cql(name)).await?;
        let named = prepared(statements::read_cells_cql(name)).await?;
        let span = prepared(statements::read_span_cql(name)).await?;
        Ok(Self {
            values,
            table,
            keyspace,
            profile,
            one,
            named,
            span,
            page_size: PageSize::default(),
            session,
        })
    }

    /// The table that is read.
    #[must_use]
    pub const fn table(&self) -> &TableIdentity {
        &self.table
    }

    /// The table that has the name now; `None` if there is none. Reads go to that one, whichever was connected: the driver
    /// prepares a statement again when its table was dropped and made again, and says nothing of it.
    ///
    /// # Errors
    /// No answer, or a refusal; the question may be repeated.
    pub async fn current_table(&self) -> Result<Option<TableIdentity>, StoreError> {
        let (name, profile) = (self.values.table_name(), Some(self.profile.clone()));
        let id = table::current_id(&self.session, &self.keyspace, name, profile).await?;
        Ok(id.map(|table| TableIdentity {
            cluster: self.table.cluster.clone(),
            table,
        }))
    }

    /// Reads the cells of `counter` in these spans, in no order. Rows that do not exist are left out.
    ///
    /// # Errors
    /// No answer, or a refusal; the read may be repeated.
    pub async fn read(
        &self,
        counter: &Counter,
        spans: &[BucketSpan],
    ) -> Result<Vec<(CellSlot, Count)>, StoreError> {
        if let [span] = spans {
            // Most reads. The driver's futures are large, and to collect one would be to copy it.
            return self.query(counter, &Request::of(*span)).await;
        }
        let (single, several): (Vec<&BucketSpan>, Vec<&BucketSpan>) =
            spans.iter().partition(|span| span.first == span.last);
        let mut requests: Vec<Request> = match single.as_slice() {
            [one] => vec![Request::of(**one)],
            _ => single.chunks(NAMED_CELLS_MAX).map(Request::named).collect(),
        };
        requests.extend(several.into_iter().map(|span| Request::of(*span)));
        let mut cells = Vec::new();
        for together in requests.chunks(REQUESTS_AT_ONCE) {
            let reads = together.iter().map(|request| self.query(counter, request));
            for answer in try_join_all(reads).await? {
                cells.extend(answer);
            }
        }
        Ok(cells)
    }

    async fn query(
        &self,
        counter: &Counter,
        request: &Request,
    ) -> Result<Vec<(CellSlot, Count)>, StoreError> {
        let (name, key) = (&*counter.name.0, &*counter.key.0);
        match request {
            Request::One(BucketSpan {
                granularity, first, ..
            }) => {
                let values = (name, key, granularity.name(), CqlTimestamp(first.0));
                self.pages(&self.one, values).await
            }
            Request::Named(cells) => self.pages(&self.named, (name, key, cells)).await,
            Request::Span(span) => {
                let (first, last) = (CqlTimestamp(span.first.0), CqlTimestamp(span.last.0));
                let values = (name, key, span.granularity.name(), first, last);
                self.pages(&self.span, values).await
            }
        }
    }

    async fn pages(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<(CellSlot, Count)>, StoreError> {
        let (session, size) = (&self.session, &self.page_size);
        let mut cells = Vec::new();
        let take = |cell| cells.push(cell);
        match self.values {
            Values::Counters => {
                read::pages::<CounterValue>(session, statement, size, values, take).await?;
            }
            Values::Plain => read::pages::<i64>(session, statement, size, values, take).await?,
        }
        Ok(cells)
    }
}

async fn session(cassandra: &Cassandra) -> Result<Session, StoreError> {
    let builder = connect::builder(cassandra, READER_ID, cassandra.connections_per_node)?;
    connect::session(builder, cassandra).await
}

/// One request of a read.
enum Request {
    /// A span of one bucket.
    One(BucketSpan),
    Named(Vec<(&'static str, CqlTimestamp)>),
    Span(BucketSpan),
}

impl Request {
    fn of(span: BucketSpan) -> Self {
        match span.first == span.last {
            true => Self::One(span),
            false => Self::Span(span),
        }
    }

    fn named(spans: &[&BucketSpan]) -> Self {
        let cell = |span: &&BucketSpan| (span.granularity.name(), CqlTimestamp(span.first.0));
        Self::Named(spans.iter().map(cell).collect())
    }
}

fn profile(config: &Config, cassandra: &Cassandra) -> ExecutionProfile {
    ExecutionProfile::builder()
        .consistency(consistency(config.api.consistency))
        .request_timeout(Some(config.api.request_timeout))
        .retry_policy(Arc::new(DefaultRetryPolicy::new()))
        .speculative_execution_policy(Some(Arc::new(speculation(&config.api))))
        .load_balancing_policy(connect::balancing(cassandra))
        .build()
}

/// A slow node costs this delay instead of the answer.
const fn speculation(api: &Api) -> SimpleSpeculativeExecutionPolicy {
    SimpleSpeculativeExecutionPolicy {
        max_retry_count: SPECULATIVE_MAX,
        retry_interval: api.speculative_after,
    }
}

const fn consistency(consistency: ReadConsistency) -> Consistency {
    match consistency {
        ReadConsistency::LocalOne => Consistency::LocalOne,
        ReadConsistency::LocalQuorum => Consistency::LocalQuorum,
        ReadConsistency::One => Consistency::One,
        ReadConsistency::Quorum => Consistency::Quorum,
        ReadConsistency::All => Consistency::All,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        let text = include_str!("../../../deploy/stitch.toml");
        let environment = variables.iter().copied().collect();
        Config::parse("stitch.toml", text, &environment).unwrap()
    }

    #[tokio::test]
    async fn reads_have_the_configured_consistency_and_timeout() {
        for (level, name) in ReadConsistency::EVERY {
            let config = config(&[
                ("STITCH_API__CONSISTENCY", name),
                ("STITCH_API__REQUEST_TIMEOUT_MS", "1234"),
            ]);
            let profile = profile(&config, &config.cassandra);
            assert_eq!(profile.get_consistency(), consistency(level));
            assert_eq!(
                format!("{:?}", profile.get_consistency()).to_uppercase(),
                name.replace('_', "")
            );
            assert_eq!(
                profile.get_request_timeout(),
                Some(Duration::from_millis(1234))
            );
        }
    }

    #[tokio::test]
    async fn a_slow_read_is_sent_to_another_node_after_the_configured_delay() {
        let config = config(&[("STITCH_API__SPECULATIVE_AFTER_MS", "77")]);
        assert!(
            profile(&config, &config.cassandra)
                .get_speculative_execution_policy()
                .is_some()
        );
        let speculation = speculation(&config.api);
        assert_eq!(speculation.retry_interval, Duration::from_millis(77));
        assert!(speculation.max_retry_count >= 1);
    }
}
