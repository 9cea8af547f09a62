//! A ZooKeeper that opens sessions and then never answers.

use std::cell::Cell;
use std::future::{Pending, pending};
use std::time::Duration;

use stitch_common::ports::{
    CreateMode, CreateResult, MultiError, Node, NodeStat, Operation, Session, SessionState,
    ZkError, ZooKeeper,
};

#[derive(Default)]
pub(super) struct SilentZooKeeper {
    sessions: Cell<usize>,
}

impl SilentZooKeeper {
    pub(super) fn sessions(&self) -> usize {
        self.sessions.get()
    }
}

impl ZooKeeper for &SilentZooKeeper {
    type Session = SilentSession;

    async fn connect(&self) -> Result<SilentSession, ZkError> {
        self.sessions.set(self.sessions.get() + 1);
        Ok(SilentSession)
    }
}

/// A session that is connected.
pub(super) struct SilentSession;

impl Session for SilentSession {
    type Watch = Pending<()>;

    fn id(&self) -> i64 {
        1
    }

    fn nonce(&self) -> u64 {
        0
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn state(&self) -> SessionState {
        SessionState::Connected
    }

    async fn state_other_than(&self, _from: SessionState) -> SessionState {
        pending().await
    }

    async fn create(&self, _: &str, _: &[u8], _: CreateMode) -> Result<CreateResult, ZkError> {
        pending().await
    }

    async fn delete(&self, _: &str, _: Option<i32>) -> Result<(), ZkError> {
        pending().await
    }

    async fn get(&self, _: &str) -> Result<Option<Node>, ZkError> {
        pending().await
    }

    async fn set(&self, _: &str, _: &[u8], _: Option<i32>) -> Result<NodeStat, ZkError> {
        pending().await
    }

    async fn children(&self, _: &str) -> Result<Option<Vec<String>>, ZkError> {
        pending().await
    }

    async fn watch_children(&self, _: &str) -> Result<(Vec<String>, Self::Watch), ZkError> {
        pending().await
    }

    async fn watch_node(&self, _: &str) -> Result<(Option<NodeStat>, Self::Watch), ZkError> {
        pending().await
    }

    async fn multi(&self, _: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        pending().await
    }

    async fn sync(&self, _: &str) -> Result<(), ZkError> {
        pending().await
    }

    async fn close(self) {}
}
