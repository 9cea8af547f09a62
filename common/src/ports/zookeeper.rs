//! The port to ZooKeeper: sessions, nodes, one-shot watches. The recipes over it are in `stitch-protocol`.

use crate::user_error::UserError;
use std::future::Future;
use std::time::Duration;

/// Opens sessions.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait ZooKeeper {
    /// The session that [`ZooKeeper::connect`] opens.
    type Session: Session;

    /// Opens a new session.
    ///
    /// # Errors
    /// No server could be reached in time, or the session was refused.
    async fn connect(&self) -> Result<Self::Session, ZkError>;
}

/// One ZooKeeper session. Requests are sent, and take effect, in the order in which their futures are first polled.
/// Each may end [`ZkError::Ambiguous`]: then it may have happened, may still happen, or never will; the same holds for a
/// request whose future was dropped.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Session {
    /// Resolves once when the watched node changed, the connection was lost, or the session ended. The caller reads
    /// again.
    type Watch: Future<Output = ()>;

    /// The session's id. A server may give one again, once the session that had it is over.
    fn id(&self) -> i64;

    /// A random number that was drawn when the session was opened: with [`Session::id`] it is never the same again.
    fn nonce(&self) -> u64;

    /// The session timeout as negotiated with the server.
    fn timeout(&self) -> Duration;

    /// The session's state as the client knows it. The server may have expired it already.
    fn state(&self) -> SessionState;

    /// Waits until the state differs from `from`. Cancel-safe.
    async fn state_other_than(&self, from: SessionState) -> SessionState;

    /// Creates a node. The result has the name of a sequential node.
    ///
    /// # Errors
    /// `NodeExists`, `NoNode` (the parent), or an error of any request.
    async fn create(
        &self,
        path: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<CreateResult, ZkError>;

    /// Deletes a node, only at `version` if one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `NotEmpty`, or an error of any request.
    async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), ZkError>;

    /// Reads a node; `None` if there is none.
    ///
    /// # Errors
    /// An error of any request: [`ZkError::SessionOver`], [`ZkError::Refused`] or [`ZkError::Ambiguous`].
    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError>;

    /// Writes a node, only at `version` if one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, or an error of any request.
    async fn set(&self, path: &str, data: &[u8], version: Option<i32>)
    -> Result<NodeStat, ZkError>;

    /// The names of a node's children, unordered; `None` if there is no such node.
    ///
    /// # Errors
    /// An error of any request: [`ZkError::SessionOver`], [`ZkError::Refused`] or [`ZkError::Ambiguous`].
    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError>;

    /// The names of a node's children, and a watch that fires when they change.
    ///
    /// # Errors
    /// `NoNode`, or an error of any request.
    async fn watch_children(&self, path: &str) -> Result<(Vec<String>, Self::Watch), ZkError>;

    /// A node's state, and a watch that fires when it is created, written or deleted.
    ///
    /// # Errors
    /// An error of any request: [`ZkError::SessionOver`], [`ZkError::Refused`] or [`ZkError::Ambiguous`].
    async fn watch_node(&self, path: &str) -> Result<(Option<NodeStat>, Self::Watch), ZkError>;

    /// Performs all of these operations or none of them.
    ///
    /// # Errors
    /// The refused operation, or an error of any request.
    async fn multi(&self, operations: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError>;

    /// Brings the session's server up to date with the leader.
    ///
    /// # Errors
    /// An error of any request: [`ZkError::SessionOver`], [`ZkError::Refused`] or [`ZkError::Ambiguous`].
    async fn sync(&self, path: &str) -> Result<(), ZkError>;

    /// Ends the session and with it its ephemeral nodes. Returns when the server has confirmed, or is unreachable.
    async fn close(self);
}

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It has a connection.
    Connected,
    /// It has lost its connection and is looking for another.
    Disconnected,
    /// It has expired or was closed; it never comes back.
    Over,
}

/// The kind of a created node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// Remains until it is deleted.
    Persistent,
    /// Deleted when its session ends.
    Ephemeral,
    /// Deleted when its session ends; ten digits, increasing within the parent, are appended to its name.
    EphemeralSequential,
}

