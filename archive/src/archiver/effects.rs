//! What the loop waits for beside the feed.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, LogError, ObjectError};
use stitch_common::server_failure::ServerFailure;

use super::settle::Settled;
use crate::chain::{Chain, Segment};
use crate::error::ArchiveError;
use crate::identity::LogVerdict;

/// A request in flight. Dropped as if the process were killed.
pub(super) type Effect<'a, F> = Pin<Box<dyn Future<Output = Completion<F>> + 'a>>;

/// The end of an effect; `F` is the feed.
pub(super) enum Completion<F> {
    /// A feed in the place of one that ended.
    Feed(Result<F, LogError>),
    /// A segment was to be put.
    Settled {
        partition: Partition,
        segment: Segment,
        settled: Settled,
    },
    /// The log of a stopped partition was compared with the archive.
    Compared {
        partition: Partition,
        compared: Result<LogVerdict, ServerFailure>,
    },
    /// The chain was followed from where its end was known.
    Followed {
        partition: Partition,
        followed: Result<Vec<Segment>, ArchiveError>,
    },
    /// An index was to be put.
    Indexed(Result<(), ObjectError>),
    /// The partitions that the topic has now, with their bounds.
    Partitions(Result<BTreeMap<Partition, Bounds>, LogError>),
    /// A partition that is new.
    Opened {
        partition: Partition,
        opened: Result<Chain, ArchiveError>,
    },
    /// The bounds of the partitions, for metrics.
    Measured(Result<BTreeMap<Partition, Bounds>, LogError>),
}

/// The position up to which `segments`, behind `from`, reach.
pub(super) fn reach(from: Offset, segments: &[Segment]) -> Offset {
    segments.last().map_or(from, |last| last.to)
}
