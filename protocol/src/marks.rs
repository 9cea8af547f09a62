//! Marks (rules P4, P5, R8): "this session has, or had, an unsettled request in this range". Persistent, so that they
//! outlive whoever made them; deleted by name after a calm that began when they had been read.

use futures_util::future::join_all;

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{CreateMode, KeeperError, Session};
use stitch_common::range::{RangeBits, RangeId};

use super::coordinator::{Coordinator, Tries};
use super::error::Error;
use super::path;

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The range in which something is unsettled.
    pub range: RangeId,
    /// Whose request it is.
    pub member: MemberId,
    /// Tells it from the member's other marks; never used again.
    pub number: u64,
}

/// Makes a new mark of this session. When it returns, everything unknown that was sent before the call is marked.
/// Cancelled or failed, the mark may be there or may yet come: harmless, but nothing counts as marked.
///
/// # Errors
/// As every recipe.
pub async fn create<S: Session, C: Clock>(
    coordinator: &Coordinator<S, C>,
    range: RangeId,
) -> Result<Mark, Error> {
    let mark = Mark {
        range,
        member: coordinator.member(),
        number: coordinator.next_number(),
    };
    let directory = coordinator.paths().range(range);
    let path = path::child(&directory, &path::name::mark(&mark));
    let mut tries = Tries::new(&path);
    loop {
        let session = coordinator.session();
        match session.create(&path, b"", CreateMode::Persistent).await {
            // It exists only if the answer to an earlier try was lost: nobody else uses this name.
            Ok(_) | Err(KeeperError::NodeExists) => return Ok(mark),
            Err(KeeperError::NoNode) => coordinator.ensure(&directory).await?,
            Err(KeeperError::Ambiguous(why)) => tries.pause(coordinator, why).await?,
            Err(error) => return Err(Error::unexpected(&path, error)),
        }
    }
}

/// The marks of one range.
///
/// # Errors
/// As every recipe.
pub async fn of_range<S: Session, C: Clock>(
    coordinator: &Coordinator<S, C>,
    range: RangeId,
) -> Result<Vec<Mark>, Error> {
    let names = coordinator
        .children(&coordinator.paths().range(range))
        .await?;
    let mut marks: Vec<_> = names
        .iter()
        .filter_map(|name| path::name::read_mark(range, name))
        .collect();
    marks.sort_unstable();
    Ok(marks)
}

/// The marks of all ranges, in their order.
///
/// # Errors
/// As every recipe.
pub async fn of_all_ranges<S: Session, C: Clock>(
    coordinator: &Coordinator<S, C>,
    bits: RangeBits,
) -> Result<Vec<Mark>, Error> {
    let answers = join_all(bits.ranges().map(|range| of_range(coordinator, range))).await;
    let mut marks = Vec::new();
    for answer in answers {
        marks.extend(answer?);
    }
    Ok(marks)
}

/// Deletes a mark, after a calm that began when it had been read; somebody else may have done so already. Cancelled,
/// it may still be there.
///
/// # Errors
/// As every recipe.
pub async fn delete<S: Session, C: Clock>(
    coordinator: &Coordinator<S, C>,
    mark: &Mark,
) -> Result<(), Error> {
    let path = path::child(
        &coordinator.paths().range(mark.range),
        &path::name::mark(mark),
    );
    coordinator.delete(&path).await
}
