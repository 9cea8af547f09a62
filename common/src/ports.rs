//! The ports through which all waiting goes: ZooKeeper, Cassandra, Kafka, object stores, and (in [`crate::clock`]) time.
//!
//! Decisions are written against these traits or, better, against values alone; everything that waits is behind them. The
//! simulation implements the same traits with its own servers and runs the production code in a deterministic executor:
//! so no code outside the adapters spawns a task, opens a socket or reads a clock. A process is one future; it is frozen
//! by not being polled, and killed by being dropped.
//!
//! The adapters are the crates `stitch-zookeeper`, `stitch-cassandra`, `stitch-kafka` and `stitch-objects`.

#![warn(missing_docs)]

mod zookeeper;
mod log;
mod store;
mod batch_table;
mod objects;
mod backends;

pub use backends::{Backends, Servers, Stores};
pub use batch_table::{BatchTable, CellBatch, CellScan, WriteTime};
pub use log::{
    AssignmentEpoch, Bounds, DeadLetters, EventLog, Feed, FeedEvent, Fingerprint, Group,
    GroupEvent, LogError, LogIdentity, Record, RevokeAck, Unreadable, UnreadableReason,
};
pub use objects::{ObjectEntry, ObjectError, ObjectName, ObjectStore, Put};
pub use store::{
    CellSelection, Connection, CounterBatch, Cql, KnownNode, Level, NodeAddress, NodeId,
    NodeSettings, NodeState, Nodes, Probe, Replicas, ScanPage, ScanPosition, Store, StoreError,
    TableIdentity,
};
pub use zookeeper::{
    CreateMode, CreateResult, MultiError, Node, NodeStat, Operation, Session, SessionState,
    ZOOKEEPER_AWAY, ZOOKEEPER_REFUSED, ZkError, ZooKeeper,
};
