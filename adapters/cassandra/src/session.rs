//! A member's session with Cassandra: one attempt for each increment, and only while its lease is valid.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use scylla::client::session::Session;
use scylla::cluster::Node;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::routing::Token;
use scylla::value::{Counter as Increment, CqlTimestamp};

use super::admitted::{AdmittedNodes, AdmittedOnly};
use super::{classify, client_registration, connect, own_address, read, scan};
use crate::schema::{TABLE, TableOwner};
use crate::statements::{Statements, WriteSettings};
use crate::table::{self, Schema};
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::clock::Clock;
use stitch_common::lease::Permit;
use stitch_common::member::MemberId;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::{
    CellSelection, CounterBatch, Cql, KnownNode, Level, NodeAddress, NodeId, Replicas, ScanPage,
    ScanPosition, Store, StoreError, TableIdentity,
};
use stitch_common::range::TokenInterval;
use stitch_config::{Cassandra, Config};

/// How long a node may take to say which addresses are its own.
const OWN_ADDRESS_BOUND: Duration = Duration::from_secs(2);

/// Opens sessions with the configured cluster.
#[derive(Clone, Debug)]
pub struct ScyllaCql<C> {
    cassandra: Cassandra,
    owner: TableOwner,
    clock: C,
}

impl<C: Clock> ScyllaCql<C> {
    /// Opens sessions by this configuration; does not connect yet.
    #[must_use]
    pub fn new(config: &Config, clock: C) -> Self {
        Self {
            cassandra: config.cassandra.clone(),
            owner: TableOwner::of_namespace(&config.namespace),
            clock,
        }
    }

    /// Connects to create or check the table.
    ///
    /// # Errors
    /// No node answers.
    pub async fn connect_schema(&self) -> Result<Schema, StoreError> {
        Schema::connect(&self.cassandra, self.owner.clone()).await
    }
}

/// Connects to create or check the table of batch counts.
///
/// # Errors
/// No node answers.
pub async fn connect_batch_schema(config: &Config) -> Result<Schema, StoreError> {
    let owner = TableOwner::of_namespace(&config.namespace);
    Schema::connect(&config.batch.cassandra, owner).await
}

impl<C: Clock> Cql for ScyllaCql<C> {
    type Store = ScyllaStore<C>;
    type Nodes = crate::nodes::ScyllaNodes<C>;

    async fn table(&self) -> Result<TableIdentity, StoreError> {
        Ok(self.connect_schema().await?.check().await?)
    }

    async fn connect_store(&self, member: &MemberId) -> Result<ScyllaStore<C>, StoreError> {
        let cassandra = &self.cassandra;
        let builder = connect::builder(cassandra, member.as_str(), cassandra.connections_per_node)?;
        let session = connect::session(builder, cassandra).await?;
        check_datacenter(&session, cassandra)?;
        let table = table::check(&session, cassandra, &self.owner).await?;
        let admitted = AdmittedNodes::default();
        let settings = WriteSettings {
            consistency: cassandra.write_consistency,
            request_timeout: cassandra.request_timeout,
            balancing: Arc::new(AdmittedOnly {
                inner: connect::balancing(cassandra),
                admitted: admitted.clone(),
            }),
        };
        let statements = Statements::prepare(&session, &cassandra.keyspace, &settings).await?;
        client_registration::wait_until_listed(&session, member.as_str(), &self.clock).await?;
        Ok(ScyllaStore {
            session,
            keyspace: cassandra.keyspace.clone(),
            statements,
            admitted,
            table,
            clock: self.clock.clone(),
        })
    }

    async fn connect_nodes(&self) -> Result<crate::nodes::ScyllaNodes<C>, StoreError> {
        crate::nodes::ScyllaNodes::connect(&self.cassandra, self.clock.clone()).await
    }
}

/// With a local data centre that does not exist, no request would have a node to go to.
fn check_datacenter(session: &Session, cassandra: &Cassandra) -> Result<(), StoreError> {
    let Some(local) = &cassandra.local_datacenter else {
        return Ok(());
    };
    let state = session.get_cluster_state();
    let mut known: Vec<_> = state
        .get_nodes_info()
        .iter()
        .filter_map(|node| node.datacenter.as_deref())
        .collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&local.as_str()) {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "the configured local_datacenter \"{local}\" does not exist; the cluster has {}",
        known.join(", ")
    )))
}

