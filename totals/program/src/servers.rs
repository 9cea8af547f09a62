//! Connects the commands to the real servers.

use std::time::Duration;

use stitch_app::progress_bar;
use stitch_archive::identity;
use stitch_archive::reader::Archive;
use stitch_common::clock::SystemClock;
use stitch_common::offset::Offsets;
use stitch_common::ports::{EventLog, ZooKeeper};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::KafkaLog;
use stitch_objects::{ObjectFolder, stores};
use stitch_protocol::path::Paths;
use stitch_protocol::{Error, NamespaceSession, definition_node, namespace, origin_node};
use stitch_zookeeper::ZooKeeperClient;

use stitch_totals::build::{BaseChoice, BuildRequest};
use stitch_totals::manifest::NamespaceInstance;
use stitch_totals::records::Records;
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::totals_folder::TotalsFolder;

/// How long Kafka may deliver nothing of a partition.
const PATIENCE: Duration = Duration::from_secs(120);

/// The namespace, its topic and its archive.
pub struct Servers {
    log: KafkaLog,
    archive: Option<Archive<ObjectFolder>>,
    cluster: String,
    origins: Offsets,
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

impl Servers {
    /// Connects, and checks that configuration, log and archive are those of the namespace.
    ///
    /// # Errors
    /// A server does not answer, or the namespace is another one.
    pub async fn connect(config: &Config) -> Result<Self, UserError> {
        let totals = &config.totals;
        let spill_bytes_max = u64::try_from(totals.spill_bytes_max).unwrap_or(u64::MAX);
        let spill = SpillFolder::open(&totals.spill, spill_bytes_max)?;
        let (instance, origins) = namespace(config).await?;
        let log = KafkaLog::new(&config.kafka)?;
        let cluster = log.identity().await?.cluster;
        let mut archive = None;
        if let Some(store) = stores::archive(config)? {
            let opened = Archive::new(store, &cluster, &config.kafka.topic);
            let mut chains = Vec::new();
            for partition in log.partitions().await? {
                chains.push(opened.chain(partition).await?);
            }
            identity::check(&opened, &log, &chains).await?;
            archive = Some(opened);
        }
        Ok(Self {
            log,
            archive,
            cluster,
            origins,
            instance,
            spill,
            progress: progress_bar::on_stderr(),
        })
    }

    /// A build of what `config` asks for.
    pub fn request<'a>(&'a self, config: &'a Config) -> BuildRequest<'a> {
        BuildRequest {
            namespace: &config.namespace,
            instance: &self.instance,
            cluster: &self.cluster,
            topic: &config.kafka.topic,
            definitions: &config.definitions,
            origins: self.origins.clone(),
            base: BaseChoice::Newest,
            cut: None,
            added: &[],
            memory_bytes_max: config.totals.memory_bytes_max,
            spill: &self.spill,
            reach: None,
        }
    }

    /// The records of the topic.
    pub const fn records(&self) -> Records<'_, ObjectFolder, KafkaLog, SystemClock> {
        Records::new(self.archive.as_ref(), &self.log, &SystemClock, PATIENCE)
    }
}

/// The namespace, whose definitions must be the configured ones, and where it begins to count each partition.
async fn namespace(config: &Config) -> Result<(NamespaceInstance, Offsets), UserError> {
    let zookeeper = &config.zookeeper;
    let client = ZooKeeperClient::of(zookeeper);
    let session = client.connect().await?;
    let session = NamespaceSession::new(
        session,
        SystemClock,
        Paths::below(&config.zookeeper.root, &config.namespace),
    );
    let read = async {
        let defined = definition_node::read(&session).await?;
        let path = session.paths().definition();
        let defined = defined.ok_or(Error::NotInitialised { path })?;
        let differ = namespace::definitions_differ(config, &defined.record.definitions);
        if let Some(mismatch) = differ {
            return Err(mismatch.user_error(config));
        }
        let record = &defined.record;
        let instance = NamespaceInstance::new(record.generation, &record.table, &record.log);
        Ok((instance, Offsets(origin_node::read_all(&session).await?)))
    };
    let read = read.await;
    session.close().await;
    read
}
