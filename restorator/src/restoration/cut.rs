//! R3: the cut: every partition's checkpoint, read under the range's lock.

use stitch_common::offset::Offsets;
use stitch_protocol::definition_node;

use super::acquire::LockedRange;
use crate::doubts::KnownDoubts;
use crate::error::Error;
use crate::failpoint;
use crate::plan::base_cut::BaseCut;
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// The checkpoint of every partition. For this range none can change while its lock is held.
#[derive(Debug)]
pub(crate) struct Cut {
    all: BaseCut,
    offsets: Offsets,
    doubts: KnownDoubts,
}

impl Cut {
    /// The checkpoints for all ranges.
    pub(crate) const fn all(&self) -> &BaseCut {
        &self.all
    }

    /// The range's doubts, read before the checkpoints.
    pub(crate) const fn doubts(&self) -> &KnownDoubts {
        &self.doubts
    }

    /// The range's offset in every partition.
    pub(crate) const fn offsets(&self) -> &Offsets {
        &self.offsets
    }
}

/// Reads the cut.
///
/// # Errors
/// A partition has no checkpoint, a checkpoint went back, or the namespace was changed.
pub(crate) async fn find<B: Backends>(held: &LockedRange<'_, '_, B>) -> Result<Cut, Unverified> {
    let context = held.context();
    // Before the checkpoints: a doubt that is recorded later may be about events that the cut does not have.
    let doubts = KnownDoubts::read(context, held.range());
    let doubts = held.bound.wait("reading the doubts", doubts).await?;
    let read = BaseCut::read(context);
    let all = held.bound.wait("reading the cut", read).await?;
    let defined = definition_node::read(context.session);
    let defined = held.bound.wait("reading the definition", defined).await?;
    if defined.as_ref() != Some(&context.validated.definition) {
        return Err(Unverified::DefinitionChanged);
    }
    let cut = check(all, doubts, held)?;
    failpoint::pass("r3-cut");
    Ok(cut)
}

fn check<B: Backends>(
    all: BaseCut,
    doubts: KnownDoubts,
    held: &LockedRange<'_, '_, B>,
) -> Result<Cut, Unverified> {
    if let Some(partition) = all.without_checkpoint().next() {
        return Err(Unverified::NoCheckpoint(partition));
    }
    let mut offsets = all.of(held.range());
    let totals = held.follower.totals();
    totals
        .of(held.range())
        .check_not_behind(&offsets)
        .map_err(Error::from)?;
    if !rule::cut_is_read_under_the_lock() {
        offsets.clone_from(totals.of(held.range()).cut());
    }
    drop(totals);
    Ok(Cut {
        all,
        offsets,
        doubts,
    })
}
