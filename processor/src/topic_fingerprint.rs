//! Fingerprints of the topic: the first record of each partition is kept in ZooKeeper as soon as there is one, so that a
//! topic created again under the same name is recognized as another one (design, section 6).

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::{EventLog, LogError, Session};
use stitch_protocol::NamespaceSession;
use stitch_protocol::namespace;

/// How often partitions without a record are checked.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Coordination(#[from] stitch_protocol::Error),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Keeps first records until it is dropped: it runs alongside the counting.
pub(crate) async fn run<S: Session, C: Clock, L: EventLog>(
    session: &NamespaceSession<S, C>,
    log: &L,
) -> Infallible {
    let mut kept = BTreeSet::new();
    loop {
        if let Err(error) = keep(session, log, &mut kept).await {
            tracing::debug!(%error, "first records not kept, retrying");
        }
        session.clock().sleep(INTERVAL).await;
    }
}

async fn keep<S: Session, C: Clock, L: EventLog>(
    session: &NamespaceSession<S, C>,
    log: &L,
    kept: &mut BTreeSet<Partition>,
) -> Result<(), Error> {
    let mut missing = log.partitions().await?;
    missing.retain(|partition| !kept.contains(partition));
    let bounds = log.bounds(&missing).await?;
    if bounds.values().all(|bounds| bounds.begin == bounds.end) {
        return Ok(());
    }
    let identity = log.identity().await?;
    namespace::remember_log(session, &identity).await?;
    kept.extend(identity.fingerprints.into_keys());
    Ok(())
}
