//! A ZooKeeper of one server, whose connections and answers are lost only when a test wants that.

use std::collections::BTreeMap;
use std::time::Duration;

use stitch_common::ports::{
    CreateMode, CreateResult, MultiError, Node, NodeStat, Operation, Session, SessionState,
    ZkError, ZooKeeper,
};

use super::clock::Changed;
use super::world::Fake;

#[derive(Default)]
pub(crate) struct Nodes {
    pub(crate) nodes: BTreeMap<String, Node>,
    sequence: i32,
    zxid: i64,
    sessions: i64,
    over: bool,
    cut_off: bool,
    /// Part of the paths of which nothing is taken.
    refused: Option<String>,
}

impl Nodes {
    fn parent(path: &str) -> &str {
        path.rsplit_once('/').map_or("", |(parent, _)| parent)
    }

    fn children(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        let below = self
            .nodes
            .keys()
            .filter_map(|node| node.strip_prefix(&prefix));
        below
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn create(
        &mut self,
        session: i64,
        path: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<CreateResult, ZkError> {
        let parent = Self::parent(path);
        if !parent.is_empty() && !self.nodes.contains_key(parent) {
            return Err(ZkError::NoNode);
        }
        self.sequence += 1;
        let path = match mode {
            CreateMode::EphemeralSequential => format!("{path}{:010}", self.sequence),
            CreateMode::Persistent | CreateMode::Ephemeral => path.to_owned(),
        };
        if self.nodes.contains_key(&path) {
            return Err(ZkError::NodeExists);
        }
        self.zxid += 1;
        let stat = NodeStat {
            czxid: self.zxid,
            mzxid: self.zxid,
            ctime_ms: 0,
            version: 0,
            ephemeral_owner: if mode == CreateMode::Persistent {
                0
            } else {
                session
            },
        };
        let node = Node {
            data: data.to_vec(),
            stat,
        };
        self.nodes.insert(path.clone(), node);
        Ok(CreateResult { path, stat })
    }

    pub(crate) fn set(
        &mut self,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        self.check(path, version)?;
        self.zxid += 1;
        let node = self.nodes.get_mut(path).ok_or(ZkError::NoNode)?;
        node.data = data.to_vec();
        node.stat.version += 1;
        node.stat.mzxid = self.zxid;
        Ok(node.stat)
    }

    pub(crate) fn delete(&mut self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        self.check(path, version)?;
        if !self.children(path).is_empty() {
            return Err(ZkError::NotEmpty);
        }
        self.nodes.remove(path);
        Ok(())
    }

    fn check(&self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        let node = self.nodes.get(path).ok_or(ZkError::NoNode)?;
        match version {
            Some(version) if version != node.stat.version => Err(ZkError::BadVersion),
            Some(_) | None => Ok(()),
        }
    }

    fn apply(
        &mut self,
        session: i64,
        operation: &Operation,
    ) -> Result<Option<CreateResult>, ZkError> {
        match operation {
            Operation::Check { path, version } => self.check(path, *version).map(|()| None),
            Operation::Create { path, data, mode } => {
                self.create(session, path, data, *mode).map(Some)
            }
            Operation::Set {
                path,
                data,
                version,
            } => self.set(path, data, *version).map(|_| None),
            Operation::Delete { path, version } => self.delete(path, *version).map(|()| None),
        }
    }

    pub(crate) fn end_session(&mut self, session: i64) {
        self.nodes
            .retain(|_, node| node.stat.ephemeral_owner != session);
    }
}

pub(crate) struct FakeSession {
    fake: Fake,
    id: i64,
}

impl ZooKeeper for Fake {
    type Session = FakeSession;

    async fn connect(&self) -> Result<FakeSession, ZkError> {
        let mut keeper = self.keeper.borrow_mut();
        keeper.sessions += 1;
        let id = keeper.sessions;
        drop(keeper);
        Ok(FakeSession {
            fake: self.clone(),
            id,
        })
    }
}

impl FakeSession {
    fn ask<T>(
        &self,
        what: &str,
        path: &str,
        act: impl FnOnce(&mut Nodes) -> Result<T, ZkError>,
    ) -> Result<T, ZkError> {
        self.fake.note(&format!(
            "{what} {}",
            path.strip_prefix("/stitch/n").unwrap_or(path)
        ));
        let keeper = self.fake.keeper.borrow();
        if keeper.over {
            return Err(ZkError::SessionOver);
        }
        if keeper.cut_off {
            return Err(ZkError::Ambiguous("cut off".to_owned()));
        }
        let refused = keeper.refused.as_ref();
        if refused.is_some_and(|part| path.contains(part)) {
            return Err(ZkError::Refused("as the test wants".to_owned()));
        }
        drop(keeper);
        let done = act(&mut self.fake.keeper.borrow_mut());
        self.fake.changes.tell();
        done
    }
}

impl Session for FakeSession {
    type Watch = Changed;

    fn id(&self) -> i64 {
        self.id
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(6)
    }

    fn state(&self) -> SessionState {
        let keeper = self.fake.keeper.borrow();
        if keeper.over {
            SessionState::Over
        } else if keeper.cut_off {
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
        self.ask("create", path, |nodes| {
            nodes.create(self.id, path, data, mode)
        })
    }

    async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        self.ask("delete", path, |nodes| nodes.delete(path, version))
    }

    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError> {
        self.ask("get", path, |nodes| Ok(nodes.nodes.get(path).cloned()))
    }

    async fn set(
        &self,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        self.ask("set", path, |nodes| nodes.set(path, data, version))
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        self.ask("list", path, |nodes| {
            let known = nodes.nodes.contains_key(path);
            Ok(known.then(|| nodes.children(path)))
        })
    }

    async fn watch_children(&self, path: &str) -> Result<(Vec<String>, Changed), ZkError> {
        let names = self.ask("list", path, |nodes| Ok(nodes.children(path)))?;
        Ok((names, self.fake.changes.next()))
    }

    async fn watch_node(&self, path: &str) -> Result<(Option<NodeStat>, Changed), ZkError> {
        let stat = self.ask("get", path, |nodes| {
            Ok(nodes.nodes.get(path).map(|node| node.stat))
        })?;
        Ok((stat, self.fake.changes.next()))
    }

    async fn multi(&self, operations: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        let mut created = Vec::new();
        let before = self.fake.keeper.borrow().nodes.clone();
        for (index, operation) in operations.iter().enumerate() {
            let done = self.ask("multi", "", |nodes| nodes.apply(self.id, operation));
            match done {
                Ok(node) => created.extend(node),
                Err(error @ ZkError::Ambiguous(_)) => return Err(MultiError::Whole(error)),
                Err(error) => {
                    self.fake.keeper.borrow_mut().nodes = before;
                    return Err(MultiError::Operation { index, error });
                }
            }
        }
        Ok(created)
    }

    async fn sync(&self, _path: &str) -> Result<(), ZkError> {
        Ok(())
    }

    async fn close(self) {
        self.fake.keeper.borrow_mut().end_session(self.id);
    }
}

impl Fake {
    /// Every connection is lost, and every session lives on.
    pub(crate) fn cut_off(&self) {
        self.keeper.borrow_mut().cut_off = true;
        self.changes.tell();
    }

    /// Nothing is taken for paths that `part` is part of.
    pub(crate) fn refuse(&self, part: &str) {
        self.keeper.borrow_mut().refused = Some(part.to_owned());
    }

    /// Every session is over, as after a partition that lasted too long.
    pub(crate) fn lose_sessions(&self) {
        self.keeper.borrow_mut().over = true;
        self.changes.tell();
    }
}
