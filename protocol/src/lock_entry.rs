//! A place in a lock queue: the waiting, over what [`queue`] decides. Range locks, partition locks and
//! the restoration lock are each one of these.

use stitch_common::clock::Clock;
use stitch_common::mutation::{Rule, out};
use stitch_common::ports::{CreateMode, NodeStat, Operation, Session, SessionState, ZkError};

use crate::contender::{Guid, Sequence};
use crate::error::Error;
use crate::namespace_session::{NamespaceSession, RetryBudget};
use crate::path;
use crate::queue::{self, Position};

/// How a place stands, as far as this side knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EntryState {
    /// Nothing was asked of ZooKeeper.
    New,
    /// The node was asked for, and it is not known whether it exists.
    Creating,
    /// The node exists and waits.
    Queued(Ticket),
    /// It has the lock.
    Held(Ticket),
    /// The node was deleted, or nobody will ask for it any more.
    Released,
    /// The node vanished without being asked to.
    Lost,
}

/// What ZooKeeper gave with a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The node.
    pub path: String,
    /// The place in the queue.
    pub sequence: Sequence,
    /// The transaction that made the node: it only grows, over all queues.
    pub czxid: i64,
}

/// A place in the queue of one directory. Dropping one that is in the queue only warns: the node then lives as long as
/// its session.
#[derive(Debug)]
pub(crate) struct LockEntry {
    directory: String,
    prefix: String,
    guid: Guid,
    data: Vec<u8>,
    state: EntryState,
    /// An answer was lost while the node was made, so that more than one may have been.
    doubtful: bool,
}

impl LockEntry {
    pub(crate) const fn new(directory: String, prefix: String, guid: Guid, data: Vec<u8>) -> Self {
        Self {
            directory,
            prefix,
            guid,
            data,
            state: EntryState::New,
            doubtful: false,
        }
    }

    pub(crate) const fn ticket(&self) -> Option<&Ticket> {
        match &self.state {
            EntryState::Queued(ticket) | EntryState::Held(ticket) => Some(ticket),
            EntryState::New | EntryState::Creating | EntryState::Released | EntryState::Lost => {
                None
            }
        }
    }

    pub(crate) const fn is_held(&self) -> bool {
        matches!(self.state, EntryState::Held(_))
    }

    /// Takes a place, if it has none yet. Cancelled, it may leave a node; calling it again finds that, and so does
    /// [`LockEntry::leave`].
    pub(crate) async fn queue<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Ticket, Error> {
        let path = path::child(&self.directory, &self.prefix);
        let mut tries = RetryBudget::new(&path);
        loop {
            match &self.state {
                EntryState::Queued(ticket) | EntryState::Held(ticket) => return Ok(ticket.clone()),
                EntryState::Released | EntryState::Lost => return Err(self.lost(&path)),
                EntryState::Creating => {
                    // The answer was lost, or its future was dropped: look before asking again.
                    self.doubtful = true;
                    if let Some(ticket) = self.find(session).await? {
                        self.state = EntryState::Queued(ticket.clone());
                        return Ok(ticket);
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
                    let made = ticket(&created.path, &created.stat)?;
                    // An earlier try may have come through late, and whoever waits for it would wait for itself.
                    let earliest = match self.doubtful {
                        true => self.find(session).await?,
                        false => None,
                    };
                    let ticket = earliest.unwrap_or(made);
                    self.state = EntryState::Queued(ticket.clone());
                    return Ok(ticket);
                }
                Err(ZkError::NoNode) => {
                    session.ensure(&self.directory).await?;
                    self.state = EntryState::New;
                }
                Err(ZkError::Ambiguous(why)) => tries.pause(session, why).await?,
                Err(error) => {
                    self.state = EntryState::New;
                    return Err(Error::unexpected(&path, error));
                }
            }
        }
    }

    /// Takes a place if need be, and waits until it has the lock. Cancel-safe: calling it again goes on waiting.
    pub(crate) async fn wait_granted<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Ticket, Error> {
        if self.is_not_waited_for() {
            return self.take_ungranted(session).await;
        }
        loop {
            let ticket = self.queue(session).await?;
            if self.is_held() {
                return Ok(ticket);
            }
            let Some(ahead) = self.look(session, &ticket).await? else {
                return Ok(ticket);
            };
            let (stat, changed) = session.watch_node(&ahead).await?;
            if stat.is_some() {
                changed.await;
            }
            if session.zookeeper().state() == SessionState::Over {
                return Err(Error::SessionOver);
            }
        }
    }

    /// Whether the rule that this lock is waited for is taken out.
    fn is_not_waited_for(&self) -> bool {
        (out(Rule::PartitionLock) && self.directory.contains("/partitions/"))
            || (out(Rule::WaitGranted) && self.prefix.contains("__WRIT__"))
    }

    /// Takes a place, and the lock with it, whoever has it.
    async fn take_ungranted<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Ticket, Error> {
        let ticket = self.queue(session).await?;
        self.state = EntryState::Held(ticket.clone());
        Ok(ticket)
    }

    /// Takes a place if need be, and looks once whether it has the lock: the path of the node that it waits for if
    /// not.
    pub(crate) async fn try_granted<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Option<String>, Error> {
        let ticket = self.queue(session).await?;
        if self.is_held() {
            return Ok(None);
        }
        self.look(session, &ticket).await
    }

    async fn look<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
        ticket: &Ticket,
    ) -> Result<Option<String>, Error> {
        let children = session.children(&self.directory).await?;
        let own = name_of(&ticket.path);
        match queue::position(&children, own) {
            Position::Held => {
                self.state = EntryState::Held(ticket.clone());
                Ok(None)
            }
            Position::Behind(name) => Ok(Some(path::child(&self.directory, name))),
            Position::Gone => {
                self.state = EntryState::Lost;
                Err(self.lost(&ticket.path))
            }
        }
    }

