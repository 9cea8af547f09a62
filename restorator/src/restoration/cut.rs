//! R3: the cut, progress of every partition read while the range's lock is held.

use stitch_common::mutation::{Rule, out};
use stitch_common::offset::Offsets;
use stitch_protocol::definition_node;

use super::acquire::Held;
use crate::error::Error;
use crate::failpoint;
use crate::plan::base_cut::BaseCut;
use crate::site::World;
use crate::unverified::Unverified;

/// Where every partition stands for this range, for as long as its lock is held.
#[derive(Debug)]
pub struct Cut {
    all: BaseCut,
    offsets: Offsets,
}

impl Cut {
    /// Checkpoint of every partition, for all ranges.
    pub const fn all(&self) -> &BaseCut {
        &self.all
    }

    /// The range's place in every partition.
    pub const fn offsets(&self) -> &Offsets {
        &self.offsets
    }
}

/// Reads it.
///
/// # Errors
/// A partition has no progress, or it went back; or the namespace was changed.
pub async fn find<W: World>(held: &Held<'_, W>) -> Result<Cut, Unverified> {
    let site = held.task().site;
    let read = BaseCut::read(site);
    let all = held.bound.wait("reading the cut", read).await?;
    let defined = definition_node::read(site.session);
    let defined = held.bound.wait("reading the definition", defined).await?;
    if defined.as_ref() != Some(site.defined) {
        return Err(Unverified::DefinitionChanged);
    }
    let cut = taken(all, held)?;
    failpoint::pass("r3-cut");
    Ok(cut)
}

fn taken<W: World>(all: BaseCut, held: &Held<'_, W>) -> Result<Cut, Unverified> {
    if let Some(partition) = all.lacking().next() {
        return Err(Unverified::NoProgress(partition));
    }
    let mut offsets = all.of(held.range());
    let totals = held.task().follower.totals();
    totals
        .of(held.range())
        .ahead(&offsets)
        .map_err(Error::from)?;
    if out(Rule::CutUnderLock) {
        offsets.clone_from(totals.of(held.range()).cut());
    }
    drop(totals);
    Ok(Cut { all, offsets })
}
