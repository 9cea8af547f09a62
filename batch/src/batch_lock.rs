//! The lock that lets one process at a time load batch counts.

use stitch_common::clock::Clock;
use stitch_common::ports::Session;
use stitch_protocol::envelope;
use stitch_protocol::lock::Lock;
use stitch_protocol::path::name;
use stitch_protocol::restoration::LockHolder;
use stitch_protocol::{Error, NamespaceSession};

use crate::rule;

/// The lock of the loads. Its entries are below `/batch`, each with the process that made it.
pub type BatchLock = Lock<Load>;

/// What the lock locks: loading batch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load;

/// A lock for a process on this host, of which ZooKeeper does not know yet.
pub fn new<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    host: &str,
    process_id: u32,
) -> BatchLock {
    let guid = session.next_guid();
    let holder = LockHolder {
        member: session.member(),
        host: host.to_owned(),
        process_id,
        started: session.clock().wall(),
    };
    let prefix = name::exclusive_entry(guid);
    Lock::with_target(Load, session.paths().batch(), prefix, guid)
        .with_data(envelope::seal(&holder))
        .waiting_for_grant(rule::the_lock_is_waited_for())
}

/// Enters the queue if need be, and looks once: `None` if the lock is held, else the process that this one waits for.
///
/// # Errors
/// [`Error::Lost`] if the entry vanished; [`Error::Corrupt`].
///
/// # Cancellation
/// It may leave an entry, which [`Lock::release`] deletes.
pub async fn try_granted<S: Session, C: Clock>(
    lock: &mut BatchLock,
    session: &NamespaceSession<S, C>,
) -> Result<Option<LockHolder>, Error> {
    while let Some(predecessor) = lock.poll_granted(session).await? {
        // It may go away between the two reads.
        if let Some(node) = session.get(&predecessor).await? {
            return envelope::open(&predecessor, &node.data).map(Some);
        }
    }
    Ok(None)
}
