//! Requests to yield: who waits for an exclusive lock asks the holders of earlier shared ones (R2, P6). All stand in
//! one directory, which every processor watches, so that a fleet starting up does not wake itself.

use stitch_common::clock::Clock;
use stitch_common::ports::{CreateMode, Session, ZkError};
use stitch_common::range::RangeId;

use crate::contender::{Kind, Sequence};
use crate::error::Error;
use crate::namespace_session::{NamespaceSession, RetryBudget, not_initialised};
use crate::path;
use crate::range_lock::RangeLock;

/// A request: every holder of an earlier shared lock of this range is asked to yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationRequest {
    /// Which range.
    pub range: RangeId,
    /// The place of the exclusive lock that waits.
    pub sequence: Sequence,
}

impl RevocationRequest {
    /// Whether this asks the holder of a shared lock of `range` with the place `held` to yield.
    #[must_use]
    pub fn asks(self, range: RangeId, held: Sequence) -> bool {
        self.range == range && held.precedes(self.sequence)
    }
}

/// Asks the holders of earlier shared locks to yield to `lock`, which must be exclusive and in the queue. The request
/// goes with the session or by [`withdraw`]. Cancelled, it may have been made.
///
/// # Errors
/// As every recipe; [`Error::Lost`] if the lock is not in the queue.
pub async fn ask<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &RangeLock,
) -> Result<RevocationRequest, Error> {
    let request = request_of(session, lock)?;
    let path = path::child(
        &session.paths().revocations(),
        &path::name::request(request.range, request.sequence),
    );
    let mut tries = RetryBudget::new(&path);
    loop {
        let zookeeper = session.zookeeper();
        match zookeeper.create(&path, b"", CreateMode::Ephemeral).await {
            // The place is in the name and is given once, so whoever made it means the same.
            Ok(_) | Err(ZkError::NodeExists) => return Ok(request),
            Err(ZkError::Ambiguous(why)) => tries.pause(session, why).await?,
            Err(ZkError::NoNode) => return Err(not_initialised(&path)),
            Err(error) => return Err(Error::unexpected(&path, error)),
        }
    }
}

/// Takes a request back; harmless if there is none. Cancelled, it may still be there.
///
/// # Errors
/// As every recipe.
pub async fn withdraw<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    request: RevocationRequest,
) -> Result<(), Error> {
    let path = path::child(
        &session.paths().revocations(),
        &path::name::request(request.range, request.sequence),
    );
    session.delete(&path).await
}

/// Every request that stands now.
///
/// # Errors
/// As every recipe.
pub async fn list<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<RevocationRequest>, Error> {
    let names = session.children(&session.paths().revocations()).await?;
    Ok(parse(&names))
}

/// Every request that stands now, and a watch that fires once they may be others: list them again then. A request is
/// made after the exclusive node that it is for, so whoever sees it sees that node, too.
///
/// # Errors
/// As every recipe.
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

fn request_of<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    lock: &RangeLock,
) -> Result<RevocationRequest, Error> {
    match (lock.kind(), lock.sequence()) {
        (Kind::Exclusive, Some(sequence)) => Ok(RevocationRequest {
            range: lock.range(),
            sequence,
        }),
        (Kind::Exclusive | Kind::Shared, _) => Err(Error::Lost {
            path: session.paths().range(lock.range()),
        }),
    }
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
