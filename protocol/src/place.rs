//! A place in a lock queue: the waiting, over what [`queue`] decides. Range locks, partition locks and
//! the restoration lock are each one of these.

use stitch_common::clock::Clock;
use stitch_common::mutation::{Rule, out};
use stitch_common::ports::{CreateMode, KeeperError, NodeStat, Operation, Session, SessionState};

use super::coordinator::{Coordinator, Tries};
use super::error::Error;
use super::path;
use super::queue::{self, Contender, Guid, Position, Sequence};

/// How a place stands, as far as this side knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing was asked of ZooKeeper.
    Apart,
    /// The node was asked for, and it is not known whether it exists.
    Asked,
    /// The node exists and waits.
    Queued(Ticket),
    /// It has the lock.
    Held(Ticket),
    /// The node was deleted, or nobody will ask for it any more.
    Left,
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
pub(super) struct Place {
    directory: String,
    prefix: String,
    guid: Guid,
    data: Vec<u8>,
    standing: Standing,
    /// An answer was lost while the node was made, so that more than one may have been.
    doubtful: bool,
}

impl Place {
    pub(super) const fn new(directory: String, prefix: String, guid: Guid, data: Vec<u8>) -> Self {
        Self {
            directory,
            prefix,
            guid,
            data,
            standing: Standing::Apart,
            doubtful: false,
        }
    }

    pub(super) const fn ticket(&self) -> Option<&Ticket> {
        match &self.standing {
            Standing::Queued(ticket) | Standing::Held(ticket) => Some(ticket),
            Standing::Apart | Standing::Asked | Standing::Left | Standing::Lost => None,
        }
    }

    pub(super) const fn is_held(&self) -> bool {
        matches!(self.standing, Standing::Held(_))
    }

