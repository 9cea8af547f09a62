//! The port to Cassandra: increments with an explicit outcome, reads, the ordered scan, and the nodes themselves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cell::{Amount, CellSlot, Count, Counter, CounterName};
use crate::lease::Permit;
use crate::member::MemberId;
use crate::outcome::Outcome;
use crate::range::TokenInterval;
use crate::token::Token;
use crate::user_error::UserError;

/// Opens the two sessions that a member has with Cassandra.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Cql {
    /// The session that increments and reads.
    type Store: Store;
    /// The session that queries the nodes.
    type Nodes: Nodes;

    /// The identity of the table of counts.
    ///
    /// # Errors
    /// No node answers, or the table is missing, not as wanted, or another namespace's.
    async fn table(&self) -> Result<TableIdentity, StoreError>;

    /// Connects for `member`, and waits until every node lists the connections under its id: a member whose connections
    /// are not listed could not be declared dead.
    ///
    /// # Errors
    /// No node answers, the table is missing or another one, or the connections are not listed.
    async fn connect_store(&self, member: &MemberId) -> Result<Self::Store, StoreError>;

    /// Connects to query the nodes only; never changes the store, and is listed under another id.
    ///
    /// # Errors
    /// No node answers, or a server lacks the tables that the quiescence barrier needs.
    async fn connect_nodes(&self) -> Result<Self::Nodes, StoreError>;
}

/// A session that increments and reads cells.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Store {
    /// The table of counts that has its name now; `None` if there is none. Increments go to that one, whichever was connected.
    ///
    /// # Errors
    /// No answer, or a refusal; the question may be repeated.
    async fn current_table(&self) -> Result<Option<TableIdentity>, StoreError>;

    /// Sends the batches of some counters as one request, once: no driver retry, no speculative execution. Checks `permit`
    /// right before sending; if it has expired, nothing is sent and the outcome is *not applied*; likewise if no node is
    /// admitted.
    ///
    /// The outcome is that of each of them. Cassandra begins one counter after the other, so where it does not say that
    /// all were applied, or that none was begun, it is unknown ([`Outcome::unavailable`]).
    ///
    /// If the future is dropped, the outcome is unknown.
    async fn increment(&self, permit: Permit, batches: &[CounterBatch]) -> Outcome;

    /// The replicas of a counter; `None` if they are not known, or if not all of them are up and admitted, as far as this
    /// session knows. Counters of the same replicas may share a request.
    fn replicas(&self, counter: &Counter) -> Option<Replicas>;

    /// Reads these cells of one counter, or all of them. Rows that do not exist are left out.
    ///
    /// # Errors
    /// Too few replicas answered, or a node refused. May be repeated.
    async fn read(
        &self,
        counter: &Counter,
        cells: CellSelection<'_>,
        level: Level,
    ) -> Result<Vec<(CellSlot, Count)>, StoreError>;

    /// One page of the scan of these tokens, ordered by token, then by partition key as the table orders it, then by
    /// cell. Starts behind `after`.
    ///
    /// # Errors
    /// Too few replicas answered, or a node refused. May be repeated.
    async fn scan(
        &self,
        tokens: TokenInterval,
        level: Level,
        after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError>;

    /// The nodes that it has connections to, as far as it knows. Those that were never admitted are asked whether they
    /// listen on their addresses themselves.
    async fn nodes(&self) -> Vec<KnownNode>;

    /// Allows it to send increments to these nodes and to no other. At first it may send to none: a node is recorded
    /// where a quiescence barrier finds it before anything is sent to it.
    fn admit(&self, nodes: &[NodeId]);

    /// Closes every connection. [`Nodes::connections`] shows whether a node still lists one.
    async fn close(self);
}

/// Queries the nodes one by one, each through a connection of its own. Changes no count.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Nodes {
    /// Every node of the cluster, as its peers see it.
    ///
    /// # Errors
    /// No node answered.
    async fn ring(&self) -> Result<Vec<NodeState>, StoreError>;

    /// Checks whether one node applies increments, for at most `bound`: by one of Stitch's own, to a row that this node
    /// alone has, so that it takes the way of every increment that this node leads.
    async fn probe(&self, node: &NodeAddress, bound: Duration) -> Probe;

    /// The client connections that one node lists.
    ///
    /// # Errors
    /// The node did not answer within `bound`.
    async fn connections(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<Vec<Connection>, StoreError>;

    /// Checks whether one node lets this role read counts.
    ///
    /// # Errors
    /// The node did not answer within `bound`, or the role may not.
    async fn may_read(&self, node: &NodeAddress, bound: Duration) -> Result<(), StoreError>;

    /// Checks whether one node lets this role increment counts. Increments none.
    ///
    /// # Errors
    /// The node did not answer within `bound`, or the role may not.
    async fn may_increment(&self, node: &NodeAddress, bound: Duration) -> Result<(), StoreError>;

    /// The settings of one node that the quiescence barrier depends on.
    ///
    /// # Errors
    /// The node did not answer within `bound`, or has no such settings.
    async fn settings(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<NodeSettings, StoreError>;
}

/// The identity of a table: a table that was dropped and created again is another one, and so is one of another cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableIdentity {
    /// The cluster's name.
    pub cluster: String,
    /// The id that Cassandra gave the table.
    pub table: uuid::Uuid,
}

