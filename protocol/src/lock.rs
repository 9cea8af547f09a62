//! What every lock of a namespace has in common: a place in a queue, and what it is the lock of. The locks themselves
//! are [`RangeLock`](crate::range_lock::RangeLock), [`PartitionLock`](crate::partition_lock::PartitionLock) and
//! [`RestorationLock`](crate::restoration::RestorationLock).

use stitch_common::clock::Clock;
use stitch_common::ports::{Operation, Session};

use crate::contender::Sequence;
use crate::error::Error;
use crate::lock_entry::{LockEntry, Ticket};
use crate::namespace_session::NamespaceSession;

/// A lock: being asked for, held, or given back. Not `Clone`: one of them stands for one node. It does not know by
/// itself that its session has ended; see [`Lock::verify`].
///
/// Dropping it while it is in the queue only warns, and the node lives as long as the session: give it back by
/// [`Lock::release`], or, when the session is over, [`Lock::abandon`].
#[derive(Debug)]
pub struct Lock<Of> {
    pub(crate) of: Of,
    pub(crate) place: LockEntry,
}

impl<Of> Lock<Of> {
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

    /// Its place's number, once it has one.
    #[must_use]
    pub fn sequence(&self) -> Option<Sequence> {
        self.ticket().map(|ticket| ticket.sequence)
    }

    /// Takes a place in the queue, if it has none yet. Cancelled, it may leave a node: calling this or
    /// [`Lock::wait_granted`] again finds it, and [`Lock::release`] deletes it.
    ///
    /// # Errors
    /// As every recipe.
    pub async fn queue<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Ticket, Error> {
        self.place.queue(session).await
    }

    /// Takes a place if need be, and waits until the lock is granted, however long that takes: whoever is ahead gives
    /// it back, or their session ends. Cancel-safe: the place is kept, and calling it again goes on waiting;
    /// [`Lock::release`] gives up.
    ///
    /// # Errors
    /// [`Error::Lost`] if the node vanished; else as every recipe.
    pub async fn wait_granted<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Ticket, Error> {
        self.place.wait_granted(session).await
    }

    /// Asks ZooKeeper whether the node is there and this session's; to be done after every reconnect, before anything
    /// is sent on the strength of it.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not; else as every recipe.
    pub async fn verify<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<(), Error> {
        self.place.verify(session).await
    }

    /// Gives the lock back, or gives up waiting for it: when it returns, the node is gone. Cancelled or failed, the
    /// node may still be there: calling it again goes on. Repeating it is harmless.
    ///
    /// # Errors
    /// As every recipe.
    pub async fn release<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<(), Error> {
        self.place.leave(session).await
    }

    /// Forgets the lock because its session is over: the node goes with it.
    pub fn abandon(mut self) {
        self.place.abandon();
    }

    /// The operation that lets a transaction pass only while this lock's node exists.
    pub(crate) fn fence(&self) -> Result<Operation, Error> {
        self.place.fence()
    }
}
