//! Fingerprints of the topic: the first record of each partition is kept in ZooKeeper as soon as there is one, so that a
//! topic created again under the same name is recognized as another one (design, section 6).
//!
//! They are stored when a process joins. After that only a partition that had no record then can be missing, and its first
//! delivery shows it: nobody asks Kafka for it before.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::{EventLog, LogError, Session};
use stitch_protocol::NamespaceSession;
use stitch_protocol::namespace;
use tokio::sync::Notify;

/// The pause after Kafka was asked, answered or not.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Coordination(#[from] stitch_protocol::Error),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The partitions whose first record is stored, as far as this member knows.
#[derive(Debug)]
pub(crate) struct Fingerprints {
    stored: RefCell<BTreeSet<Partition>>,
    missing: Notify,
}

impl Fingerprints {
    pub(crate) fn new(stored: BTreeSet<Partition>) -> Self {
        Self {
            stored: RefCell::new(stored),
            missing: Notify::new(),
        }
    }

    /// Records of this partition were delivered.
    pub(crate) fn on_records(&self, partition: Partition) {
        if !self.stored.borrow().contains(&partition) {
            self.missing.notify_one();
        }
    }

    /// Stores what is missing until it is dropped: it runs alongside the counting.
    pub(crate) async fn record<S: Session, C: Clock, L: EventLog>(
        &self,
        session: &NamespaceSession<S, C>,
        log: &L,
    ) -> Infallible {
        loop {
            self.missing.notified().await;
            while let Err(error) = self.store(session, log).await {
                tracing::debug!(%error, "first records not stored, retrying");
                session.clock().sleep(PAUSE).await;
            }
            session.clock().sleep(PAUSE).await;
        }
    }

    async fn store<S: Session, C: Clock, L: EventLog>(
        &self,
        session: &NamespaceSession<S, C>,
        log: &L,
    ) -> Result<(), Error> {
        let identity = log.identity().await?;
        namespace::remember_log(session, &identity).await?;
        let stored = identity.fingerprints.into_keys();
        self.stored.borrow_mut().extend(stored);
        Ok(())
    }
}
