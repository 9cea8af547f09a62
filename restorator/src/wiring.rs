//! The commands at the real servers.

use std::io::{self, IsTerminal};

use stitch_app::shutdown::Shutdown;
use stitch_cassandra::ScyllaCql;
use stitch_common::clock::SystemClock;
use stitch_common::config::Config;
use stitch_common::user_error::UserError;
use stitch_kafka::KafkaLog;
use stitch_zookeeper::ZooKeeperClient;

use crate::command::{self, Given};
use crate::journal::Journal;
use crate::membership::Process;
use crate::options::{PlanOptions, RunOptions};
use crate::report::{PlanReport, RunReport};
use crate::site::Servers;
use stitch_app::progress_bar::{Bar, Lines};
use stitch_common::progress::Progress;

type Real = Servers<ZooKeeperClient, ScyllaCql<SystemClock>, KafkaLog, SystemClock>;

type Here<'a> = Given<'a, ZooKeeperClient, ScyllaCql<SystemClock>, KafkaLog, SystemClock>;

/// [`command::plan()`] at the servers of `config`.
///
/// # Errors
/// As there.
pub async fn plan(
    config: &Config,
    host: String,
    options: &PlanOptions,
    shutdown: &Shutdown,
) -> Result<PlanReport, UserError> {
    let work = async |given: &Here<'_>| Box::pin(command::plan(given, options)).await;
    at(config, host, shutdown, work).await
}

/// [`command::run()`] at the servers of `config`.
///
/// # Errors
/// As there.
pub async fn run(
    config: &Config,
    host: String,
    options: &RunOptions,
    shutdown: &Shutdown,
) -> Result<RunReport, UserError> {
    let work = async |given: &Here<'_>| Box::pin(command::run(given, options)).await;
    at(config, host, shutdown, work).await
}

/// Does `work`, which boxes the command because that is one large future, at the servers of `config`.
async fn at<T>(
    config: &Config,
    host: String,
    shutdown: &Shutdown,
    work: impl AsyncFnOnce(&Here<'_>) -> Result<T, UserError>,
) -> Result<T, UserError> {
    let (servers, progress) = (servers(config)?, progress());
    let process = Process {
        host,
        id: std::process::id(),
    };
    let given = Given {
        servers: &servers,
        config,
        process: &process,
        stop: shutdown.token(),
        progress: &*progress,
        journal: &|name| Journal::create(&config.restorator.journal, name),
    };
    work(&given).await
}

fn servers(config: &Config) -> Result<Real, UserError> {
    let zookeeper = &config.zookeeper;
    Ok(Servers {
        keeper: ZooKeeperClient::new(&zookeeper.connect, zookeeper.session_timeout),
        cql: ScyllaCql::new(config, SystemClock),
        log: KafkaLog::new(&config.kafka)?,
        clock: SystemClock,
    })
}

/// On standard error: a bar for people, lines for everything else.
fn progress() -> Box<dyn Progress> {
    if io::stderr().is_terminal() {
        Box::new(Bar::default())
    } else {
        Box::new(Lines::new(io::stderr(), SystemClock))
    }
}
