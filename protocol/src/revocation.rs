//! Revocation requests: who waits for an exclusive lock asks the holders of earlier shared ones to yield (R2, P6). All
//! are in one directory, which every processor watches, so that a fleet that starts does not wake itself.

use stitch_common::clock::Clock;
use stitch_common::ports::{CreateMode, Session};
use stitch_common::range::RangeId;

use crate::contender::{Kind, Sequence};
use crate::error::Error;
use crate::namespace_session::NamespaceSession;
use crate::path;
use crate::range_lock::RangeLock;

/// Asks every holder of an earlier shared lock of a range to yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationRequest {
    /// The range that is to be locked exclusively.
    pub range: RangeId,
    /// The position of the exclusive lock that waits.
    pub sequence: Sequence,
}

impl RevocationRequest {
    /// Whether this asks the holder of a shared lock of `range` at the position `held` to yield.
    #[must_use]
    pub fn asks(self, range: RangeId, held: Sequence) -> bool {
        self.range == range && held.precedes(self.sequence)
    }

    fn for_lock<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        lock: &RangeLock,
    ) -> Result<Self, Error> {
        match (lock.kind(), lock.sequence()) {
            (Kind::Exclusive, Some(sequence)) => Ok(Self {
                range: lock.range(),
                sequence,
            }),
            (Kind::Exclusive | Kind::Shared, _) => Err(Error::Lost {
                path: session.paths().range(lock.range()),
            }),
        }
    }

    fn path<S: Session, C: Clock>(self, session: &NamespaceSession<S, C>) -> String {
        let name = path::name::request(self.range, self.sequence);
        path::child(&session.paths().revocations(), &name)
    }
}

/// Asks the holders of earlier shared locks to yield to `lock`, which must be exclusive and in the queue. The request
/// goes with the session or by [`withdraw`]. Cancelled, it may have been made.
///
/// # Errors
/// [`Error::Lost`] if the lock is not in the queue; [`Error::NotInitialised`].
pub async fn ask<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &RangeLock,
) -> Result<RevocationRequest, Error> {
    let request = RevocationRequest::for_lock(session, lock)?;
    let path = request.path(session);
    // The lock's sequence is in the name and is given once, so a node that exists is of the same request.
    session
        .create_once(&path, b"", CreateMode::Ephemeral)
        .await?;
    Ok(request)
}

/// Withdraws a request; harmless if there is none. Cancelled, it may still exist.
pub async fn withdraw<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    request: RevocationRequest,
) -> Result<(), Error> {
    session.delete(&request.path(session)).await
}

/// The requests that exist now.
pub async fn list<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<RevocationRequest>, Error> {
    let names = session.children(&session.paths().revocations()).await?;
    Ok(parse(&names))
}

/// The requests that exist now, and a watch that fires once they may be others: list them again then. A request is
/// created after the node of its exclusive lock, so a session that sees it sees that node, too.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn watch<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<(Vec<RevocationRequest>, S::Watch), Error> {
    let (names, watch) = session
        .watch_children(&session.paths().revocations())
        .await?;
    Ok((parse(&names), watch))
}

fn parse(names: &[String]) -> Vec<RevocationRequest> {
    names
        .iter()
        .filter_map(|name| path::name::read_request(name))
        .map(|(range, sequence)| RevocationRequest { range, sequence })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_earlier_holders_of_its_own_range_only() {
        let request = RevocationRequest {
            range: RangeId(1),
            sequence: Sequence::new(5),
        };
        assert!(request.asks(RangeId(1), Sequence::new(4)));
        assert!(!request.asks(RangeId(1), Sequence::new(6)));
        assert!(!request.asks(RangeId(2), Sequence::new(4)));
    }
}
