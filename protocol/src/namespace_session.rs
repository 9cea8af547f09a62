//! One session at work in one namespace: what every recipe takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{CreateMode, Node, NodeStat, Session, SessionState, ZkError};

use crate::contender::Guid;
use crate::error::Error;
use crate::path::Paths;

/// A session, the clock that its recipes wait on, and the namespace that they work in. One session has one
/// coordinator: the numbers that it gives out are never given twice.
#[derive(Debug)]
pub struct NamespaceSession<S, C> {
    session: S,
    clock: C,
    paths: Paths,
    numbers: AtomicU64,
}

impl<S: Session, C: Clock> NamespaceSession<S, C> {
    /// `session` at work in the namespace of `paths`.
    #[must_use]
    pub const fn new(session: S, clock: C, paths: Paths) -> Self {
        Self {
            session,
            clock,
            paths,
            numbers: AtomicU64::new(1),
        }
    }

    /// The session.
    pub const fn zookeeper(&self) -> &S {
        &self.session
    }

    /// The clock.
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// Where things are.
    pub const fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The member that this session is, or would be.
    #[must_use]
    pub fn member(&self) -> MemberId {
        MemberId::of_session(self.session.id())
    }

    /// Ends the session, as [`Session::close`] says.
    pub async fn close(self) {
        self.session.close().await;
    }

    /// Makes the namespace's directories, all but `/definition`; harmless where they exist. For `init` alone. Cancelled
    /// or failed, it leaves some of them.
    ///
    /// # Errors
    /// As every recipe.
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

    pub(crate) fn next_guid(&self) -> Guid {
        Guid::new(self.session.id(), self.next_number())
    }

    /// Reads a node, however often the answer is lost.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Node>, Error> {
        let mut tries = RetryBudget::new(path);
        loop {
            match self.session.get(path).await {
                Ok(node) => return Ok(node),
                Err(ZkError::Ambiguous(why)) => tries.pause(self, why).await?,
                Err(error) => return Err(Error::unexpected(path, error)),
            }
        }
    }

    /// Brings the server up to its leader: a session that has not written yet may be with one that lags behind, and
    /// an operator would not see what another command has just done.
    pub(crate) async fn sync(&self) -> Result<(), Error> {
        let path = self.paths.root();
        let mut tries = RetryBudget::new(path);
        loop {
            match self.session.sync(path).await {
                Ok(()) => return Ok(()),
                Err(ZkError::Ambiguous(why)) => tries.pause(self, why).await?,
                Err(error) => return Err(Error::unexpected(path, error)),
            }
        }
    }

    /// The names of a node's children; none if it does not exist.
    pub(crate) async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        let mut tries = RetryBudget::new(path);
        loop {
            match self.session.children(path).await {
                Ok(names) => return Ok(names.unwrap_or_default()),
                Err(ZkError::Ambiguous(why)) => tries.pause(self, why).await?,
                Err(error) => return Err(Error::unexpected(path, error)),
            }
        }
    }

    /// The names of the children of a directory that the namespace has from its start, and a watch on them.
    pub(crate) async fn watch_children(
        &self,
        path: &str,
    ) -> Result<(Vec<String>, S::Watch), Error> {
        let mut tries = RetryBudget::new(path);
        loop {
            match self.session.watch_children(path).await {
                Ok(answer) => return Ok(answer),
                Err(ZkError::Ambiguous(why)) => tries.pause(self, why).await?,
                Err(ZkError::NoNode) => return Err(not_initialised(path)),
                Err(error) => return Err(Error::unexpected(path, error)),
            }
        }
    }

    /// A node's state and a watch on it.
    pub(crate) async fn watch_node(
        &self,
        path: &str,
    ) -> Result<(Option<NodeStat>, S::Watch), Error> {
        let mut tries = RetryBudget::new(path);
        loop {
            match self.session.watch_node(path).await {
                Ok(answer) => return Ok(answer),
                Err(ZkError::Ambiguous(why)) => tries.pause(self, why).await?,
                Err(error) => return Err(Error::unexpected(path, error)),
            }
        }
    }

    /// Deletes a node; it may be gone already.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Error> {
        let mut tries = RetryBudget::new(path);
        loop {
            match self.session.delete(path, None).await {
                // After a lost answer this is the look whether it is gone, too.
                Ok(()) | Err(ZkError::NoNode) => return Ok(()),
                Err(ZkError::Ambiguous(why)) => tries.pause(self, why).await?,
                Err(error) => return Err(Error::unexpected(path, error)),
            }
        }
    }

    /// Makes sure that a directory is there. Its parent must be: only `init` makes a namespace.
    pub(crate) async fn ensure(&self, directory: &str) -> Result<(), Error> {
        let mut tries = RetryBudget::new(directory);
        loop {
            let created = self
                .session
                .create(directory, b"", CreateMode::Persistent)
                .await;
            match created {
                Ok(_) | Err(ZkError::NodeExists) => return Ok(()),
                Err(ZkError::Ambiguous(why)) => tries.pause(self, why).await?,
                Err(ZkError::NoNode) => return Err(not_initialised(directory)),
                Err(error) => return Err(Error::unexpected(directory, error)),
            }
        }
    }
}

pub(crate) fn not_initialised(path: &str) -> Error {
    Error::NotInitialised {
        path: path.to_owned(),
    }
}

/// How often one thing has been tried. While the connection is down the client queues what it is asked, so a try is
/// used up only by a connection that breaks under it.
pub(crate) struct RetryBudget<'a> {
    path: &'a str,
    tried: u32,
}

impl<'a> RetryBudget<'a> {
    const MAX: u32 = 12;
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);

    pub(crate) const fn new(path: &'a str) -> Self {
        Self { path, tried: 0 }
    }

    /// Whether an answer has been lost.
    pub(crate) const fn lost_any(&self) -> bool {
        self.tried > 0
    }

    /// Pauses after an answer was lost; fails when the session is over or it was the last try.
    pub(crate) async fn pause<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
        why: String,
    ) -> Result<(), Error> {
        if session.session.state() == SessionState::Over {
            return Err(Error::SessionOver);
        }
        self.tried += 1;
        if self.tried >= Self::MAX {
            return Err(Error::Unanswered {
                path: self.path.to_owned(),
                why,
            });
        }
        tracing::debug!(
            path = self.path,
            why,
            tried = self.tried,
            "no answer from zookeeper"
        );
        let pause = Self::FIRST_PAUSE.saturating_mul(1 << self.tried.min(10));
        session.clock.sleep(pause.min(Self::LONGEST_PAUSE)).await;
        Ok(())
    }
}
