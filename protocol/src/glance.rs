//! What tells people how fresh and how sure counts are, at one moment: how far each partition is counted, and where
//! something is locked, uncertain or left behind. Cheaper than [`overview`](crate::inspect::overview), because it is
//! asked for again and again. Reads only; the parts are read one after another, so they may differ by a moment.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use stitch_common::checkpoint::Checkpoint;
use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::Session;
use stitch_common::range::{RangeBits, RangeId};

use crate::checkpoint_node;
use crate::contender::Kind;
use crate::error::Error;
use crate::in_doubt::InDoubtMarker;
use crate::membership;
use crate::namespace_session::NamespaceSession;
use crate::path;
use crate::restoration::{self, RangeOutcome, RestorationRecord};

/// A namespace at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// The members that are gone and whose nodes remain.
    pub dead_members: usize,
    /// The partitions that ZooKeeper knows, with their progress if they have any.
    pub partitions: BTreeMap<Partition, Option<Checkpoint>>,
    /// The ranges with an exclusive lock, held or waited for.
    pub locked: BTreeSet<RangeId>,
    /// The ranges with a mark.
    pub marked: BTreeSet<RangeId>,
    /// Whether somebody has the restoration lock.
    pub restoring: bool,
}

/// The namespace at a glance.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::Corrupt`]; else as every recipe.
pub async fn glance<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    bits: RangeBits,
) -> Result<Glance, Error> {
    // First, so that what a restoration does afterwards is seen by its locks at least.
    let restoring = restoration::holder(session).await?.is_some();
    let members = membership::list(session).await?;
    let mut glance = Glance {
        dead_members: members.dead_members().count(),
        partitions: partitions(session).await?,
        restoring,
        ..Glance::default()
    };
    let ranges = bits.ranges().map(async |range| {
        let directory = session.paths().range(range);
        Ok((range, session.children(&directory).await?))
    });
    for read in join_all(ranges).await {
        let (range, names) = read?;
        let exclusive = |name: &String| {
            path::name::read_entry(name).is_some_and(|contender| contender.kind == Kind::Exclusive)
        };
        if names.iter().any(exclusive) {
            glance.locked.insert(range);
        }
        let mut markers = names
            .iter()
            .filter_map(|name| InDoubtMarker::of_name(range, name));
        if markers.next().is_some() {
            glance.marked.insert(range);
        }
    }
    Ok(glance)
}

async fn partitions<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<BTreeMap<Partition, Option<Checkpoint>>, Error> {
    let names = session.children(&session.paths().partitions()).await?;
    let reads = names.iter().filter_map(|name| path::partition_of(name));
    let reads = reads.map(async |partition| {
        let written = checkpoint_node::read(session, partition).await?;
        Ok((partition, written.map(|written| written.progress)))
    });
    join_all(reads).await.into_iter().collect()
}

/// The ranges that the last restoration which tells of them could not prove.
#[must_use]
pub fn unverified(records: &[RestorationRecord]) -> BTreeSet<RangeId> {
    let mut ranges = BTreeSet::new();
    // The oldest first.
    for (range, outcome) in records.iter().flat_map(|record| &record.ranges) {
        match outcome {
            RangeOutcome::Unverified { .. } => ranges.insert(*range),
            RangeOutcome::Verified { .. } => ranges.remove(range),
        };
    }
    ranges
}