/// The values that the increments of one counter bind.
fn values(
    batch: &CounterBatch,
) -> impl Iterator<Item = (Increment, &str, &str, &'static str, CqlTimestamp)> {
    let (name, key): (&str, &str) = (&batch.counter.name.0, &batch.counter.key.0);
    batch.amounts.iter().map(move |(slot, amount)| {
        let bucket = CqlTimestamp(slot.bucket.0);
        let granularity = slot.granularity.name();
        (Increment(amount.0), name, key, granularity, bucket)
    })
}

/// A session that increments, reads and scans cells.
#[derive(Debug)]
pub struct ScyllaStore<C> {
    session: Session,
    keyspace: String,
    statements: Statements,
    admitted: AdmittedNodes,
    table: TableIdentity,
    clock: C,
}

impl<C: Clock> ScyllaStore<C> {
    /// Whether a node says that it listens on its address for clients itself; no, if it does not say in time.
    async fn is_own_address(&self, node: &Node) -> bool {
        let target = NodeIdentifier::HostId(node.host_id);
        let asked = pin!(own_address::of(&self.session, |statement| {
            let policy = SingleTargetLoadBalancingPolicy::new(target.clone(), None);
            statement.set_load_balancing_policy(Some(policy));
        }));
        let bounded = pin!(self.clock.sleep(OWN_ADDRESS_BOUND));
        match select(asked, bounded).await {
            Either::Left((Ok(addresses), _)) => addresses.contains(&node.address.ip()),
            Either::Left((Err(_), _)) | Either::Right(_) => false,
        }
    }

    /// The table that this session counts in.
    pub fn table(&self) -> &TableIdentity {
        &self.table
    }
}

impl<C: Clock> Store for ScyllaStore<C> {
    async fn current_table(&self) -> Result<Option<TableIdentity>, StoreError> {
        let id = table::current_id(&self.session, &self.keyspace, TABLE, None).await?;
        Ok(id.map(|table| TableIdentity {
            cluster: self.table.cluster.clone(),
            table,
        }))
    }

    async fn increment(&self, permit: Permit, batches: &[CounterBatch]) -> Outcome {
        let values: Vec<_> = batches.iter().flat_map(values).collect();
        let Some(cells) = NonZeroUsize::new(values.len()) else {
            return Outcome::Applied;
        };
        let statements = self.statements.batch(cells);
        // Nothing is awaited between this check and the driver's queue: the driver picks an open connection at once or
        // gives up. Requests in that queue when a process is frozen are what the quiescence barrier waits for.
        if !permit.allows(self.clock.now()) {
            return Outcome::NotApplied(Cause("the lease has ended".to_owned()));
        }
        match self.session.batch(&statements, values).await {
            Ok(_) => Outcome::Applied,
            Err(error) => classify::increment(&error, batches.len()),
        }
    }

    fn replicas(&self, counter: &Counter) -> Option<Replicas> {
        let state = self.session.get_cluster_state();
        // Without its strategy the driver would take one node for the only replica.
        state.get_keyspace(&self.keyspace)?;
        let token = Token::new(counter.token().0);
        let replicas = state.get_token_endpoints(&self.keyspace, TABLE, token);
        let is_usable = |node: &Node| node.is_connected() && self.admitted.contains(node.host_id);
        let all_usable = !replicas.is_empty() && replicas.iter().all(|(node, _)| is_usable(node));
        let ids = replicas.iter().map(|(node, _)| NodeId(node.host_id));
        all_usable.then(|| ids.collect())
    }

    async fn read(
        &self,
        counter: &Counter,
        cells: CellSelection<'_>,
        level: Level,
    ) -> Result<Vec<(CellSlot, Count)>, StoreError> {
        read::counter(&self.session, &self.statements, counter, cells, level).await
    }

    async fn scan(
        &self,
        tokens: TokenInterval,
        level: Level,
        after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        let scan = (self.statements.scan(level), &self.statements.page_size);
        scan::page::<Increment>(&self.session, scan, tokens, after).await
    }

    async fn nodes(&self) -> Vec<KnownNode> {
        let state = self.session.get_cluster_state();
        let connected = state.get_nodes_info().iter().map(async |node| {
            let id = node.host_id;
            let own_address = !self.admitted.contains(id) && self.is_own_address(node).await;
            KnownNode {
                node: NodeAddress {
                    id: NodeId(id),
                    address: SocketAddr::new(node.address.ip(), node.address.port()),
                },
                own_address,
            }
        });
        join_all(connected).await
    }

    fn admit(&self, nodes: &[NodeId]) {
        self.admitted.set(nodes);
    }

    async fn close(self) {
        // The driver's tasks end with it and close their connections, which discards the data still in the kernel.
        drop(self);
        tokio::task::yield_now().await;
    }
}
