//! Connects the commands to the real servers.

use std::collections::BTreeMap;
use std::time::Duration;

use stitch_app::check::Findings;
use stitch_app::progress_bar;
use stitch_archive::reader::Archive;
use stitch_archive::{check, identity};
use stitch_common::clock::SystemClock;
use stitch_common::log_history;
use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::{Bounds, EventLog, Fingerprint, LogIdentity, Session, ZooKeeper};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::KafkaLog;
use stitch_objects::{ObjectFolder, stores};
use stitch_protocol::definition_node::{self, NamespaceRecord};
use stitch_protocol::namespace::{self, ObservedNamespace};
use stitch_protocol::path::Paths;
use stitch_protocol::{Error, NamespaceSession, log_node, origin_node};
use stitch_zookeeper::{ZooKeeperClient, ZooKeeperSession};

use stitch_totals::build::{BaseChoice, BuildRequest};
use stitch_totals::manifest::NamespaceInstance;
use stitch_totals::records::{Reach, Records};
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::totals_folder::{self, TotalsFolder};

/// How long Kafka may deliver nothing of a partition.
const PATIENCE: Duration = Duration::from_secs(120);

/// The namespace, its topic and its archive.
pub struct Servers {
    log: KafkaLog,
    archive: Option<Archive<ObjectFolder>>,
    identity: LogIdentity,
    reach: Reach,
    instance: NamespaceInstance,
    pub spill: SpillFolder,
    pub progress: Box<dyn Progress>,
}

/// The totals of the namespace.
///
/// # Errors
/// The configuration names no store.
pub fn folder(config: &Config) -> Result<TotalsFolder<ObjectFolder>, UserError> {
    Ok(TotalsFolder::new(
        stores::totals(config)?,
        &config.namespace,
    ))
}

/// Checks the stores of totals, and of the archive if there is one.
pub async fn check_stores(config: &Config) -> Findings {
    check::totals(config, &totals_folder::check_name(&config.namespace)).await
}

/// A session of ZooKeeper for the nodes of the namespace.
///
/// # Errors
/// ZooKeeper does not answer, or refuses.
pub async fn session(
    config: &Config,
) -> Result<NamespaceSession<ZooKeeperSession, SystemClock>, UserError> {
    let client = ZooKeeperClient::of(&config.zookeeper);
    let paths = Paths::below(&config.zookeeper.root, &config.namespace);
    let session = client.connect().await?;
    Ok(NamespaceSession::new(session, SystemClock, paths))
}

impl Servers {
    /// Connects, and checks that configuration, log and archive are those of the namespace.
    ///
    /// # Errors
    /// A server does not answer, or the namespace is another one.
    pub async fn connect(config: &Config) -> Result<Self, UserError> {
        let totals = &config.totals;
        let spill_bytes_max = u64::try_from(totals.spill_bytes_max).unwrap_or(u64::MAX);
        let spill = SpillFolder::open(&totals.spill, spill_bytes_max)?;
        let session = session(config).await?;
        let connected = Self::connect_in(config, spill, &session).await;
        session.close().await;
        connected
    }

    async fn connect_in<Z: Session>(
        config: &Config,
        spill: SpillFolder,
        session: &NamespaceSession<Z, SystemClock>,
    ) -> Result<Self, UserError> {
        let record = definition(config, session).await?;
        // Before the log is read: a process that keeps a record meanwhile has seen one that this read may have missed.
        let first_records = log_node::read_all(session).await?;
        let log = KafkaLog::new(&config.kafka)?;
        let identity = log.identity().await?;
        log_history::keeps_events(&identity)?;
        let archive = stores::archive(config)?;
        let topic = &config.kafka.topic;
        let archive = archive.map(|store| Archive::new(store, &identity.cluster, topic));
        let records = Records::new(archive.as_ref(), &log, &SystemClock, PATIENCE);
        let origins = async || Ok(Offsets(origin_node::read_all(session).await?));
        let reach = records.reach::<UserError>(origins).await?;
        refuse_other_log(config, &record, &first_records, &identity, &reach.log)?;
        if let Some(archive) = &archive {
            let chains: Vec<_> = reach.chains.values().cloned().collect();
            identity::check(archive, &log, &chains).await?;
        }
        Ok(Self {
            log,
            archive,
            identity,
            reach,
            instance: NamespaceInstance::new(record.generation, &record.table, &record.log),
            spill,
            progress: progress_bar::on_stderr(),
        })
    }

