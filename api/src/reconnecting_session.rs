//! A session with ZooKeeper for whoever looks there again and again: opened when it is needed, and again when it is
//! over. No member: it makes nothing there.

use stitch_common::clock::Clock;
use stitch_common::ports::{Session, SessionState, ZkError, ZooKeeper};
use stitch_protocol::NamespaceSession;
use stitch_protocol::path::Paths;

/// A session that there is, or is going to be.
pub(crate) struct ReconnectingSession<K: ZooKeeper, C> {
    keeper: K,
    clock: C,
    namespace: String,
    open: Option<NamespaceSession<K::Session, C>>,
}

impl<K: ZooKeeper, C: Clock> ReconnectingSession<K, C> {
    pub(crate) fn new(keeper: K, clock: C, namespace: &str) -> Self {
        Self {
            keeper,
            clock,
            namespace: namespace.to_owned(),
            open: None,
        }
    }

    /// It, opened anew if it is over. Cancelling it leaves at most a session that nobody uses.
    pub(crate) async fn session(&mut self) -> Result<&NamespaceSession<K::Session, C>, ZkError> {
        let open = self.open.take();
        let lives =
            |open: &NamespaceSession<K::Session, C>| open.zookeeper().state() != SessionState::Over;
        let session = match open.filter(lives) {
            Some(session) => session,
            None => NamespaceSession::new(
                self.keeper.connect().await?,
                self.clock.clone(),
                Paths::new(&self.namespace),
            ),
        };
        Ok(self.open.insert(session))
    }

    /// Gives it up, because it answers nothing.
    pub(crate) fn give_up(&mut self) {
        self.open = None;
    }
}