/// Increments of the cells of one counter: one Cassandra partition, one counter batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterBatch {
    /// The counter.
    pub counter: Counter,
    /// The amount for each cell; not empty, no cell twice, no amount zero.
    pub amounts: Vec<(CellSlot, Amount)>,
}

/// The nodes that hold a counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replicas(Vec<NodeId>);

impl FromIterator<NodeId> for Replicas {
    fn from_iter<T: IntoIterator<Item = NodeId>>(nodes: T) -> Self {
        let mut nodes: Vec<_> = nodes.into_iter().collect();
        nodes.sort_unstable();
        Self(nodes)
    }
}

/// The cells of a counter to read.
#[derive(Clone, Copy, Debug)]
pub enum CellSelection<'a> {
    /// All cells.
    Whole,
    /// These cells.
    Cells(&'a [CellSlot]),
}

/// How many replicas must answer a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// Every replica: no increment that timed out can remain hidden.
    All,
    /// A majority in every data centre; only if the operator accepts it.
    Quorum,
}

/// One page of a scan.
#[derive(Clone, Debug)]
pub struct ScanPage {
    /// The cells, in the scan's order.
    pub cells: Vec<(Token, Counter, CellSlot, Count)>,
    /// Numbers of rows that are no cells, by what they are: no event increments them.
    pub foreign: BTreeMap<CounterName, u64>,
    /// Start of the next page; `None` after the last one.
    pub next: Option<ScanPosition>,
}

/// A position in a scan, in the store's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPosition(pub Vec<u8>);

/// A node's host id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub uuid::Uuid);

/// The address of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Its host id.
    pub id: NodeId,
    /// Address for clients.
    pub address: SocketAddr,
}

/// A node that a member may have sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNode {
    /// Id and address of the node.
    pub node: NodeAddress,
    /// Whether the node itself said that it listens on this address: only then a refused connection shows that nothing
    /// listens any more. An address that something else answers for (a load balancer, a firewall) may refuse while the
    /// node lives.
    pub own_address: bool,
}

/// The state of a node, as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Id and address of the node.
    pub node: NodeAddress,
    /// As in [`KnownNode`]; `false` also for a node that did not answer.
    pub own_address: bool,
    /// Its data centre.
    pub datacenter: String,
    /// The tokens that it owns, in order, as `system.peers` lists them.
    pub tokens: Vec<String>,
    /// Whether it answers, or any other node that answers has recently heard from it. The quiescence barrier relies on the
    /// converse: no node hears from one that is not up.
    pub up: bool,
    /// Whether it is neither joining, leaving nor moving.
    pub normal: bool,
}

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It applied the increment in time.
    Answered,
    /// It answers reads, but did not apply the increment in time: its counter stage, its locks or its commit log stall.
    Stalled,
    /// It rejected the increment, with this error.
    Rejected(String),
    /// The connection was refused: nothing listens at that address.
    Refused,
    /// Another node answers at that address. This one may still run without it, with requests in its sockets.
    Replaced,
    /// No answer in time: frozen, cut off or overloaded.
    Silent,
}

/// A client's connection, as a node lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The id that the client sent at STARTUP; for a member's connection the member's id.
    pub client_id: Option<String>,
    /// Address of the client.
    pub client: SocketAddr,
}

/// The settings of a node that the quiescence barrier depends on (`system_views.settings`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSettings {
    /// How long a request may wait in the node's queue.
    pub native_transport_timeout: Duration,
    /// How long an increment may wait for the cell's lock and for replicas.
    pub counter_write_request_timeout: Duration,
    /// After this time without traffic a node closes a connection; `None`: never.
    pub native_transport_idle_timeout: Option<Duration>,
    /// Whether replicas drop requests that are too old.
    pub internode_timeout: bool,
}

/// An error of Cassandra; the variants differ in what the caller can do. Increments have an [`Outcome`] instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too few replicas answered: a retry can help, or the operator's declaration of dead nodes.
    #[error("Cassandra could not answer: {0}")]
    Unavailable(String),
    /// Fails until something changes: schema, permission, settings, another server.
    #[error("Cassandra refused: {0}")]
    Refused(String),
    /// The nodes and this program do not trust each other: a certificate, a user, a password. Fails until that is changed.
    #[error("{}", .0.message)]
    Denied(UserError),
}

const CASSANDRA_AWAY: &str =
    "see whether the Cassandra nodes are up, and whether cassandra.nodes names some of them";
const CASSANDRA_REFUSED: &str = "`stitch-processor check` checks each node and its settings";

impl From<StoreError> for UserError {
    fn from(error: StoreError) -> Self {
        let help = match &error {
            StoreError::Unavailable(_) => CASSANDRA_AWAY,
            StoreError::Refused(_) => CASSANDRA_REFUSED,
            StoreError::Denied(denial) => return denial.clone(),
        };
        Self::new(error, help)
    }
}
