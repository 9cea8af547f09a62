//! One session in one namespace: what every recipe takes.

use std::sync::atomic::{AtomicU64, Ordering};

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{CreateMode, Node, NodeStat, Session, ZkError};

use crate::contender::Guid;
use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::path::Paths;
use crate::retry::RetryBudget;
use crate::rule;

/// A session, the clock that its recipes wait on, and the namespace that they work in. Each session has one of these
/// only, so that no number is given out twice.
#[derive(Debug)]
pub struct NamespaceSession<S, C> {
    session: S,
    clock: C,
    paths: Paths,
    numbers: AtomicU64,
}

impl<S: Session, C: Clock> NamespaceSession<S, C> {
    /// Puts `session` to work in the namespace of `paths`.
    #[must_use]
    pub const fn new(session: S, clock: C, paths: Paths) -> Self {
        Self {
            session,
            clock,
            paths,
            numbers: AtomicU64::new(1),
        }
    }

    /// The session behind its port.
    pub const fn zookeeper(&self) -> &S {
        &self.session
    }

    /// The clock that recipes pause on.
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// The paths of the namespace.
    pub const fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The member that this session is, or would be.
    #[must_use]
    pub fn member(&self) -> MemberId {
        MemberId::new(self.session.id(), rule::nonce_of(self.session.nonce()))
    }

    /// Ends the session, as [`Session::close`] says.
    pub async fn close(self) {
        self.session.close().await;
    }

    /// Creates the namespace's directories, all but `/definition`; harmless where they exist. For `init` alone.
    /// Cancelled or failed, it leaves some of them.
    pub async fn make_directories(&self) -> Result<(), Error> {
        for directory in self.paths.directories() {
            self.ensure(&directory).await?;
        }
        Ok(())
    }

    /// A number that this session has not used yet, from 1.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A name of a node that this session has not given out yet.
    pub fn next_guid(&self) -> Guid {
        Guid::new(self.session.nonce(), self.next_number())
    }

    /// The attempts for one operation on the node at `path`.
    pub const fn retry_budget<'a>(&'a self, path: &'a str) -> RetryBudget<'a, S, C> {
        RetryBudget::new(&self.session, &self.clock, path)
    }

    /// Repeats `request` until it is answered; every refusal is an error.
    async fn answer<T>(
        &self,
        path: &str,
        request: impl AsyncFn() -> Result<T, ZkError>,
    ) -> Result<T, Error> {
        let answer = self.retry_budget(path).run(request).await?;
        answer.map_err(|refusal| Error::unexpected(path, refusal))
    }

    /// Reads a node.
    pub async fn get(&self, path: &str) -> Result<Option<Node>, Error> {
        self.answer(path, async || self.session.get(path).await)
            .await
    }

    /// The record in a node; `None` if there is no node.
    pub async fn record<T: Payload>(&self, path: &str) -> Result<Option<T>, Error> {
        let node = self.get(path).await?;
        node.map(|node| envelope::open(path, &node.data))
            .transpose()
    }

    /// Brings the server up to its leader: a session that has not written yet may be with one that lags behind, and
    /// an operator would not see what another command has just done.
    pub async fn sync(&self) -> Result<(), Error> {
        let path = self.paths.root();
        self.answer(path, async || self.session.sync(path).await)
            .await
    }

    /// Brings the server up to every write that ZooKeeper had acknowledged to any member when this was called. For members
    /// only.
    ///
    /// A read is answered by one server of the ensemble, which may lag behind, and `sync` by a leader that may have been
    /// deposed. Once a write of this session is acknowledged, its server has applied every write before it, and an earlier
    /// request of the session that was not answered is carried out by then or never.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        let path = self.paths.alive(&self.member());
        let write = async || self.session.set(&path, b"", None).await;
        match self.retry_budget(&path).run(write).await? {
            Ok(_) => Ok(()),
            Err(ZkError::NoNode) => Err(Error::Lost { path }),
            Err(refusal) => Err(Error::unexpected(&path, refusal)),
        }
    }

    /// The names of a node's children; none if it does not exist.
    pub async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        let names = self.answer(path, async || self.session.children(path).await);
        Ok(names.await?.unwrap_or_default())
    }

    /// The names of the children of a directory that the namespace has from its start, and a watch on them.
    pub(crate) async fn watch_children(
        &self,
        path: &str,
    ) -> Result<(Vec<String>, S::Watch), Error> {
        let request = async || self.session.watch_children(path).await;
        match self.retry_budget(path).run(request).await? {
            Ok(answer) => Ok(answer),
            Err(ZkError::NoNode) => Err(not_initialised(path)),
            Err(refusal) => Err(Error::unexpected(path, refusal)),
        }
    }

    /// A node's state and a watch on it.
    pub(crate) async fn watch_node(
        &self,
        path: &str,
    ) -> Result<(Option<NodeStat>, S::Watch), Error> {
        self.answer(path, async || self.session.watch_node(path).await)
            .await
    }

    /// Deletes a node; it may be gone already.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        let request = async || self.session.delete(path, None).await;
        match self.retry_budget(path).run(request).await? {
            // After a lost answer this shows that the node is gone, too.
            Ok(()) | Err(ZkError::NoNode) => Ok(()),
            Err(refusal) => Err(Error::unexpected(path, refusal)),
        }
    }

    /// Creates a node, unless it exists. Its parent must: only `init` makes a namespace.
    pub(crate) async fn create_once(
        &self,
        path: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<(), Error> {
        let request = async || self.session.create(path, data, mode).await;
        match self.retry_budget(path).run(request).await? {
            Ok(_) | Err(ZkError::NodeExists) => Ok(()),
            Err(ZkError::NoNode) => Err(not_initialised(path)),
            Err(refusal) => Err(Error::unexpected(path, refusal)),
        }
    }

    /// Makes sure that a directory exists.
    pub async fn ensure(&self, directory: &str) -> Result<(), Error> {
        let created = self
            .create_once(directory, b"", CreateMode::Persistent)
            .await;
        // Where nobody may create anything beside it: ZooKeeper looks at the parent's ACL first.
        match created {
            Err(Error::Refused { .. }) if self.get(directory).await?.is_some() => Ok(()),
            created => created,
        }
    }
}

pub(crate) fn not_initialised(path: &str) -> Error {
    Error::NotInitialised {
        path: path.to_owned(),
    }
}
