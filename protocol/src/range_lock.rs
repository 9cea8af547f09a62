//! The lock of a range: shared by the processors that send to it (rule P2), exclusive for the restoration of it (R2).

use stitch_common::clock::Clock;
use stitch_common::ports::Session;
use stitch_common::range::RangeId;

use super::coordinator::Coordinator;
use super::lock::Lock;
use super::path;
use super::place::Place;
use super::queue::Kind;

/// Which range a lock is of, and how it is held.
#[derive(Debug)]
pub struct OfRange {
    range: RangeId,
    kind: Kind,
}

/// A lock of one range.
pub type RangeLock = Lock<OfRange>;

impl RangeLock {
    /// A lock of this kind that nothing was done for yet.
    pub fn new<S: Session, C: Clock>(
        coordinator: &Coordinator<S, C>,
        range: RangeId,
        kind: Kind,
    ) -> Self {
        let guid = coordinator.next_guid();
        let directory = coordinator.paths().range(range);
        let prefix = path::name::range_place(guid, kind);
        Self {
            of: OfRange { range, kind },
            place: Place::new(directory, prefix, guid, Vec::new()),
        }
    }

    /// Which range.
    #[must_use]
    pub const fn range(&self) -> RangeId {
        self.of.range
    }

    /// How it is, or will be, held.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.of.kind
    }
}
