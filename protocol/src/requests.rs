//! Requests to yield: who waits for an exclusive lock asks the holders of earlier shared ones (R2, P6). All stand in
//! one directory, which every processor watches, so that a fleet starting up does not wake itself.

use stitch_common::clock::Clock;
use stitch_common::ports::{CreateMode, KeeperError, Session};
use stitch_common::range::RangeId;

use super::coordinator::{Coordinator, Tries, not_initialised};
use super::error::Error;
use super::path;
use super::queue::{Kind, Sequence};
use super::range_lock::RangeLock;

/// A request: every holder of an earlier shared lock of this range is asked to yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which range.
    pub range: RangeId,
    /// The place of the exclusive lock that waits.
    pub sequence: Sequence,
}

impl Request {
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
    coordinator: &Coordinator<S, C>,
    lock: &RangeLock,
) -> Result<Request, Error> {
    let request = request_of(coordinator, lock)?;
    let path = path::child(
        &coordinator.paths().requests(),
        &path::name::request(request),
    );
    let mut tries = Tries::new(&path);
    loop {
        let session = coordinator.session();
        match session.create(&path, b"", CreateMode::Ephemeral).await {
            // The place is in the name and is given once, so whoever made it means the same.
            Ok(_) | Err(KeeperError::NodeExists) => return Ok(request),
            Err(KeeperError::Ambiguous(why)) => tries.pause(coordinator, why).await?,
            Err(KeeperError::NoNode) => return Err(not_initialised(&path)),
            Err(error) => return Err(Error::unexpected(&path, error)),
        }
    }
}

/// Takes a request back; harmless if there is none. Cancelled, it may still be there.
///
/// # Errors
/// As every recipe.
pub async fn withdraw<S: Session, C: Clock>(
    coordinator: &Coordinator<S, C>,
    request: Request,
) -> Result<(), Error> {
    let path = path::child(
        &coordinator.paths().requests(),
        &path::name::request(request),
    );
    coordinator.delete(&path).await
}

/// Every request that stands now.
///
/// # Errors
/// As every recipe.
pub async fn list<S: Session, C: Clock>(
    coordinator: &Coordinator<S, C>,
) -> Result<Vec<Request>, Error> {
    let names = coordinator
        .children(&coordinator.paths().requests())
        .await?;
    Ok(parse(&names))
}

/// Every request that stands now, and a watch that fires once they may be others: list them again then. A request is
/// made after the exclusive node that it is for, so whoever sees it sees that node, too.
///
/// # Errors
/// As every recipe.
pub async fn watch<S: Session, C: Clock>(
    coordinator: &Coordinator<S, C>,
) -> Result<(Vec<Request>, S::Watch), Error> {
    let (names, watch) = coordinator
        .watch_children(&coordinator.paths().requests())
        .await?;
    Ok((parse(&names), watch))
}

fn parse(names: &[String]) -> Vec<Request> {
    names
        .iter()
        .filter_map(|name| path::name::read_request(name))
        .collect()
}

fn request_of<S: Session, C: Clock>(
    coordinator: &Coordinator<S, C>,
    lock: &RangeLock,
) -> Result<Request, Error> {
    match (lock.kind(), lock.sequence()) {
        (Kind::Exclusive, Some(sequence)) => Ok(Request {
            range: lock.range(),
            sequence,
        }),
        (Kind::Exclusive | Kind::Shared, _) => Err(Error::Lost {
            path: coordinator.paths().range(lock.range()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_earlier_holders_of_its_own_range_only() {
        let request = Request {
            range: RangeId(1),
            sequence: Sequence::new(5),
        };
        assert!(request.asks(RangeId(1), Sequence::new(4)));
        assert!(!request.asks(RangeId(1), Sequence::new(6)));
        assert!(!request.asks(RangeId(2), Sequence::new(4)));
    }
}