    /// Asks ZooKeeper whether the node is there and this session's: to be done after every reconnect.
    pub(crate) async fn verify<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<(), Error> {
        let Some(ticket) = self.ticket().cloned() else {
            return Err(self.lost(&self.directory));
        };
        let node = session.get(&ticket.path).await?;
        let owner = node.map(|node| node.stat.ephemeral_owner);
        if owner == Some(session.zookeeper().id()) {
            return Ok(());
        }
        self.state = EntryState::Lost;
        Err(self.lost(&ticket.path))
    }

    /// Deletes the node, and every other that lost answers may have made. Cancelled or failed, the node may still be
    /// there: calling it again goes on.
    pub(crate) async fn leave<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<(), Error> {
        let known = match &self.state {
            EntryState::New | EntryState::Released | EntryState::Lost => {
                if self.state == EntryState::New {
                    self.state = EntryState::Released;
                }
                if !self.doubtful {
                    return Ok(());
                }
                None
            }
            EntryState::Creating => {
                self.doubtful = true;
                None
            }
            EntryState::Queued(ticket) | EntryState::Held(ticket) => Some(ticket.path.clone()),
        };
        if let Some(path) = known {
            session.delete(&path).await?;
        }
        if self.doubtful {
            for name in self.own_nodes(session).await? {
                session.delete(&path::child(&self.directory, &name)).await?;
            }
            self.doubtful = false;
        }
        self.state = EntryState::Released;
        Ok(())
    }

    /// The operation that lets a transaction pass only while this place is held.
    pub(crate) fn fence(&self) -> Result<Operation, Error> {
        match &self.state {
            EntryState::Held(_) if out(Rule::Fence) => Ok(Operation::Check {
                path: self.directory.clone(),
                version: None,
            }),
            EntryState::Held(ticket) => Ok(Operation::Check {
                path: ticket.path.clone(),
                version: None,
            }),
            EntryState::New
            | EntryState::Creating
            | EntryState::Queued(_)
            | EntryState::Released
            | EntryState::Lost => Err(self.lost(&path::child(&self.directory, &self.prefix))),
        }
    }

    /// The session is over: its nodes go with it, and there is nothing to delete.
    pub(crate) fn abandon(&mut self) {
        self.state = EntryState::Released;
        self.doubtful = false;
    }

    async fn own_nodes<S: Session, C: Clock>(
        &self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Vec<String>, Error> {
        let mut names = session.children(&self.directory).await?;
        names.retain(|name| path::name::read_entry(name).is_some_and(|c| c.guid == self.guid));
        Ok(names)
    }

    /// The earliest of the nodes that were made under this place's name.
    async fn find<S: Session, C: Clock>(
        &self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Option<Ticket>, Error> {
        let mut earliest: Option<Ticket> = None;
        for name in self.own_nodes(session).await? {
            let path = path::child(&self.directory, &name);
            let Some(node) = session.get(&path).await? else {
                continue;
            };
            let found = ticket(&path, &node.stat)?;
            if earliest
                .as_ref()
                .is_none_or(|ticket| found.sequence.precedes(ticket.sequence))
            {
                earliest = Some(found);
            }
        }
        Ok(earliest)
    }

    fn lost(&self, path: &str) -> Error {
        Error::Lost {
            path: path.to_owned(),
        }
    }
}

impl Drop for LockEntry {
    fn drop(&mut self) {
        let in_queue = match &self.state {
            EntryState::Creating | EntryState::Queued(_) | EntryState::Held(_) => true,
            EntryState::New | EntryState::Released | EntryState::Lost => false,
        };
        if in_queue {
            tracing::warn!(
                directory = self.directory,
                guid = %self.guid,
                "a place in a lock queue was dropped without being left: its node lives as long as its session"
            );
        }
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn ticket(path: &str, stat: &NodeStat) -> Result<Ticket, Error> {
    let Some(contender) = path::name::read_entry(name_of(path)) else {
        return Err(Error::Corrupt {
            path: path.to_owned(),
            why: "its name is not one that this program gave".to_owned(),
            help: "see whether the ZooKeeper servers are ones that number sequential nodes",
        });
    };
    Ok(Ticket {
        path: path.to_owned(),
        sequence: contender.sequence,
        czxid: stat.czxid,
    })
}

#[cfg(test)]
mod tests;
