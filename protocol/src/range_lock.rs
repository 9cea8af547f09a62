//! The lock of a range: shared by the processors that send to it (rule P2), exclusive for the restoration of it (R2).

use stitch_common::clock::Clock;
use stitch_common::ports::Session;
use stitch_common::range::RangeId;

use crate::contender::Kind;
use crate::lock::Lock;
use crate::namespace_session::NamespaceSession;
use crate::{path, rule};

/// A lock of one range.
pub type RangeLock = Lock<(RangeId, Kind)>;

impl RangeLock {
    /// A lock of this kind, of which ZooKeeper does not know yet.
    pub fn new<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        range: RangeId,
        kind: Kind,
    ) -> Self {
        let guid = session.next_guid();
        let directory = session.paths().range(range);
        let prefix = path::name::range_entry(guid, kind);
        Self::with_target((range, kind), directory, prefix, guid)
            .with_data(session.member().as_str().into())
            .waiting_for_grant(rule::waits_for_range_lock(kind))
    }

    /// The range that it locks.
    #[must_use]
    pub const fn range(&self) -> RangeId {
        self.target.0
    }

    /// How it is, or will be, held.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.target.1
    }
}
