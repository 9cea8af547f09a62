//! A ZooKeeper session that is opened on first use, and again after it has expired. It joins no membership and creates
//! no nodes.

use stitch_common::clock::Clock;
use stitch_common::ports::{Session, SessionState, ZkError, ZooKeeper};
use stitch_protocol::NamespaceSession;
use stitch_protocol::path::Paths;

pub(crate) struct ReconnectingSession<K: ZooKeeper, C> {
    zookeeper: K,
    clock: C,
    paths: Paths,
    open: Option<NamespaceSession<K::Session, C>>,
}

impl<K: ZooKeeper, C: Clock> ReconnectingSession<K, C> {
    pub(crate) fn new(zookeeper: K, clock: C, paths: Paths) -> Self {
        Self {
            zookeeper,
            clock,
            paths,
            open: None,
        }
    }

    /// The open session, or a new one if there is none or it has expired.
    ///
    /// # Cancellation
    /// Leaves at most an unused session, which expires.
    pub(crate) async fn session(&mut self) -> Result<&NamespaceSession<K::Session, C>, ZkError> {
        let open = self
            .open
            .take()
            .filter(|open| open.zookeeper().state() != SessionState::Over);
        let session = match open {
            Some(session) => session,
            None => NamespaceSession::new(
                self.zookeeper.connect().await?,
                self.clock.clone(),
                self.paths.clone(),
            ),
        };
        Ok(self.open.insert(session))
    }

    /// Drops the session, because it does not answer.
    pub(crate) fn discard(&mut self) {
        self.open = None;
    }
}
