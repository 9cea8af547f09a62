//! Connects the commands to the real servers.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use stitch_app::progress_bar::{Bar, Lines};
use stitch_app::stderr::Stderr;
use stitch_common::clock::SystemClock;
use stitch_common::config::Config;
use stitch_common::offset::Offsets;
use stitch_common::ports::{EventLog, ZooKeeper};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use stitch_kafka::KafkaLog;
use stitch_objects::ObjectFolder;
use stitch_protocol::path::Paths;
use stitch_protocol::{Error, NamespaceSession, definition_node, namespace, origin_node};
use stitch_zookeeper::ZooKeeperClient;

use crate::records::Records;
use crate::sorted::spill_folder::SpillFolder;
use crate::totals_folder::TotalsFolder;

/// The folder of totals when no URL is configured.
const FOLDER: &str = "stitch-totals";
/// How long Kafka may deliver nothing of a partition.
const PATIENCE: Duration = Duration::from_secs(120);

/// The namespace and its topic.
pub(super) struct Servers {
    log: KafkaLog,
    pub(super) cluster: String,
    pub(super) origins: Offsets,
    pub(super) spill: SpillFolder,
    pub(super) progress: Box<dyn Progress>,
}

/// The totals of the namespace.
pub(super) fn folder(config: &Config) -> Result<TotalsFolder<ObjectFolder>, UserError> {
    let store = match &config.totals.url {
        Some(url) => ObjectFolder::open("totals.url", url)?,
        None => ObjectFolder::local(Path::new(FOLDER))?,
    };
    Ok(TotalsFolder::new(store, &config.namespace))
}

impl Servers {
    /// Connects, and checks that configuration is that of the namespace.
    pub(super) async fn connect(config: &Config) -> Result<Self, UserError> {
        let totals = &config.totals;
        let spill_bytes_max = u64::try_from(totals.spill_bytes_max).unwrap_or(u64::MAX);
        let spill = SpillFolder::open(&totals.spill, spill_bytes_max)?;
        let origins = origins(config).await?;
        let log = KafkaLog::new(&config.kafka)?;
        let cluster = log.identity().await?.cluster;
        Ok(Self {
            log,
            cluster,
            origins,
            spill,
            progress: progress(),
        })
    }

    /// The records of the topic.
    pub(super) const fn records(&self) -> Records<'_, ObjectFolder, KafkaLog, SystemClock> {
        Records::new(None, &self.log, &SystemClock, PATIENCE)
    }
}

/// Where each partition's counting begins, by the namespace, whose definitions must be the configured ones.
async fn origins(config: &Config) -> Result<Offsets, UserError> {
    let zookeeper = &config.zookeeper;
    let client = ZooKeeperClient::new(&zookeeper.connect, zookeeper.session_timeout);
    let session = client.connect().await?;
    let session = NamespaceSession::new(session, SystemClock, Paths::new(&config.namespace));
    let read = async {
        let defined = definition_node::read(&session).await?;
        let path = session.paths().definition();
        let defined = defined.ok_or(Error::NotInitialised { path })?;
        let differ = namespace::definitions_differ(config, &defined.record.definitions);
        if let Some(mismatch) = differ {
            return Err(mismatch.user_error(config));
        }
        Ok(Offsets(origin_node::read_all(&session).await?))
    };
    let origins = read.await;
    session.close().await;
    origins
}

/// Progress on standard error: a bar on a terminal, otherwise lines.
fn progress() -> Box<dyn Progress> {
    if io::stderr().is_terminal() {
        Box::new(Bar::default())
    } else {
        Box::new(Lines::new(Stderr, SystemClock))
    }
}
