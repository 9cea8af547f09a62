//! The port to Cassandra: increments with an honest outcome, reads, the ordered scan, and the nodes themselves.

use crate::user_error::UserError;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cell::{Amount, CellSlot, Count, Counter};
use crate::lease::Permit;
use crate::member::MemberId;
use crate::outcome::Outcome;
use crate::range::TokenInterval;
use crate::token::Token;

/// Makes the two sessions that a member has with Cassandra.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Cql {
    /// Increments and reads.
    type Store: Store;
    /// Looks at the nodes.
    type Nodes: Nodes;

    /// Which table counts stand in.
    ///
    /// # Errors
    /// No node reached, or the table is missing, not as wanted, or another namespace's.
    async fn table(&self) -> Result<TableIdentity, StoreError>;

    /// Connects for `member`, which every node then lists under its id, and waits until each does: a member whose
    /// connections cannot be seen could not be told dead.
    ///
    /// # Errors
    /// No node reached, the table missing or another one, or the connections not listed.
    async fn connect_store(&self, member: &MemberId) -> Result<Self::Store, StoreError>;

    /// Connects to look at the nodes only; never changes the store, and is listed under another id.
    ///
    /// # Errors
    /// No node reached, or a server without the tables that a calm needs.
    async fn connect_nodes(&self) -> Result<Self::Nodes, StoreError>;
}

/// Increments and reads cells.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Store {
    /// Sends one counter batch, once. No driver retry, no speculative execution. Asks `permit` right before it sends;
    /// if that has ended, nothing is sent and the outcome is *not applied*.
    ///
    /// If the future is dropped, the outcome is unknown.
    async fn increment(&self, permit: Permit, batch: &CounterBatch) -> Outcome;

    /// Reads these cells of one counter, or all of it. Rows that do not exist are left out.
    ///
    /// # Errors
    /// As told; a read changes nothing and may be repeated.
    async fn read(
        &self,
        counter: &Counter,
        cells: Reading<'_>,
        level: Level,
    ) -> Result<Vec<(CellSlot, Count)>, StoreError>;

    /// One page of the scan of these tokens, ordered by token, then by partition key as the table orders it, then by
    /// cell. Starts behind `after`.
    ///
    /// # Errors
    /// As told; a read changes nothing and may be repeated.
    async fn scan(
        &self,
        tokens: TokenInterval,
        level: Level,
        after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError>;

    /// Closes every connection. Whether a node still lists one is asked through [`Nodes::connections`].
    async fn close(self);
}

/// Looks at the nodes one by one, each through a connection of its own.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Nodes {
    /// Every node that the cluster knows, as its peers see it.
    ///
    /// # Errors
    /// No node answered.
    async fn ring(&self) -> Result<Vec<NodeState>, StoreError>;

    /// Asks one node whether it serves requests, and waits for it no longer than `bound`.
    async fn probe(&self, node: &NodeAddress, bound: Duration) -> Probe;

    /// The clients' connections that one node lists.
    ///
    /// # Errors
    /// The node did not answer within `bound`.
    async fn connections(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<Vec<Connection>, StoreError>;

    /// One node's settings that a calm depends on.
    ///
    /// # Errors
    /// The node did not answer within `bound`, or has no such settings.
    async fn settings(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<NodeSettings, StoreError>;
}

/// Which table it is: a table that was dropped and made again is another one, and so is one of another cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableIdentity {
    /// The cluster's name.
    pub cluster: String,
    /// The id that Cassandra gave the table.
    pub table: uuid::Uuid,
}

/// What is added to the cells of one counter: one Cassandra partition, one counter batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterBatch {
    /// Which counter.
    pub counter: Counter,
    /// What is added to which cell; not empty, no cell twice, no amount zero.
    pub amounts: Vec<(CellSlot, Amount)>,
}

/// Which cells of a counter are read.
#[derive(Clone, Copy, Debug)]
pub enum Reading<'a> {
    /// All of them.
    Whole,
    /// These.
    Cells(&'a [CellSlot]),
}

/// How many replicas must answer a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// Every replica: what no timed-out increment can hide from.
    All,
    /// A majority in every data centre; only by the operator's word.
    Quorum,
}

/// One page of a scan.
#[derive(Clone, Debug)]
pub struct ScanPage {
    /// The cells, in the scan's order.
    pub cells: Vec<(Token, Counter, CellSlot, Count)>,
    /// Where the next page starts; `None` behind the last one.
    pub next: Option<ScanPosition>,
}

/// A place in a scan, as the store names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPosition(pub Vec<u8>);

/// A node's host id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub uuid::Uuid);

/// Where a node is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Its host id.
    pub id: NodeId,
    /// Where it serves clients.
    pub address: SocketAddr,
}

/// A node as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Which node.
    pub node: NodeAddress,
    /// Its data centre.
    pub datacenter: String,
    /// The tokens that it owns, in order, as the table `system.peers` tells them.
    pub tokens: Vec<String>,
    /// Whether it answers, or any other node that answers has heard of it lately. A calm relies on the opposite: that
    /// nobody hears of a node that is not up.
    pub up: bool,
    /// Whether it is neither joining, leaving nor moving.
    pub normal: bool,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It answered in time.
    Answered,
    /// Nothing listens there: its kernel refused the connection.
    Refused,
    /// Nothing was heard in time: frozen, cut off or overloaded.
    Silent,
}

/// A client's connection, as a node lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// What the client called itself at STARTUP; a member's id for those of a member.
    pub client_id: Option<String>,
    /// Where the client is.
    pub client: SocketAddr,
}

/// A node's settings that a calm depends on (`system_views.settings`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSettings {
    /// How long a request may wait in the node's queue.
    pub native_transport_timeout: Duration,
    /// How long an increment may wait for the cell's lock and for replicas.
    pub counter_write_request_timeout: Duration,
    /// After which a node closes a connection on which nothing is heard; `None`: never.
    pub native_transport_idle_timeout: Option<Duration>,
    /// Whether replicas drop requests that are too old.
    pub internode_timeout: bool,
}

/// Why Cassandra could not be asked; variants by what the caller can do. Increments have an
/// [`Outcome`] instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too few replicas answered: worth another try, or the operator's word on what is down.
    #[error("Cassandra could not answer: {0}")]
    Unavailable(String),
    /// It will not work without a change: schema, permission, settings, another server.
    #[error("Cassandra refused: {0}")]
    Refused(String),
}

const CASSANDRA_AWAY: &str =
    "see whether the Cassandra nodes are up, and whether cassandra.nodes names some of them";
const CASSANDRA_REFUSED: &str = "`stitch-processor check` looks at each node and its settings";

impl From<StoreError> for UserError {
    fn from(error: StoreError) -> Self {
        let help = match &error {
            StoreError::Unavailable(_) => CASSANDRA_AWAY,
            StoreError::Refused(_) => CASSANDRA_REFUSED,
        };
        Self::new(error, help)
    }
}
