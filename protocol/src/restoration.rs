//! The lock that lets one restoration at a time run in a namespace. Records of restorations are in `stitch-control`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::Session;

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::lock::Lock;
use crate::namespace_session::NamespaceSession;
use crate::{path, queue};

/// The process that holds the restoration lock, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Its session.
    pub member: MemberId,
    /// The host that it runs on.
    pub host: String,
    /// Its process id on that host.
    pub process_id: u32,
    /// When it queued for the lock, by its own calendar.
    pub started: DateTime<Utc>,
}

impl Payload for LockHolder {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "wait until the session that made it has ended, or run the version of the program that wrote it";
}

/// The lock that lets one restoration at a time run in a namespace, or one change of `/definition`. To wait only for a
/// holder that may be dead, bound [`Lock::wait_granted`] by a session timeout and ask for the [`holder`] then.
pub type RestorationLock = Lock<()>;

impl RestorationLock {
    /// A lock for a process on this host, of which ZooKeeper does not know yet.
    pub fn new<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        host: &str,
        process_id: u32,
    ) -> Self {
        let guid = session.next_guid();
        let directory = session.paths().restorations();
        let holder = LockHolder {
            member: session.member(),
            host: host.to_owned(),
            process_id,
            started: session.clock().wall(),
        };
        let prefix = path::name::exclusive_entry(guid);
        Self::with_target((), directory, prefix, guid).with_data(envelope::seal(&holder))
    }

    /// Enters the queue if need be, and looks once: `None` if the lock is held, else its holder. Cancelled, it may
    /// leave a node, which [`Lock::release`] deletes.
    ///
    /// # Errors
    /// [`Error::Lost`] if the node vanished; [`Error::Corrupt`].
    pub async fn try_granted<S: Session, C: Clock>(
        &mut self,
        session: &NamespaceSession<S, C>,
    ) -> Result<Option<LockHolder>, Error> {
        while self.poll_granted(session).await?.is_some() {
            // The holder may release it between the two reads.
            if let Some(holder) = holder(session).await? {
                return Ok(Some(holder));
            }
        }
        Ok(None)
    }
}

/// The holder of the restoration lock.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn holder<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Option<LockHolder>, Error> {
    let directory = session.paths().restorations();
    let children = session.children(&directory).await?;
    let Some(first) = queue::holders(&children).next() else {
        return Ok(None);
    };
    session.record(&path::child(&directory, first)).await
}
