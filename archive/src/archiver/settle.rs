//! Puts a segment, and finds out what became of it.
//!
//! A put that may have happened is looked at: what is there under the name is the truth, whoever put it. So it may be
//! repeated, and a process that is killed in between leaves the segment or leaves nothing.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::{ObjectError, ObjectStore, Put};
use tokio_util::sync::CancellationToken;

use super::collector::Sealed;
use crate::chain::Segment;
use crate::error::ArchiveError;
use crate::metrics;
use crate::reader::Archive;
use crate::rule;
use stitch_common::offset::Partition;

/// What became of a segment.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It is in the archive.
    Archived,
    /// Another archiver has put another segment there: it is the archive's, and the next one begins where it ends.
    Overtaken,
    /// The archive has other records in the same interval.
    Conflict(Segment),
    /// It could not be put.
    GaveUp(ArchiveError),
}

/// How long a put is tried.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// The most attempts; without it, as many as it takes.
    pub(crate) attempts_max: Option<u32>,
    /// After this is cancelled, an attempt that fails is the last.
    pub(crate) last_attempt: CancellationToken,
}

const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// Puts `sealed`, and tries again for as long as `patience` says.
///
/// # Cancellation
/// The segment may have been put, or may still be.
pub(crate) async fn settle<S: ObjectStore, C: Clock>(
    archive: &Archive<S>,
    clock: &C,
    partition: Partition,
    sealed: &Sealed,
    patience: &Patience,
) -> Settled {
    let name = archive.folder().segment(partition, sealed.segment.from);
    let mut pause = PAUSE_FIRST;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let content = sealed.content.clone();
        let error = match archive.store().put_if_absent(&name, content).await {
            Ok(Put::Created) => return Settled::Archived,
            // A store may say this of an object that is just being deleted or written: look at it.
            Ok(Put::Exists) => None,
            Err(ObjectError::Ambiguous { .. }) if !rule::unknown_puts_are_looked_at() => {
                return Settled::Archived;
            }
            Err(error) => Some(error),
        };
        let looked = archive.segment(partition, sealed.segment.from).await;
        let error = match looked {
            Ok(Some(found)) => return compare(&sealed.segment, found),
            Ok(None) => error.unwrap_or_else(|| {
                ObjectError::Unavailable(format!("{name} exists and is not there"))
            }),
            Err(ArchiveError::Store(reading)) => error.unwrap_or(reading),
            Err(error) => return Settled::GaveUp(error),
        };
        metrics::put_failed();
        let is_last = patience.last_attempt.is_cancelled()
            || patience.attempts_max.is_some_and(|max| attempts >= max);
        if is_last {
            return Settled::GaveUp(error.into());
        }
        tracing::warn!(%name, %error, ?pause, "a segment could not be put; it is tried again");
        tokio::select! {
            biased;
            // Both only wait.
            () = patience.last_attempt.cancelled() => {}
            () = clock.sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// What the archive has, compared with what was to be put.
fn compare(ours: &Segment, found: Segment) -> Settled {
    if found.to != ours.to {
        return Settled::Overtaken;
    }
    if found.rows == ours.rows && found.digest == ours.digest {
        Settled::Archived
    } else {
        Settled::Conflict(found)
    }
}