/// A created node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateResult {
    /// Its path, with the digits of a sequential node.
    pub path: String,
    /// Its state.
    pub stat: NodeStat,
}

/// A node's data and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The content.
    pub data: Vec<u8>,
    /// Its state.
    pub stat: NodeStat,
}

/// A node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeStat {
    /// The transaction that created it. The upper half is the ensemble's epoch.
    pub czxid: i64,
    /// The transaction that last wrote it. The upper half is the ensemble's epoch.
    pub mzxid: i64,
    /// When it was created, in milliseconds since 1970 by the server's clock.
    pub ctime_ms: i64,
    /// Counts the writes of its data.
    pub version: i32,
    /// The session of an ephemeral node; 0 for others.
    pub ephemeral_owner: i64,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The node exists, and has this version if one is given.
    Check {
        /// Path of the node.
        path: String,
        /// The expected version.
        version: Option<i32>,
    },
    /// Creates a node.
    Create {
        /// Path of the node.
        path: String,
        /// The content.
        data: Vec<u8>,
        /// The kind of node.
        mode: CreateMode,
    },
    /// Writes a node.
    Set {
        /// Path of the node.
        path: String,
        /// The content.
        data: Vec<u8>,
        /// The expected version.
        version: Option<i32>,
    },
    /// Deletes a node.
    Delete {
        /// Path of the node.
        path: String,
        /// The expected version.
        version: Option<i32>,
    },
}

/// Why a request to ZooKeeper failed; variants by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZkError {
    /// There is no such node: nothing changed.
    #[error("there is no such node in ZooKeeper")]
    NoNode,
    /// There is such a node already: nothing changed.
    #[error("the node exists in ZooKeeper already")]
    NodeExists,
    /// The node has another version: nothing changed.
    #[error("the node in ZooKeeper has another version")]
    BadVersion,
    /// The node has children: nothing changed.
    #[error("the node in ZooKeeper has children")]
    NotEmpty,
    /// The session is over: nothing changed, and nothing ever will through it.
    #[error("the ZooKeeper session is over")]
    SessionOver,
    /// The server refused the request permanently (permission, quota, …): nothing changed.
    #[error("ZooKeeper refused the request: {0}")]
    Refused(String),
    /// The servers and this program do not trust each other: no session was opened.
    #[error("{}", .0.message)]
    Denied(UserError),
    /// The answer was lost: the request may have happened, may still happen, or never will.
    #[error("no answer from ZooKeeper: {0}")]
    Ambiguous(String),
}

/// Why a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultiError {
    /// This operation was refused, so none was done.
    #[error("operation {index} of a ZooKeeper transaction failed: {error}")]
    Operation {
        /// The operation's position.
        index: usize,
        /// The reason.
        error: ZkError,
    },
    /// The transaction as a whole failed, perhaps [`ZkError::Ambiguous`].
    #[error(transparent)]
    Whole(#[from] ZkError),
}

/// The help when no ZooKeeper server can be reached.
pub const ZOOKEEPER_AWAY: &str = "see whether the ZooKeeper servers are up, and whether zookeeper.connect names them, with their ports for TLS if there is \
     [zookeeper.tls]";
/// The help when ZooKeeper refuses a request.
pub const ZOOKEEPER_REFUSED: &str = "see zookeeper.user and its password, the ACLs and quotas below zookeeper.root, and whether ZooKeeper is of version 3.5 or \
     later; `stitch-processor check` says who may change the namespace";

impl From<ZkError> for UserError {
    fn from(error: ZkError) -> Self {
        let help = match &error {
            ZkError::Ambiguous(_) | ZkError::SessionOver => ZOOKEEPER_AWAY,
            ZkError::Denied(denial) => return denial.clone(),
            ZkError::NoNode
            | ZkError::NodeExists
            | ZkError::BadVersion
            | ZkError::NotEmpty
            | ZkError::Refused(_) => ZOOKEEPER_REFUSED,
        };
        Self::new(error, help)
    }
}
