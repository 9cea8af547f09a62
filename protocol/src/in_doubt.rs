//! Marks (rules P4, P5, R8): "this session has, or had, an unsettled request in this range". Persistent, so that they
//! outlive whoever made them; deleted by name after a calm that began when they had been read.

use futures_util::future::join_all;

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{CreateMode, Session, ZkError};
use stitch_common::range::{RangeBits, RangeId};

use crate::error::Error;
use crate::namespace_session::{NamespaceSession, RetryBudget};
use crate::path;

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InDoubtMarker {
    /// The range in which something is unsettled.
    pub range: RangeId,
    /// Whose request it is.
    pub member: MemberId,
    /// Tells it from the member's other marks; never used again.
    pub number: u64,
}

impl InDoubtMarker {
    /// The marker of `range` whose node has this name; `None` if it is another node.
    pub(crate) fn of_name(range: RangeId, name: &str) -> Option<Self> {
        let (member, number) = path::name::read_marker(name)?;
        Some(Self {
            range,
            member,
            number,
        })
    }
}

/// Makes a new mark of this session. When it returns, everything unknown that was sent before the call is marked.
/// Cancelled or failed, the mark may be there or may yet come: harmless, but nothing counts as marked.
///
/// # Errors
/// As every recipe.
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
    let mut tries = RetryBudget::new(&path);
    loop {
        let zookeeper = session.zookeeper();
        match zookeeper.create(&path, b"", CreateMode::Persistent).await {
            // It exists only if the answer to an earlier try was lost: nobody else uses this name.
            Ok(_) | Err(ZkError::NodeExists) => return Ok(marker),
            Err(ZkError::NoNode) => session.ensure(&directory).await?,
            Err(ZkError::Ambiguous(why)) => tries.pause(session, why).await?,
            Err(error) => return Err(Error::unexpected(&path, error)),
        }
    }
}

/// The marks of one range.
///
/// # Errors
/// As every recipe.
pub async fn of_range<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    range: RangeId,
) -> Result<Vec<InDoubtMarker>, Error> {
    let names = session.children(&session.paths().range(range)).await?;
    let mut markers: Vec<_> = names
        .iter()
        .filter_map(|name| InDoubtMarker::of_name(range, name))
        .collect();
    markers.sort_unstable();
    Ok(markers)
}

/// The marks of all ranges, in their order.
///
/// # Errors
/// As every recipe.
pub async fn of_all_ranges<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    bits: RangeBits,
) -> Result<Vec<InDoubtMarker>, Error> {
    let answers = join_all(bits.ranges().map(|range| of_range(session, range))).await;
    let mut markers = Vec::new();
    for answer in answers {
        markers.extend(answer?);
    }
    Ok(markers)
}

/// Deletes a mark, after a calm that began when it had been read; somebody else may have done so already. Cancelled,
/// it may still be there.
///
/// # Errors
/// As every recipe.
pub async fn delete<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    marker: &InDoubtMarker,
) -> Result<(), Error> {
    let path = path::child(
        &session.paths().range(marker.range),
        &path::name::marker(&marker.member, marker.number),
    );
    session.delete(&path).await
}
