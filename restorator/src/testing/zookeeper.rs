//! A ZooKeeper of one server, which loses connections, sessions and answers only when a test asks for it.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::{
    CreateMode, CreateResult, MultiError, Node, NodeStat, Operation, Session, SessionState,
    ZkError, ZooKeeper,
};
use stitch_testkit::wait::Fired;
use stitch_testkit::zookeeper::Tree;

use super::world::Fake;

#[derive(Default)]
pub(crate) struct Server {
    pub(crate) tree: Tree,
    sessions: i64,
    /// Sessions up to this one are over.
    over: i64,
    /// So many further sessions are not opened.
    away: u32,
    disconnected: bool,
    /// Requests are refused for paths that contain this.
    refused_part: Option<String>,
    /// Writes to paths that contain this take so long.
    slow_part: Option<(String, Duration)>,
}

pub(crate) struct FakeSession {
    fake: Fake,
    id: i64,
}

impl ZooKeeper for Fake {
    type Session = FakeSession;

    async fn connect(&self) -> Result<FakeSession, ZkError> {
        self.record("connect");
        let mut server = self.zookeeper.borrow_mut();
        if server.away > 0 {
            server.away -= 1;
            return Err(ZkError::Ambiguous("no server answers".to_owned()));
        }
        server.sessions += 1;
        Ok(FakeSession {
            fake: self.clone(),
            id: server.sessions,
        })
    }
}

impl FakeSession {
    fn request<T, E: From<ZkError>>(
        &self,
        name: &str,
        path: &str,
        execute: impl FnOnce(&mut Tree) -> Result<T, E>,
    ) -> Result<T, E> {
        let short = path.strip_prefix("/stitch/n").unwrap_or(path);
        self.fake.record(&format!("{name} {short}"));
        let mut server = self.fake.zookeeper.borrow_mut();
        if self.id <= server.over {
            return Err(ZkError::SessionOver.into());
        }
        if server.disconnected {
            return Err(ZkError::Ambiguous("disconnected".to_owned()).into());
        }
        let part = server.refused_part.as_ref();
        if part.is_some_and(|part| path.contains(part)) {
            return Err(ZkError::Refused("as the test wants".to_owned()).into());
        }
        let result = execute(&mut server.tree);
        drop(server);
        // A read changes nothing, and what watches may read again at each change.
        if !matches!(name, "get" | "list") {
            self.fake.changes.notify();
        }
        result
    }

    fn names(tree: &Tree, path: &str) -> Vec<String> {
        tree.children(path).map(str::to_owned).collect()
    }
}

impl Session for FakeSession {
    type Watch = Fired;

    fn id(&self) -> i64 {
        self.id
    }

    fn nonce(&self) -> u64 {
        0
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(6)
    }

    fn state(&self) -> SessionState {
        let server = self.fake.zookeeper.borrow();
        if self.id <= server.over {
            SessionState::Over
        } else if server.disconnected {
            SessionState::Disconnected
        } else {
            SessionState::Connected
        }
    }

    async fn state_other_than(&self, from: SessionState) -> SessionState {
        while self.state() == from {
            self.fake.changes.next().await;
        }
        self.state()
    }

    async fn create(
        &self,
        path: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<CreateResult, ZkError> {
        self.request("create", path, |tree| {
            tree.create(self.id, path, data, mode)
        })
    }

    async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        self.request("delete", path, |tree| tree.delete(path, version))
    }

    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError> {
        self.request("get", path, |tree| Ok(tree.get(path).cloned()))
    }

    async fn set(
        &self,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        let slow = self.fake.zookeeper.borrow().slow_part.clone();
        if let Some((part, takes)) = slow
            && path.contains(&part)
        {
            self.fake.clock.sleep(takes).await;
        }
        self.request("set", path, |tree| tree.set(path, data, version))
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        self.request("list", path, |tree| {
            Ok(tree.get(path).map(|_| Self::names(tree, path)))
        })
    }

    async fn watch_children(&self, path: &str) -> Result<(Vec<String>, Fired), ZkError> {
        let names: Result<_, ZkError> =
            self.request("list", path, |tree| Ok(Self::names(tree, path)));
        Ok((names?, self.fake.changes.next()))
    }

    async fn watch_node(&self, path: &str) -> Result<(Option<NodeStat>, Fired), ZkError> {
        let stat: Result<_, ZkError> =
            self.request("get", path, |tree| Ok(tree.get(path).map(|node| node.stat)));
        Ok((stat?, self.fake.changes.next()))
    }

    async fn multi(&self, operations: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        // It is named by what it changes last.
        let last = operations
            .last()
            .map_or("", stitch_testkit::zookeeper::path_of);
        self.request("multi", last, |tree| {
            let result = tree.transact(self.id, &operations);
            result.map_err(|(index, error)| MultiError::Operation { index, error })
        })
    }

    async fn sync(&self, _path: &str) -> Result<(), ZkError> {
        Ok(())
    }

    async fn close(self) {
        let tree = &mut self.fake.zookeeper.borrow_mut().tree;
        for path in tree.ephemerals_of(self.id) {
            tree.delete(&path, None).unwrap();
        }
    }
}

impl Fake {
    /// Breaks every connection; sessions live on.
    pub(crate) fn cut_off(&self) {
        self.zookeeper.borrow_mut().disconnected = true;
        self.changes.notify();
    }

    /// Ends [`Self::cut_off`].
    pub(crate) fn connect_again(&self) {
        self.zookeeper.borrow_mut().disconnected = false;
        self.changes.notify();
    }

    /// Refuses requests for paths that contain `part`.
    pub(crate) fn refuse(&self, part: &str) {
        self.zookeeper.borrow_mut().refused_part = Some(part.to_owned());
    }

    /// Delays writes to paths that contain `part`.
    pub(crate) fn slow_down(&self, part: &str, takes: Duration) {
        self.zookeeper.borrow_mut().slow_part = Some((part.to_owned(), takes));
    }

    /// Ends every session, as a network partition does that lasts too long. New ones can be opened.
    pub(crate) fn lose_sessions(&self) {
        let server = &mut *self.zookeeper.borrow_mut();
        server.over = server.sessions;
        for session in 1..=server.sessions {
            for path in server.tree.ephemerals_of(session) {
                server.tree.delete(&path, None).unwrap();
            }
        }
        self.changes.notify();
    }

    /// Opens no session for so many attempts.
    pub(crate) fn open_no_session(&self, attempts: u32) {
        self.zookeeper.borrow_mut().away = attempts;
    }
}
