//! Connects the commands to the real servers and the real clock.

use stitch_app::progress_bar;
use stitch_app::shutdown::Shutdown;
use stitch_cassandra::ScyllaCql;
use stitch_common::clock::SystemClock;
use stitch_common::ports::{Servers, Stores};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::KafkaLog;
use stitch_objects::{ObjectFolder, stores};
use stitch_zookeeper::ZooKeeperClient;

use crate::command::CommandContext;
use crate::journal::Journal;
use crate::membership::Process;

pub(crate) type RealServers =
    Servers<ZooKeeperClient, ScyllaCql<SystemClock>, KafkaLog, ObjectFolder, SystemClock>;

/// Runs `command` against the servers of `config`.
pub(crate) async fn with_servers<T>(
    config: &Config,
    host: String,
    shutdown: &Shutdown,
    command: impl AsyncFnOnce(&CommandContext<'_, RealServers>) -> Result<T, UserError>,
) -> Result<T, UserError> {
    stitch_app::realtime::require(config, "stitch-restorator")?;
    let zookeeper = &config.zookeeper;
    let servers = Servers {
        keeper: ZooKeeperClient::of(zookeeper),
        cql: ScyllaCql::new(config, SystemClock),
        log: KafkaLog::new(&config.kafka)?,
        stores: Stores {
            archive: stores::archive(config)?,
            totals: Some(stores::totals(config)?),
        },
        clock: SystemClock,
    };
    let context = CommandContext {
        servers: &servers,
        config,
        process: &Process {
            host,
            id: std::process::id(),
        },
        stop: shutdown.token(),
        progress: &*progress_bar::on_stderr(),
        journal: &|name| Journal::create(&config.restorator.journal, name),
    };
    command(&context).await
}
