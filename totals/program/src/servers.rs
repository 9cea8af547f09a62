//! Connects the commands to the real servers.

use std::time::Duration;

use stitch_app::check::Findings;
use stitch_app::progress_bar;
use stitch_archive::reader::Archive;
use stitch_archive::{check, identity};
use stitch_common::clock::SystemClock;
use stitch_common::offset::Offsets;
use stitch_common::ports::{EventLog, Session, ZooKeeper};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::KafkaLog;
use stitch_objects::{ObjectFolder, stores};
use stitch_protocol::path::Paths;
use stitch_protocol::{Error, NamespaceSession, definition_node, namespace, origin_node};
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
    cluster: String,
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
        let instance = instance(config, session).await?;
        let log = KafkaLog::new(&config.kafka)?;
        let cluster = log.identity().await?.cluster;
        let archive = stores::archive(config)?;
        let archive = archive.map(|store| Archive::new(store, &cluster, &config.kafka.topic));
        let records = Records::new(archive.as_ref(), &log, &SystemClock, PATIENCE);
        let origins = async || Ok(Offsets(origin_node::read_all(session).await?));
        let reach = records.reach::<UserError>(origins).await?;
        if let Some(archive) = &archive {
            let chains: Vec<_> = reach.chains.values().cloned().collect();
            identity::check(archive, &log, &chains).await?;
        }
        Ok(Self {
            log,
            archive,
            cluster,
            reach,
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

/// The namespace, whose definitions must be the configured ones.
async fn instance<Z: Session>(
    config: &Config,
    session: &NamespaceSession<Z, SystemClock>,
) -> Result<NamespaceInstance, UserError> {
    let defined = definition_node::read(session).await?;
    let path = session.paths().definition();
    let record = defined.ok_or(Error::NotInitialised { path })?.record;
    if let Some(mismatch) = namespace::definitions_differ(config, &record.definitions) {
        return Err(mismatch.user_error(config));
    }
    Ok(NamespaceInstance::new(
        record.generation,
        &record.table,
        &record.log,
    ))
}
