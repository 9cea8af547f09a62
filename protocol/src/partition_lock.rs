//! The lock of a Kafka partition (rule P1, invariant I6): the one session that sends for its events.

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::Session;

use crate::lock::Lock;
use crate::namespace_session::NamespaceSession;
use crate::{path, rule};

/// The lock of one partition. Its checkpoint is written only with a check that the lock's node exists, so a lock that
/// was lost unnoticed stops its former holder from writing. Once it is given back, whatever was remembered of the
/// partition's checkpoint is void (P7).
pub type PartitionLock = Lock<Partition>;

impl PartitionLock {
    /// A lock of which ZooKeeper does not know yet.
    pub fn new<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        partition: Partition,
    ) -> Self {
        let guid = session.next_guid();
        let directory = session.paths().partition(partition);
        Self::with_target(
            partition,
            directory,
            path::name::exclusive_entry(guid),
            guid,
        )
        .with_data(session.member().as_str().into())
        .waiting_for_grant(rule::waits_for_partition_lock())
    }

    /// The partition that it locks.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.target
    }
}
