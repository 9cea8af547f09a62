//! The lock of a Kafka partition (rule P1, invariant I6): the one session that sends for its events.

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::Session;

use crate::lock::Lock;
use crate::lock_entry::LockEntry;
use crate::namespace_session::NamespaceSession;
use crate::path;

/// Which partition a lock is of.
#[derive(Debug)]
pub struct OfPartition(Partition);

/// The lock of one partition. Checkpoint is written only with a check that its node exists, so a lock that was lost
/// without being noticed stops its former holder from writing. When it is given back, whatever was remembered of the
/// partition's progress is void (P7).
pub type PartitionLock = Lock<OfPartition>;

impl PartitionLock {
    /// A lock that nothing was done for yet.
    pub fn new<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        partition: Partition,
    ) -> Self {
        let guid = session.next_guid();
        let directory = session.paths().partition(partition);
        let prefix = path::name::exclusive_entry(guid);
        Self {
            of: OfPartition(partition),
            place: LockEntry::new(directory, prefix, guid, Vec::new()),
        }
    }

    /// Which partition.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.of.0
    }
}
