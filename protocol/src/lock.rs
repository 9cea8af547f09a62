//! A lock: an entry in the queue of one directory, and the waiting until it comes first. [`queue`] decides who holds the
//! lock. The locks themselves are [`RangeLock`](crate::range_lock::RangeLock),
//! [`PartitionLock`](crate::partition_lock::PartitionLock) and
//! [`RestorationLock`](crate::restoration::RestorationLock).

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{CreateMode, Node, NodeStat, Operation, Session, SessionState, ZkError};

use crate::contender::{Guid, Sequence};
use crate::error::Error;
use crate::namespace_session::NamespaceSession;
use crate::path;
use crate::queue::{self, Position};
use crate::rule;

/// The node of a lock in its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockEntry {
    /// The path of the node.
    pub path: String,
    /// Its position in the queue.
    pub sequence: Sequence,
    /// The transaction that created the node: it only grows, over all queues.
    pub czxid: i64,
}

/// The member whose session made this entry. An entry without its id is another tool's, and named by its session alone.
pub(crate) fn holder(entry: &Node) -> MemberId {
    let name = std::str::from_utf8(&entry.data).ok();
    let member = name.and_then(MemberId::from_node_name);
    member.unwrap_or_else(|| MemberId::new(entry.stat.ephemeral_owner, 0))
}

/// The state of a lock's entry, as far as this side knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EntryState {
    /// Nothing was requested of ZooKeeper.
    New,
    /// The node was requested, and it is not known whether it exists.
    Creating,
    /// The node exists and waits.
    Queued(LockEntry),
    /// The node is the first that counts.
    Held(LockEntry),
    /// The node was deleted, or is not wanted any more.
    Released,
    /// The node vanished without a request.
    Lost,
}

/// A lock of `Target`: wanted, held, or given back. Not `Clone`: each has one node. It does not know by itself that its
/// session has ended; see [`Lock::verify`].
///
/// Dropping it while it is in the queue only warns, and the node lives as long as the session: give it back with
/// [`Lock::release`], or, when the session is over, with [`Lock::abandon`].
#[derive(Debug)]
pub struct Lock<Target> {
    pub(crate) target: Target,
    directory: String,
    prefix: String,
    guid: Guid,
    data: Vec<u8>,
    state: EntryState,
    /// An answer was lost while the node was created, so that more than one may have been.
    may_be_several: bool,
    waits_for_grant: bool,
}

impl<Target> Lock<Target> {
    /// A lock of which ZooKeeper does not know yet: its node will be in `directory`, and its name begin with `prefix`.
    pub const fn with_target(
        target: Target,
        directory: String,
        prefix: String,
        guid: Guid,
    ) -> Self {
        Self {
            target,
            directory,
            prefix,
            guid,
            data: Vec::new(),
            state: EntryState::New,
            may_be_several: false,
            waits_for_grant: true,
        }
    }

    /// With these bytes in its node.
    pub fn with_data(mut self, data: Vec<u8>) -> Self {
        self.data = data;
        self
    }

    /// Waited for, or taken even while another session holds it: the latter only where a rule is removed.
    #[must_use]
    pub const fn waiting_for_grant(mut self, waits: bool) -> Self {
        self.waits_for_grant = waits;
        self
    }

    /// Its entry in the queue, once it has one.
    #[must_use]
    pub const fn entry(&self) -> Option<&LockEntry> {
        match &self.state {
            EntryState::Queued(entry) | EntryState::Held(entry) => Some(entry),
            EntryState::New | EntryState::Creating | EntryState::Released | EntryState::Lost => {
                None
            }
        }
    }

    /// Its position in the queue, once it has one.
    #[must_use]
    pub fn sequence(&self) -> Option<Sequence> {
        self.entry().map(|entry| entry.sequence)
    }

