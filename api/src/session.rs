//! A session with ZooKeeper for whoever looks there again and again: opened when it is needed, and again when it is
//! over. No member: it makes nothing there.

use stitch_common::clock::Clock;
use stitch_common::ports::{Keeper, KeeperError, Session, SessionState};
use stitch_protocol::Coordinator;
use stitch_protocol::path::Paths;

/// A session that there is, or is going to be.
pub(crate) struct Reopened<K: Keeper, C> {
    keeper: K,
    clock: C,
    namespace: String,
    open: Option<Coordinator<K::Session, C>>,
}

impl<K: Keeper, C: Clock> Reopened<K, C> {
    pub(crate) fn new(keeper: K, clock: C, namespace: &str) -> Self {
        Self {
            keeper,
            clock,
            namespace: namespace.to_owned(),
            open: None,
        }
    }

    /// It, opened anew if it is over. Cancelling it leaves at most a session that nobody uses.
    pub(crate) async fn coordinator(&mut self) -> Result<&Coordinator<K::Session, C>, KeeperError> {
        let open = self.open.take();
        let lives =
            |open: &Coordinator<K::Session, C>| open.session().state() != SessionState::Over;
        let coordinator = match open.filter(lives) {
            Some(coordinator) => coordinator,
            None => Coordinator::new(
                self.keeper.connect().await?,
                self.clock.clone(),
                Paths::new(&self.namespace),
            ),
        };
        Ok(self.open.insert(coordinator))
    }

    /// Gives it up, because it answers nothing.
    pub(crate) fn give_up(&mut self) {
        self.open = None;
    }
}
