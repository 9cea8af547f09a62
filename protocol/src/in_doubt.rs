//! In-doubt markers (rules P4, P5, R8): "this session has, or had, a request in doubt in this range". Persistent, so that
//! they outlive their member; replaced by a [`doubt`] after a quiescence barrier that began once they had been read.

use futures_util::future::join_all;

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{CreateMode, Operation, Session, ZkError};
use stitch_common::range::{RangeBits, RangeId};

use crate::doubt::{self, DoubtCause, RecordOutcome};
use crate::error::Error;
use crate::namespace_session::NamespaceSession;
use crate::{path, rule};

/// A node that says that a member has, or had, a request in doubt in a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InDoubtMarker {
    /// The range that the request may still change.
    pub range: RangeId,
    /// The member that sent the request.
    pub member: MemberId,
    /// Distinguishes it from the member's other markers; never used again.
    pub number: u64,
}

impl InDoubtMarker {
    /// The marker of `range` whose node has this name; `None` if it is another node.
    pub(crate) fn from_name(range: RangeId, name: &str) -> Option<Self> {
        let (member, number) = path::name::read_marker(name)?;
        Some(Self {
            range,
            member,
            number,
        })
    }
}

/// Creates a new marker of this session. When it returns, it covers every request of unknown outcome that was sent
/// before the call. Cancelled or failed, the marker may exist or may yet appear: harmless, but nothing counts as marked.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn create<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    range: RangeId,
) -> Result<InDoubtMarker, Error> {
    let marker = InDoubtMarker {
        range,
        member: session.member(),
        number: session.next_number(),
    };
    let directory = session.paths().range(range);
    let path = path::child(
        &directory,
        &path::name::marker(&marker.member, marker.number),
    );
    let mut retries = session.retry_budget(&path);
    loop {
        let request = async || {
            let zookeeper = session.zookeeper();
            zookeeper.create(&path, b"", CreateMode::Persistent).await
        };
        match retries.run(request).await? {
            // It exists only if the answer to an earlier request was lost: nothing else uses this name.
            Ok(_) | Err(ZkError::NodeExists) => return Ok(marker),
            Err(ZkError::NoNode) => session.ensure(&directory).await?,
            Err(refusal) => return Err(Error::unexpected(&path, refusal)),
        }
    }
}

/// The markers of one range.
pub async fn list<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    range: RangeId,
) -> Result<Vec<InDoubtMarker>, Error> {
    let names = session.children(&session.paths().range(range)).await?;
    let mut markers: Vec<_> = names
        .iter()
        .filter_map(|name| InDoubtMarker::from_name(range, name))
        .collect();
    markers.sort_unstable();
    Ok(markers)
}

/// The markers of all ranges, in the order of the ranges.
pub async fn list_all<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    bits: RangeBits,
) -> Result<Vec<InDoubtMarker>, Error> {
    let answers = join_all(bits.ranges().map(|range| list(session, range))).await;
    let mut markers = Vec::new();
    for answer in answers {
        markers.extend(answer?);
    }
    Ok(markers)
}

/// Deletes a marker, after a quiescence barrier that began once it had been read, and records in the same transaction
/// that counts of its range may be wrong: nothing can change them any more, but the request may have been applied or not.
/// Another member may have done so already. Cancelled, the marker may still exist.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn delete<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    marker: &InDoubtMarker,
) -> Result<(), Error> {
    let path = path::child(
        &session.paths().range(marker.range),
        &path::name::marker(&marker.member, marker.number),
    );
    if !rule::doubt_replaces_marker() {
        return session.delete(&path).await;
    }
    let removal = Operation::Delete {
        path,
        version: None,
    };
    let detail = format!("a request of member {} had no known outcome", marker.member);
    let doubt = (marker.range, DoubtCause::InDoubt);
    match doubt::record_with(session, doubt, &detail, &[removal]).await? {
        RecordOutcome::Yes | RecordOutcome::Gone => Ok(()),
    }
}