    /// Whether it was granted and not given back.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.state, EntryState::Held(_))
    }

    /// Enters the queue, unless it is in it. Cancelled, it may leave a node: calling this or [`Lock::wait_granted`]
    /// again finds it, and [`Lock::release`] deletes it.
    ///
    /// # Errors
    /// [`Error::Lost`] if it was released or the node vanished; [`Error::NotInitialised`].
    pub async fn enqueue<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<LockEntry, Error> {
        let path = path::child(&self.directory, &self.prefix);
        let mut retries = session.retry_budget(&path);
        loop {
            match &self.state {
                EntryState::Queued(entry) | EntryState::Held(entry) => return Ok(entry.clone()),
                EntryState::Released | EntryState::Lost => return Err(lost(&path)),
                EntryState::Creating => {
                    // The answer was lost, or its future was dropped: look before creating it again.
                    self.may_be_several = true;
                    if let Some(entry) = self.find(session).await? {
                        self.state = EntryState::Queued(entry.clone());
                        return Ok(entry);
                    }
                }
                EntryState::New => {}
            }
            self.state = EntryState::Creating;
            let zookeeper = session.zookeeper();
            match zookeeper
                .create(&path, &self.data, CreateMode::EphemeralSequential)
                .await
            {
                Ok(created) => {
                    let mut entry = lock_entry(&created.path, &created.stat)?;
                    // An earlier request may have come through late, and waiting for its node would be waiting for
                    // oneself.
                    if self.may_be_several {
                        entry = self.find(session).await?.unwrap_or(entry);
                    }
                    self.state = EntryState::Queued(entry.clone());
                    return Ok(entry);
                }
                Err(ZkError::NoNode) => {
                    session.ensure(&self.directory).await?;
                    self.state = EntryState::New;
                }
                Err(ZkError::Ambiguous(why)) => retries.pause(why).await?,
                Err(refusal) => {
                    self.state = EntryState::New;
                    return Err(Error::unexpected(&path, refusal));
                }
            }
        }
    }

    /// Enters the queue if need be, and waits until the lock is granted, however long that takes: until each
    /// predecessor gives it back, or its session ends. Cancel-safe: the entry is kept, and calling it again goes on
    /// waiting; [`Lock::release`] gives up.
    ///
    /// # Errors
    /// [`Error::Lost`] if the node vanished; [`Error::NotInitialised`].
    pub async fn wait_granted<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<LockEntry, Error> {
        if !self.waits_for_grant {
            let entry = self.enqueue(session).await?;
            self.state = EntryState::Held(entry.clone());
            return Ok(entry);
        }
        loop {
            let entry = self.enqueue(session).await?;
            if self.is_held() {
                return Ok(entry);
            }
            let Some(predecessor) = self.predecessor(session, &entry).await? else {
                return Ok(entry);
            };
            let (stat, changed) = session.watch_node(&predecessor).await?;
            if stat.is_some() {
                changed.await;
            }
            if session.zookeeper().state() == SessionState::Over {
                return Err(Error::SessionOver);
            }
        }
    }

    /// Enters the queue if need be, and looks once whether the lock is held: the path of the node that it waits for if
    /// not.
    pub async fn poll_granted<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Option<String>, Error> {
        let entry = self.enqueue(session).await?;
        if !self.waits_for_grant {
            self.state = EntryState::Held(entry);
            return Ok(None);
        }
        if self.is_held() {
            return Ok(None);
        }
        self.predecessor(session, &entry).await
    }

    /// The path of the node that `entry` waits for; none if it holds the lock, which is noted.
    async fn predecessor<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
        entry: &LockEntry,
    ) -> Result<Option<String>, Error> {
        let children = session.children(&self.directory).await?;
        match queue::position(&children, name_of(&entry.path)) {
            Position::Held => {
                self.state = EntryState::Held(entry.clone());
                Ok(None)
            }
            Position::Behind(name) => Ok(Some(path::child(&self.directory, name))),
            Position::Gone => {
                self.state = EntryState::Lost;
                Err(lost(&entry.path))
            }
        }
    }

    /// Asks ZooKeeper whether the node exists and is this session's. Call it after every reconnect, before anything is
    /// sent that relies on the lock.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not.
    pub async fn verify<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<(), Error> {
        let Some(entry) = self.entry().cloned() else {
            return Err(lost(&self.directory));
        };
        let node = session.get(&entry.path).await?;
        let owner = node.map(|node| node.stat.ephemeral_owner);
        if owner == Some(session.zookeeper().id()) {
            return Ok(());
        }
        self.state = EntryState::Lost;
        Err(lost(&entry.path))
    }

    /// Gives the lock back, or gives up waiting for it: when it returns, the node is gone, and every other that lost
    /// answers may have left. Cancelled or failed, nodes may remain: calling it again goes on. Repeating it is
    /// harmless.
    pub async fn release<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<(), Error> {
        let path = match &self.state {
            EntryState::New | EntryState::Released | EntryState::Lost => {
                if self.state == EntryState::New {
                    self.state = EntryState::Released;
                }
                if !self.may_be_several {
                    return Ok(());
                }
                None
            }
            EntryState::Creating => {
                self.may_be_several = true;
                None
            }
            EntryState::Queued(entry) | EntryState::Held(entry) => Some(entry.path.clone()),
        };
        if let Some(path) = path {
            session.delete(&path).await?;
        }
        if self.may_be_several {
            for name in self.own_nodes(session).await? {
                session.delete(&path::child(&self.directory, &name)).await?;
            }
            self.may_be_several = false;
        }
        self.state = EntryState::Released;
        Ok(())
    }

    /// Forgets the lock because its session is over: the node goes with it.
    pub fn abandon(mut self) {
        self.state = EntryState::Released;
    }

    /// The operation that lets a transaction pass only while this lock's node exists.
    pub fn fence(&self) -> Result<Operation, Error> {
        let path = match &self.state {
            EntryState::Held(entry) if rule::fences() => entry.path.clone(),
            EntryState::Held(_) => self.directory.clone(),
            EntryState::New
            | EntryState::Creating
            | EntryState::Queued(_)
            | EntryState::Released
            | EntryState::Lost => return Err(lost(&path::child(&self.directory, &self.prefix))),
        };
        Ok(Operation::Check {
            path,
            version: None,
        })
    }

    async fn own_nodes<S: Session, C: Clock>(
        &self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Vec<String>, Error> {
        let mut names = session.children(&self.directory).await?;
        names.retain(|name| path::name::read_entry(name).is_some_and(|c| c.guid == self.guid));
        Ok(names)
    }

    /// The earliest of the nodes that were created for this lock.
    async fn find<S: Session, C: Clock>(
        &self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Option<LockEntry>, Error> {
        let mut earliest: Option<LockEntry> = None;
        for name in self.own_nodes(session).await? {
            let path = path::child(&self.directory, &name);
            let Some(node) = session.get(&path).await? else {
                continue;
            };
            let entry = lock_entry(&path, &node.stat)?;
            if earliest
                .as_ref()
                .is_none_or(|earliest| entry.sequence.precedes(earliest.sequence))
            {
                earliest = Some(entry);
            }
        }
        Ok(earliest)
    }
}

impl<Target> Drop for Lock<Target> {
    fn drop(&mut self) {
        let in_queue = match &self.state {
            EntryState::Creating | EntryState::Queued(_) | EntryState::Held(_) => true,
            EntryState::New | EntryState::Released | EntryState::Lost => false,
        };
        if in_queue {
            tracing::warn!(
                directory = self.directory,
                guid = %self.guid,
                "a lock was dropped without being released: its node lives as long as its session"
            );
        }
    }
}

fn lost(path: &str) -> Error {
    Error::Lost {
        path: path.to_owned(),
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn lock_entry(path: &str, stat: &NodeStat) -> Result<LockEntry, Error> {
    let Some(contender) = path::name::read_entry(name_of(path)) else {
        return Err(Error::Corrupt {
            path: path.to_owned(),
            why: "its name is not one that this program gave".to_owned(),
            help: "see whether the ZooKeeper servers are ones that number sequential nodes",
        });
    };
    Ok(LockEntry {
        path: path.to_owned(),
        sequence: contender.sequence,
        czxid: stat.czxid,
    })
}

#[cfg(test)]
mod tests;