    /// Takes a place, if it has none yet. Cancelled, it may leave a node; calling it again finds that, and so does
    /// [`Place::leave`].
    pub(super) async fn queue<S: Session, C: Clock>(
        &mut self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<Ticket, Error> {
        let path = path::child(&self.directory, &self.prefix);
        let mut tries = Tries::new(&path);
        loop {
            match &self.standing {
                Standing::Queued(ticket) | Standing::Held(ticket) => return Ok(ticket.clone()),
                Standing::Left | Standing::Lost => return Err(self.lost(&path)),
                Standing::Asked => {
                    // The answer was lost, or its future was dropped: look before asking again.
                    self.doubtful = true;
                    if let Some(ticket) = self.find(coordinator).await? {
                        self.standing = Standing::Queued(ticket.clone());
                        return Ok(ticket);
                    }
                }
                Standing::Apart => {}
            }
            self.standing = Standing::Asked;
            let session = coordinator.session();
            match session
                .create(&path, &self.data, CreateMode::EphemeralSequential)
                .await
            {
                Ok(created) => {
                    let made = ticket(&created.path, &created.stat)?;
                    // An earlier try may have come through late, and whoever waits for it would wait for itself.
                    let earliest = match self.doubtful {
                        true => self.find(coordinator).await?,
                        false => None,
                    };
                    let ticket = earliest.unwrap_or(made);
                    self.standing = Standing::Queued(ticket.clone());
                    return Ok(ticket);
                }
                Err(KeeperError::NoNode) => {
                    coordinator.ensure(&self.directory).await?;
                    self.standing = Standing::Apart;
                }
                Err(KeeperError::Ambiguous(why)) => tries.pause(coordinator, why).await?,
                Err(error) => {
                    self.standing = Standing::Apart;
                    return Err(Error::unexpected(&path, error));
                }
            }
        }
    }

    /// Takes a place if need be, and waits until it has the lock. Cancel-safe: calling it again goes on waiting.
    pub(super) async fn wait_granted<S: Session, C: Clock>(
        &mut self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<Ticket, Error> {
        if self.is_not_waited_for() {
            return self.take_ungranted(coordinator).await;
        }
        loop {
            let ticket = self.queue(coordinator).await?;
            if self.is_held() {
                return Ok(ticket);
            }
            let Some(ahead) = self.look(coordinator, &ticket).await? else {
                return Ok(ticket);
            };
            let (stat, changed) = coordinator.watch_node(&ahead).await?;
            if stat.is_some() {
                changed.await;
            }
            if coordinator.session().state() == SessionState::Over {
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
        coordinator: &Coordinator<S, C>,
    ) -> Result<Ticket, Error> {
        let ticket = self.queue(coordinator).await?;
        self.standing = Standing::Held(ticket.clone());
        Ok(ticket)
    }

    /// Takes a place if need be, and looks once whether it has the lock: the path of the node that it waits for if
    /// not.
    pub(super) async fn try_granted<S: Session, C: Clock>(
        &mut self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<Option<String>, Error> {
        let ticket = self.queue(coordinator).await?;
        if self.is_held() {
            return Ok(None);
        }
        self.look(coordinator, &ticket).await
    }

    async fn look<S: Session, C: Clock>(
        &mut self,
        coordinator: &Coordinator<S, C>,
        ticket: &Ticket,
    ) -> Result<Option<String>, Error> {
        let children = coordinator.children(&self.directory).await?;
        let own = name_of(&ticket.path);
        match queue::position(&children, own) {
            Position::Held => {
                self.standing = Standing::Held(ticket.clone());
                Ok(None)
            }
            Position::Behind(name) => Ok(Some(path::child(&self.directory, name))),
            Position::Gone => {
                self.standing = Standing::Lost;
                Err(self.lost(&ticket.path))
            }
        }
    }

    /// Asks ZooKeeper whether the node is there and this session's: to be done after every reconnect.
    pub(super) async fn verify<S: Session, C: Clock>(
        &mut self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<(), Error> {
        let Some(ticket) = self.ticket().cloned() else {
            return Err(self.lost(&self.directory));
        };
        let node = coordinator.get(&ticket.path).await?;
        let owner = node.map(|node| node.stat.ephemeral_owner);
        if owner == Some(coordinator.session().id()) {
            return Ok(());
        }
        self.standing = Standing::Lost;
        Err(self.lost(&ticket.path))
    }

    /// Deletes the node, and every other that lost answers may have made. Cancelled or failed, the node may still be
    /// there: calling it again goes on.
    pub(super) async fn leave<S: Session, C: Clock>(
        &mut self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<(), Error> {
        let known = match &self.standing {
            Standing::Apart | Standing::Left | Standing::Lost => {
                if self.standing == Standing::Apart {
                    self.standing = Standing::Left;
                }
                if !self.doubtful {
                    return Ok(());
                }
                None
            }
            Standing::Asked => {
                self.doubtful = true;
                None
            }
            Standing::Queued(ticket) | Standing::Held(ticket) => Some(ticket.path.clone()),
        };
        if let Some(path) = known {
            coordinator.delete(&path).await?;
        }
        if self.doubtful {
            for name in self.own_nodes(coordinator).await? {
                coordinator
                    .delete(&path::child(&self.directory, &name))
                    .await?;
            }
            self.doubtful = false;
        }
        self.standing = Standing::Left;
        Ok(())
    }

    /// The operation that lets a transaction pass only while this place is held.
    pub(super) fn fence(&self) -> Result<Operation, Error> {
        match &self.standing {
            Standing::Held(_) if out(Rule::Fence) => Ok(Operation::Check {
                path: self.directory.clone(),
                version: None,
            }),
            Standing::Held(ticket) => Ok(Operation::Check {
                path: ticket.path.clone(),
                version: None,
            }),
            Standing::Apart
            | Standing::Asked
            | Standing::Queued(_)
            | Standing::Left
            | Standing::Lost => Err(self.lost(&path::child(&self.directory, &self.prefix))),
        }
    }

    /// The session is over: its nodes go with it, and there is nothing to delete.
    pub(super) fn abandon(&mut self) {
        self.standing = Standing::Left;
        self.doubtful = false;
    }

    async fn own_nodes<S: Session, C: Clock>(
        &self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<Vec<String>, Error> {
        let mut names = coordinator.children(&self.directory).await?;
        names.retain(|name| Contender::parse(name).is_some_and(|c| c.guid == self.guid));
        Ok(names)
    }

    /// The earliest of the nodes that were made under this place's name.
    async fn find<S: Session, C: Clock>(
        &self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<Option<Ticket>, Error> {
        let mut earliest: Option<Ticket> = None;
        for name in self.own_nodes(coordinator).await? {
            let path = path::child(&self.directory, &name);
            let Some(node) = coordinator.get(&path).await? else {
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

impl Drop for Place {
    fn drop(&mut self) {
        let in_queue = match &self.standing {
            Standing::Asked | Standing::Queued(_) | Standing::Held(_) => true,
            Standing::Apart | Standing::Left | Standing::Lost => false,
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
    let Some(contender) = Contender::parse(name_of(path)) else {
        return Err(Error::Corrupt {
            path: path.to_owned(),
            why: "its name is not one that this program gave".to_owned(),
            way_out: "see whether the ZooKeeper servers are ones that number sequential nodes",
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
