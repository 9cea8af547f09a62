//! What the three servers' errors are to the user: what went wrong, and the way out.

use super::Failure;
use crate::coordination;
use crate::counter_store::SchemaError;
use crate::ports::{KeeperError, LogError, StoreError};

const ZOOKEEPER_AWAY: &str =
    "see whether the ZooKeeper servers are up, and whether zookeeper.connect names them";
const ZOOKEEPER_REFUSED: &str = "see the permissions and quotas below /stitch in ZooKeeper, and whether its version is 3.5 or later";
const CASSANDRA_AWAY: &str =
    "see whether the Cassandra nodes are up, and whether cassandra.nodes names some of them";
const CASSANDRA_REFUSED: &str = "`stitch-processor check` looks at each node and its settings";
const KAFKA_AWAY: &str = "see whether the Kafka brokers are up, and whether \"bootstrap.servers\" in [kafka.client] names some of them";
const KAFKA_REFUSED: &str =
    "see the topic, the permissions of this client and the properties in [kafka.client]";

impl From<KeeperError> for Failure {
    fn from(error: KeeperError) -> Self {
        let way_out = match &error {
            KeeperError::Ambiguous(_) | KeeperError::SessionOver => ZOOKEEPER_AWAY,
            KeeperError::NoNode
            | KeeperError::NodeExists
            | KeeperError::BadVersion
            | KeeperError::NotEmpty
            | KeeperError::Refused(_) => ZOOKEEPER_REFUSED,
        };
        Self::new(error, way_out)
    }
}

impl From<coordination::Error> for Failure {
    fn from(error: coordination::Error) -> Self {
        use coordination::Error;
        match error {
            Error::SessionOver => Self::new(
                "the ZooKeeper session is over, and with it all that belonged to it",
                "run it again; if it happens often, lengthen zookeeper.session_timeout_ms",
            ),
            Error::Lost { path } => Self::new(
                format!("{path} in ZooKeeper is not this session's any more"),
                "run it again; see who deletes nodes below /stitch",
            ),
            Error::Unanswered { path, why } => Self::new(
                format!("ZooKeeper did not answer about {path}: {why}"),
                ZOOKEEPER_AWAY,
            ),
            Error::Refused { path, why } => Self::new(
                format!("ZooKeeper refused {path}: {why}"),
                ZOOKEEPER_REFUSED,
            ),
            Error::NotInitialised { path } => Self::new(
                format!("the namespace is not initialised: {path} is missing in ZooKeeper"),
                "run `stitch-processor init`",
            ),
            Error::Missing { path, way_out } => {
                Self::new(format!("{path} is missing in ZooKeeper"), way_out)
            }
            Error::Corrupt { path, why, way_out } => Self::new(
                format!("{path} in ZooKeeper cannot be used: {why}"),
                way_out,
            ),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let way_out = match &error {
            StoreError::Unavailable(_) => CASSANDRA_AWAY,
            StoreError::Refused(_) => CASSANDRA_REFUSED,
        };
        Self::new(error, way_out)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let way_out = match &error {
            LogError::Unavailable(_) => KAFKA_AWAY,
            LogError::Refused(_) => KAFKA_REFUSED,
        };
        Self::new(error, way_out)
    }
}

impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::KeyspaceMissing {
                keyspace,
                statement,
            } => Self::new(
                format!("there is no keyspace \"{keyspace}\" in Cassandra"),
                format!(
                    "run this statement by cqlsh: {statement}; or say `stitch-processor init --replication 3`"
                ),
            ),
            SchemaError::TableMissing(table) => Self::new(
                format!("there is no table {table} in Cassandra"),
                "`stitch-processor init` makes it",
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
                    "name another keyspace by cassandra.keyspace; or, if that namespace is gone for good, run by cqlsh \
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
