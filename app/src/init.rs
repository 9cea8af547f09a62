//! `init`: creates what a namespace needs, or checks that it exists and agrees. Never changes existing objects, so it may
//! be repeated at any time, and run by several processes at once.

mod protect;
mod report;
mod update;

use std::collections::BTreeMap;

use self::report::InitReport;
use crate::server_away::while_away;
use stitch_cassandra::{
    EnsureOutcome, Replication, Schema, SchemaError, ScyllaCql, connect_batch_schema,
};
use stitch_common::clock::SystemClock;
use stitch_common::offset::Partition;
use stitch_common::ports::{EventLog, Fingerprint, TableIdentity, ZooKeeper};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::{KafkaLog, TopicCreation};
use stitch_protocol::definition_node::{self, NamespaceRecord, StoredDefinition};
use stitch_protocol::namespace::{
    ObservedNamespace, consistency_differs, definitions_differ, identity_differs, remember_log,
};
use stitch_protocol::path::Paths;
use stitch_protocol::{NamespaceSession, log_node};
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

/// The session of an `init`.
pub(super) type InitSession = NamespaceSession<ZooKeeperSession, SystemClock>;

/// The options of `init`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Replication of a keyspace that has to be created.
    pub replication: Option<Replication>,
    /// Accept added counters.
    pub update: bool,
}

/// The connected servers: all are reached before anything is changed.
struct Init<'a> {
    config: &'a Config,
    request: &'a Request,
    log: KafkaLog,
    schema: Schema,
    session: InitSession,
}

/// Creates the namespace, or checks that it agrees with `config`.
///
/// # Errors
/// A server has not answered for a while, or has something unusable. If cancelled, run it again.
pub async fn init(config: &Config, request: &Request) -> Result<InitReport, UserError> {
    let mut report = InitReport::new(config);
    while_away(&SystemClock, async || {
        attempt(config, request, &mut report).await
    })
    .await?;
    Ok(report)
}

/// Does all of it, from the beginning: what an earlier attempt has created is found, and agrees.
async fn attempt(
    config: &Config,
    request: &Request,
    report: &mut InitReport,
) -> Result<(), ServerFailure> {
    let log = KafkaLog::new(&config.kafka)?;
    log.try_clients().await?;
    if log.describe(&config.kafka.topic).await?.is_none() {
        return Err(no_topic(&config.kafka.topic).into());
    }
    let schema = match config.batch.realtime {
        true => ScyllaCql::new(config, SystemClock).connect_schema().await?,
        false => connect_batch_schema(config).await?,
    };
    let zookeeper = &config.zookeeper;
    let client = ZooKeeperClient::of(zookeeper);
    let session = client.connect().await?;
    let init = Init {
        config,
        request,
        log,
        schema,
        session: NamespaceSession::new(
            session,
            SystemClock,
            Paths::below(&config.zookeeper.root, &config.namespace),
        ),
    };
    let result = init.run(report).await;
    init.session.close().await;
    result
}

fn no_topic(topic: &str) -> UserError {
    let what = format!("there is no topic \"{topic}\" in Kafka");
    let help = format!(
        "create it with as many partitions as there may ever be processors, and without a retention limit: \
         kafka-topics.sh --create --topic {topic} --partitions 12 --config retention.ms=-1"
    );
    UserError::new(what, help)
}

