//! The lock of a Kafka partition (rule P1, invariant I6): the one session that sends for its events.

use crate::clock::Clock;
use crate::offset::Partition;
use crate::ports::{Operation, Session};

use super::coordinator::Coordinator;
use super::error::Error;
use super::path;
use super::place::{Place, Ticket};

/// The lock of one partition: being asked for, held, or given back. Not `Clone`: one of them stands for one node.
/// Progress is written only with a check that this node exists, so a lock that was lost without being noticed stops
/// its former holder from writing.
///
/// Dropping it while it is in the queue only warns; see [`PartitionLock::release`] and [`PartitionLock::abandon`].
#[derive(Debug)]
pub struct PartitionLock {
    partition: Partition,
    place: Place,
}

impl PartitionLock {
    /// A lock that nothing was done for yet.
    pub fn new<S: Session, C: Clock>(
        coordinator: &Coordinator<S, C>,
        partition: Partition,
    ) -> Self {
        let guid = coordinator.next_guid();
        let directory = coordinator.paths().partition(partition);
        let prefix = path::name::exclusive_place(guid);
        Self {
            partition,
            place: Place::new(directory, prefix, guid, Vec::new()),
        }
    }

    /// Which partition.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// Whether it was granted and not given back.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.place.is_held()
    }

    /// Its place in the queue, once it has one.
    #[must_use]
    pub const fn ticket(&self) -> Option<&Ticket> {
        self.place.ticket()
    }

    /// Takes a place if need be, and waits until the lock is granted, however long that takes: its holder gives it back
    /// when what it began is answered, or its session ends. Cancel-safe: the place is kept, and calling it again goes
    /// on waiting; [`PartitionLock::release`] gives up.
    ///
    /// # Errors
    /// [`Error::Lost`] if the node vanished; else as every recipe.
    pub async fn wait_granted<S: Session, C: Clock>(
        &mut self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<Ticket, Error> {
        self.place.wait_granted(coordinator).await
    }

    /// Asks ZooKeeper whether the node is there and this session's; to be done after every reconnect.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not; else as every recipe.
    pub async fn verify<S: Session, C: Clock>(
        &mut self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<(), Error> {
        self.place.verify(coordinator).await
    }

    /// Gives the lock back, or gives up waiting for it: when it returns, the node is gone. Whatever was remembered of
    /// the partition's progress is void from then on (P7). Cancelled or failed, the node may still be there: calling
    /// it again goes on.
    ///
    /// # Errors
    /// As every recipe.
    pub async fn release<S: Session, C: Clock>(
        &mut self,
        coordinator: &Coordinator<S, C>,
    ) -> Result<(), Error> {
        self.place.leave(coordinator).await
    }

    /// Forgets the lock because its session is over: the node goes with it.
    pub fn abandon(mut self) {
        self.place.abandon();
    }

    /// The operation that lets a transaction pass only while this lock's node exists.
    pub(super) fn fence(&self) -> Result<Operation, Error> {
        match self.ticket().filter(|_| self.is_held()) {
            Some(ticket) => Ok(Operation::Check {
                path: ticket.path.clone(),
                version: None,
            }),
            None => Err(Error::Lost {
                path: format!("the lock of partition {}", self.partition),
            }),
        }
    }
}
