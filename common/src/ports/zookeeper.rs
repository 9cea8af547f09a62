//! The port to ZooKeeper: sessions, nodes, one-shot watches. The recipes stand above it, in [`crate::coordination`].

use crate::user_error::UserError;
use std::future::Future;
use std::time::Duration;

/// Makes sessions.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait ZooKeeper {
    /// A session that this makes.
    type Session: Session;

    /// Opens a new session, as one that never existed before.
    ///
    /// # Errors
    /// No server could be reached in time, or the session was refused.
    async fn connect(&self) -> Result<Self::Session, ZkError>;
}

/// One ZooKeeper session. Requests are sent, and take effect, in the order in which their futures are first polled.
/// Each may end [`ZkError::Ambiguous`]: then it may have happened, may still happen, or never; and so it is with
/// one whose future was dropped.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Session {
    /// Resolves once when the watched thing changed, when the connection was lost, or when the session ended.
    /// Whoever waits on it reads again.
    type Watch: Future<Output = ()>;

    /// The session's number.
    fn id(&self) -> i64;

    /// The session timeout as negotiated with the server.
    fn timeout(&self) -> Duration;

    /// How the session stands, as far as this side knows. The server may have ended it already.
    fn state(&self) -> SessionState;

    /// Waits until the state is another one than `from`. Cancel-safe.
    async fn state_other_than(&self, from: SessionState) -> SessionState;

    /// Creates a node. A sequential node's name is in the answer.
    ///
    /// # Errors
    /// `NodeExists`, `NoNode` (the parent), or as for every request.
    async fn create(&self, path: &str, data: &[u8], mode: CreateMode) -> Result<Created, ZkError>;

    /// Deletes a node, only at `version` if one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, `NotEmpty`, or as for every request.
    async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), ZkError>;

    /// Reads a node; `None` if there is none.
    ///
    /// # Errors
    /// As for every request.
    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError>;

    /// Writes a node, only at `version` if one is given.
    ///
    /// # Errors
    /// `NoNode`, `BadVersion`, or as for every request.
    async fn set(&self, path: &str, data: &[u8], version: Option<i32>)
    -> Result<NodeStat, ZkError>;

    /// The names of a node's children, in no order; `None` if there is no such node.
    ///
    /// # Errors
    /// As for every request.
    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError>;

    /// The names of a node's children, and a watch that fires when they become others.
    ///
    /// # Errors
    /// `NoNode`, or as for every request.
    async fn watch_children(&self, path: &str) -> Result<(Vec<String>, Self::Watch), ZkError>;

    /// A node's state, and a watch that fires when it is created, written or deleted.
    ///
    /// # Errors
    /// As for every request.
    async fn watch_node(&self, path: &str) -> Result<(Option<NodeStat>, Self::Watch), ZkError>;

    /// All of these operations or none of them.
    ///
    /// # Errors
    /// Which operation was refused and why, or as for every request.
    async fn multi(&self, operations: Vec<Operation>) -> Result<Vec<Created>, MultiError>;

    /// Brings the server that this session talks to up to what its leader has.
    ///
    /// # Errors
    /// As for every request.
    async fn sync(&self, path: &str) -> Result<(), ZkError>;

    /// Ends the session: when it returns, the server was told or cannot be reached. Its ephemeral nodes go with it.
    async fn close(self);
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It has a connection.
    Connected,
    /// It has lost its connection and looks for another.
    Disconnected,
    /// It has expired or was closed; it never comes back.
    Over,
}

/// What kind of node is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// Stays until it is deleted.
    Persistent,
    /// Goes with its session.
    Ephemeral,
    /// Goes with its session; ten digits are added to its name, counting up within the parent.
    EphemeralSequential,
}

/// A created node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its path, with the digits of a sequential node.
    pub path: String,
    /// Its state.
    pub stat: NodeStat,
}

/// A node as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What is in it.
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
    /// The session that an ephemeral node goes with; 0 for others.
    pub ephemeral_owner: i64,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The node exists, and has this version if one is given.
    Check {
        /// Which node.
        path: String,
        /// Its version.
        version: Option<i32>,
    },
    /// Creates a node.
    Create {
        /// Its path.
        path: String,
        /// What is in it.
        data: Vec<u8>,
        /// Of which kind.
        mode: CreateMode,
    },
    /// Writes a node.
    Set {
        /// Its path.
        path: String,
        /// What is in it.
        data: Vec<u8>,
        /// Only at this version.
        version: Option<i32>,
    },
    /// Deletes a node.
    Delete {
        /// Its path.
        path: String,
        /// Only at this version.
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
    /// The session is over: nothing changed, and nothing will by it.
    #[error("the ZooKeeper session is over")]
    SessionOver,
    /// The server refused the request for good (permission, quota, …): nothing changed.
    #[error("ZooKeeper refused the request: {0}")]
    Refused(String),
    /// The answer was lost: the request may have happened, may still happen, or never.
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
        /// Why.
        error: ZkError,
    },
    /// The transaction as a whole failed, perhaps [`ZkError::Ambiguous`].
    #[error(transparent)]
    Whole(#[from] ZkError),
}

/// What to do when no ZooKeeper server can be reached.
pub const ZOOKEEPER_AWAY: &str =
    "see whether the ZooKeeper servers are up, and whether zookeeper.connect names them";
/// What to do when ZooKeeper refuses.
pub const ZOOKEEPER_REFUSED: &str = "see the permissions and quotas below /stitch in ZooKeeper, and whether its version is 3.5 or later";

impl From<ZkError> for UserError {
    fn from(error: ZkError) -> Self {
        let help = match &error {
            ZkError::Ambiguous(_) | ZkError::SessionOver => ZOOKEEPER_AWAY,
            ZkError::NoNode
            | ZkError::NodeExists
            | ZkError::BadVersion
            | ZkError::NotEmpty
            | ZkError::Refused(_) => ZOOKEEPER_REFUSED,
        };
        Self::new(error, help)
    }
}