    /// What distinguishes the topic from others of its name, as it was when this connected.
    pub const fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    /// A build of what `config` asks for.
    pub fn request<'a>(&'a self, config: &'a Config) -> BuildRequest<'a> {
        BuildRequest {
            namespace: &config.namespace,
            instance: &self.instance,
            cluster: &self.identity.cluster,
            topic: &config.kafka.topic,
            definitions: &config.definitions,
            reach: &self.reach,
            base: BaseChoice::Newest,
            cut: None,
            added: &[],
            memory_bytes_max: config.totals.memory_bytes_max,
            spill: &self.spill,
        }
    }

    /// The records of the topic.
    pub const fn records(&self) -> Records<'_, ObjectFolder, KafkaLog, SystemClock> {
        Records::new(self.archive.as_ref(), &self.log, &SystemClock, PATIENCE)
    }
}

/// The definition of the namespace, which must be the configured one.
async fn definition<Z: Session>(
    config: &Config,
    session: &NamespaceSession<Z, SystemClock>,
) -> Result<NamespaceRecord, UserError> {
    let defined = definition_node::read(session).await?;
    let path = session.paths().definition();
    let record = defined.ok_or(Error::NotInitialised { path })?.record;
    match namespace::definitions_differ(config, &record.definitions) {
        Some(mismatch) => Err(mismatch.user_error(config)),
        None => Ok(record),
    }
}

/// Refuses a log that is not the namespace's: the records of a topic that was made again would be added to totals of the
/// former one. The table of counts is not looked at.
fn refuse_other_log(
    config: &Config,
    record: &NamespaceRecord,
    first_records: &BTreeMap<Partition, Fingerprint>,
    identity: &LogIdentity,
    bounds: &BTreeMap<Partition, Bounds>,
) -> Result<(), UserError> {
    let observed = ObservedNamespace {
        log: identity.clone(),
        bounds: bounds.clone(),
        table: record.table.clone(),
    };
    match namespace::identity_differs(&observed, record, first_records) {
        Some(mismatch) => Err(mismatch.user_error(config)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use stitch_common::offset::Offset;
    use stitch_common::ports::TableIdentity;

    use super::*;

    const P: Partition = Partition(0);

    fn first(checksum: u32) -> BTreeMap<Partition, Fingerprint> {
        let first = Fingerprint {
            offset: Offset(0),
            timestamp_ms: Some(1),
            checksum,
        };
        BTreeMap::from([(P, first)])
    }

    fn identity(fingerprints: BTreeMap<Partition, Fingerprint>) -> LogIdentity {
        LogIdentity {
            cluster: "kafka".to_owned(),
            topic: "events".to_owned(),
            cleanup_policy: "delete".to_owned(),
            fingerprints,
        }
    }

    #[test]
    fn a_topic_that_was_made_again_is_refused_by_the_first_records_that_zookeeper_keeps() {
        let text = include_str!("../../../deploy/stitch.toml");
        let config = Config::parse("stitch.toml", text, &[].into_iter().collect()).unwrap();
        // The topic was empty when the namespace was made.
        let record = NamespaceRecord {
            generation: 1,
            definitions: config.definitions.clone(),
            log: identity(BTreeMap::new()),
            table: TableIdentity {
                cluster: "cassandra".to_owned(),
                table: Default::default(),
            },
            write_consistency: config.cassandra.write_consistency,
            raised_from: None,
        };
        let refused = |kept, found, begin| {
            let bounds = Bounds {
                begin: Offset(begin),
                end: Offset(9),
            };
            let bounds = BTreeMap::from([(P, bounds)]);
            let checked = refuse_other_log(&config, &record, &kept, &identity(found), &bounds);
            checked.err().map(|error| error.message).unwrap_or_default()
        };
        let none = BTreeMap::new;
        assert_eq!(refused(none(), first(8), 0), "", "none was kept");
        assert_eq!(refused(first(7), first(7), 0), "");
        assert_eq!(refused(first(7), none(), 5), "", "its beginning is gone");
        let message = refused(first(7), first(8), 0);
        assert!(
            message.contains("topic events, partition 0: its first record is another one"),
            "{message}"
        );
        let message = refused(first(7), none(), 0);
        assert!(message.contains("offset 0 is not there"), "{message}");
    }
}
