//! The lock of a range: shared by the processors that send to it (rule P2), exclusive for the restoration of it (R2).

use stitch_common::clock::Clock;
use stitch_common::ports::Session;
use stitch_common::range::RangeId;

use crate::contender::Kind;
use crate::lock::Lock;
use crate::lock_entry::LockEntry;
use crate::namespace_session::NamespaceSession;
use crate::path;

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
        session: &NamespaceSession<S, C>,
        range: RangeId,
        kind: Kind,
    ) -> Self {
        let guid = session.next_guid();
        let directory = session.paths().range(range);
        let prefix = path::name::range_entry(guid, kind);
        Self {
            of: OfRange { range, kind },
            place: LockEntry::new(directory, prefix, guid, Vec::new()),
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