impl Init<'_> {
    async fn run(&self, report: &mut InitReport) -> Result<(), ServerFailure> {
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
                report.differs(self.config, difference);
                return Ok(());
            }
        }
        if let Some(known) = &known
            && let Some(difference) = consistency_differs(self.config, &known.record)
            && !(self.request.update && self.raises(&known.record))
        {
            report.differs(self.config, difference);
            return Ok(());
        }
        // Before the log is read: a fingerprint that another process stores meanwhile may be of a record missed here.
        let first_records = log_node::read_all(&self.session).await?;
        let log = self.log.identity().await?;
        let bounds = self.log.bounds(&self.log.partitions().await?).await?;
        let table = match self.table(known.as_ref(), report).await {
            Ok(table) => table,
            Err(SchemaError::KeyspaceMissing {
                keyspace,
                statement,
            }) if known.is_none() => {
                report.keyspace_missing(&keyspace, statement);
                return Ok(());
            }
            Err(error) => return Err(table_failure(error, known.is_some())),
        };
        let found = ObservedNamespace { log, bounds, table };
        if let Some(known) = &known
            && let Some(difference) = identity_differs(&found, &known.record, &first_records)
        {
            report.differs(self.config, difference);
            return Ok(());
        }
        self.create(known, found, &first_records, report).await
    }

    /// Whether the configuration raises the consistency of increments.
    const fn raises(&self, known: &NamespaceRecord) -> bool {
        let level = self.config.cassandra.write_consistency;
        level.is_above(known.write_consistency)
    }

    /// The table: created if there is no namespace yet, otherwise only checked.
    async fn table(
        &self,
        known: Option<&StoredDefinition>,
        report: &mut InitReport,
    ) -> Result<TableIdentity, SchemaError> {
        if !self.config.batch.realtime {
            return self.batch_table(known, report).await;
        }
        if known.is_some() {
            self.schema.check_counts().await?;
        }
        let ensured = self
            .schema
            .ensure(self.request.replication.as_ref())
            .await?;
        let table = format!("table {}.counts", self.config.cassandra.keyspace);
        match ensured {
            EnsureOutcome::Created | EnsureOutcome::Claimed => report.created(table),
            EnsureOutcome::Unchanged => report.agrees(table),
        }
        self.schema.check().await
    }

    /// The table of a namespace that is purely in batch. It may be made again at any time: what is loaded into it is also in
    /// the records, so the namespace does not depend on which table it is.
    async fn batch_table(
        &self,
        known: Option<&StoredDefinition>,
        report: &mut InitReport,
    ) -> Result<TableIdentity, SchemaError> {
        let replication = self.request.replication.as_ref();
        let (ensured, identity) = self.schema.ensure_batch(replication).await?;
        let table = format!(
            "table {}.batch_counts",
            self.config.batch.cassandra.keyspace
        );
        match ensured {
            EnsureOutcome::Created | EnsureOutcome::Claimed => report.created(table),
            EnsureOutcome::Unchanged => report.agrees(table),
        }
        Ok(known.map_or(identity, |known| known.record.table.clone()))
    }

    /// Creates the dead-letter topic and the ZooKeeper nodes, `/definition` last: a namespace that has it is complete.
    async fn create(
        &self,
        known: Option<StoredDefinition>,
        found: ObservedNamespace,
        first_records: &BTreeMap<Partition, Fingerprint>,
        report: &mut InitReport,
    ) -> Result<(), ServerFailure> {
        let dead_letters = format!("topic {}", self.config.kafka.dead_letter_topic());
        match self.log.create_dead_letter_topic().await? {
            TopicCreation::Created => report.created(dead_letters),
            TopicCreation::Existed => report.agrees(dead_letters),
        }
        self.session.make_directories().await?;
        let record = NamespaceRecord {
            generation: 1,
            definitions: self.config.definitions.clone(),
            log: found.log.clone(),
            table: found.table.clone(),
            write_consistency: self.config.cassandra.write_consistency,
            raised_from: None,
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
        let raised = consistency_differs(self.config, &defined.record);
        if let Some(difference) = &raised
            && (is_new || !self.raises(&defined.record))
        {
            // Another process has created the namespace at the same moment.
            report.differs(self.config, difference.clone());
            return Ok(());
        }
        match (
            differs.or(raised),
            identity_differs(&found, &defined.record, first_records),
        ) {
            (None, None) if is_new => report.created(definition),
            (None, None) => report.agrees(definition),
            (Some(_), None) if self.request.update && !is_new => {
                update::apply(self.config, &self.session, &defined).await?;
                report.updated(definition);
            }
            // Another process has created the namespace at the same moment.
            (Some(difference), _) | (None, Some(difference)) => {
                report.differs(self.config, difference);
                return Ok(());
            }
        }
        protect::apply(self.config, &self.session, self.request.update, report).await
    }
}

fn table_failure(error: SchemaError, is_known: bool) -> ServerFailure {
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
                   if its counts are lost, or it was created purely in batch, create a new namespace, which counts the whole \
                   log";
    UserError::new(what, help).into()
}
