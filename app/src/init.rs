//! `init`: makes what a namespace needs, or sees that it is there and agrees. Nothing that exists is changed, so it may
//! be run again at any time, and by several at once.

mod report;
mod update;

use std::collections::BTreeMap;

use self::report::Initialised;
use stitch_cassandra::{Ensured, Replication, Schema, SchemaError, ScyllaCql};
use stitch_common::clock::SystemClock;
use stitch_common::config::Config;
use stitch_common::offset::Partition;
use stitch_common::ports::{EventLog, Fingerprint, TableIdentity, ZooKeeper};
use stitch_common::user_error::UserError;
use stitch_kafka::{KafkaLog, Made};
use stitch_protocol::definition_node::{self, Defined, NamespaceRecord};
use stitch_protocol::namespace::{
    ObservedNamespace, definitions_differ, identity_differs, remember_log,
};
use stitch_protocol::path::Paths;
use stitch_protocol::{NamespaceSession, log_node};
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

/// The session of an `init`.
pub(super) type InitSession = NamespaceSession<ZooKeeperSession, SystemClock>;

/// What is asked of `init`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// How a missing keyspace is made.
    pub replication: Option<Replication>,
    /// Take up added counters.
    pub update: bool,
}

/// The servers, all reached before anything is changed.
struct Init<'a> {
    config: &'a Config,
    request: &'a Request,
    log: KafkaLog,
    schema: Schema,
    session: InitSession,
}

/// Makes the namespace, or sees that it agrees with `config`.
///
/// # Errors
/// A server could not be asked, or has something that cannot be used. Cut short, it is run again.
pub async fn init(config: &Config, request: &Request) -> Result<Initialised, UserError> {
    let log = KafkaLog::new(&config.kafka)?;
    if log.describe(&config.kafka.topic).await?.is_none() {
        return Err(no_topic(&config.kafka.topic));
    }
    let schema = ScyllaCql::new(config, SystemClock).connect_schema().await?;
    let zookeeper = &config.zookeeper;
    let keeper = ZooKeeperClient::new(&zookeeper.connect, zookeeper.session_timeout);
    let session = keeper.connect().await?;
    let init = Init {
        config,
        request,
        log,
        schema,
        session: NamespaceSession::new(session, SystemClock, Paths::new(&config.namespace)),
    };
    let done = init.run().await;
    init.session.close().await;
    done
}

fn no_topic(topic: &str) -> UserError {
    let what = format!("there is no topic \"{topic}\" in Kafka");
    let help = format!(
        "create it with as many partitions as processors may ever share the work, and without retention: \
         kafka-topics.sh --create --topic {topic} --partitions 12 --config retention.ms=-1"
    );
    UserError::new(what, help)
}

impl Init<'_> {
    async fn run(&self) -> Result<Initialised, UserError> {
        let mut report = Initialised::new(self.config);
        report.agrees(format!("topic {}", self.config.kafka.topic));
        let known = definition_node::read(&self.session).await?;
        if let Some(known) = &known
            && let Some(difference) = definitions_differ(self.config, &known.record.definitions)
        {
            let added = self
                .config
                .definitions
                .only_adds_to(&known.record.definitions);
            if !self.request.update || added.is_none() {
                return Ok(report.differs(self.config, difference));
            }
        }
        // Before the log is looked at: whoever keeps a record meanwhile has seen one that this look may have missed.
        let first_records = log_node::read_all(&self.session).await?;
        let log = self.log.identity().await?;
        let bounds = self.log.bounds(&self.log.partitions().await?).await?;
        let table = match self.table(known.as_ref(), &mut report).await {
            Ok(table) => table,
            Err(SchemaError::KeyspaceMissing {
                keyspace,
                statement,
            }) if known.is_none() => {
                return Ok(report.keyspace_missing(&keyspace, statement));
            }
            Err(error) => return Err(table_failure(error, known.is_some())),
        };
        let found = ObservedNamespace { log, bounds, table };
        if let Some(known) = &known
            && let Some(difference) = identity_differs(&found, &known.record, &first_records)
        {
            return Ok(report.differs(self.config, difference));
        }
        self.make(known, found, &first_records, report).await
    }

    /// The table: made if there is no namespace yet, only looked at otherwise.
    async fn table(
        &self,
        known: Option<&Defined>,
        report: &mut Initialised,
    ) -> Result<TableIdentity, SchemaError> {
        if known.is_some() {
            self.schema.look().await?;
        }
        let ensured = self
            .schema
            .ensure(self.request.replication.as_ref())
            .await?;
        let table = format!("table {}.counts", self.config.cassandra.keyspace);
        match ensured {
            Ensured::Created | Ensured::Claimed => report.created(table),
            Ensured::Agreed => report.agrees(table),
        }
        self.schema.look().await
    }

    /// Topic of rejects and ZooKeeper, `/definition` last: a namespace that has it is complete.
    async fn make(
        &self,
        known: Option<Defined>,
        found: ObservedNamespace,
        first_records: &BTreeMap<Partition, Fingerprint>,
        mut report: Initialised,
    ) -> Result<Initialised, UserError> {
        let rejected = format!("topic {}", self.config.kafka.dead_letter_topic());
        match self.log.create_dead_letter_topic().await? {
            Made::Now => report.created(rejected),
            Made::Before => report.agrees(rejected),
        }
        self.session.make_directories().await?;
        let record = NamespaceRecord {
            generation: 1,
            definitions: self.config.definitions.clone(),
            log: found.log.clone(),
            table: found.table.clone(),
        };
        let definition = format!(
            "definition {} in ZooKeeper",
            self.session.paths().definition()
        );
        let is_new = known.is_none();
        let defined = match known {
            Some(known) => known,
            None => definition_node::create(&self.session, &record).await?,
        };
        remember_log(&self.session, &found.log).await?;
        let differs = definitions_differ(self.config, &defined.record.definitions);
        match (
            differs,
            identity_differs(&found, &defined.record, first_records),
        ) {
            (None, None) if is_new => report.created(definition),
            (None, None) => report.agrees(definition),
            (Some(_), None) if self.request.update && !is_new => {
                update::take_up(self.config, &self.session, &defined).await?;
                report.updated(definition);
            }
            // Somebody else has made the namespace at the same moment.
            (Some(difference), _) | (None, Some(difference)) => {
                return Ok(report.differs(self.config, difference));
            }
        }
        Ok(report)
    }
}

fn table_failure(error: SchemaError, is_known: bool) -> UserError {
    let missing = matches!(
        error,
        SchemaError::KeyspaceMissing { .. } | SchemaError::TableMissing(_)
    );
    if !(missing && is_known) {
        return error.into();
    }
    let what = format!(
        "{}, though the namespace counts in it",
        UserError::from(error).message
    );
    let help = "point cassandra at the cluster and the keyspace of this namespace, or restore the table from a backup; \
                   if its counts are gone for good, make a new namespace, which counts the whole log";
    UserError::new(what, help)
}
