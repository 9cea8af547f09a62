//! The session with ZooKeeper.

use stitch_common::clock::SystemClock;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_protocol::{Error, NamespaceSession, definition_node, namespace};
use stitch_totals::manifest::NamespaceInstance;
use stitch_totals_program::servers;
use stitch_zookeeper::ZooKeeperSession;

pub(super) type BatchSession = NamespaceSession<ZooKeeperSession, SystemClock>;

/// Connects, and checks that the namespace exists.
pub(super) async fn connect(config: &Config) -> Result<BatchSession, UserError> {
    let session = servers::session(config).await?;
    match check(config, &session).await {
        Ok(()) => Ok(session),
        Err(error) => {
            session.close().await;
            Err(error)
        }
    }
}

async fn check(config: &Config, session: &BatchSession) -> Result<(), UserError> {
    let path = session.paths().definition();
    let defined = definition_node::read(session).await?;
    let defined = defined.ok_or(Error::NotInitialised { path })?;
    match namespace::definitions_differ(config, &defined.record.definitions) {
        Some(mismatch) => Err(mismatch.user_error(config)),
        None => Ok(()),
    }
}

/// Which namespace of its name this is.
pub(super) async fn instance(session: &BatchSession) -> Result<NamespaceInstance, UserError> {
    let path = session.paths().definition();
    let defined = definition_node::read(session).await?;
    let record = defined.ok_or(Error::NotInitialised { path })?.record;
    Ok(NamespaceInstance::new(
        record.generation,
        &record.table,
        &record.log,
    ))
}
