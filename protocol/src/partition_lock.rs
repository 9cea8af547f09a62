//! The lock of a Kafka partition (rule P1, invariant I6): the one session that sends for its events.

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::Session;

use super::coordinator::Coordinator;
use super::lock::Lock;
use super::path;
use super::place::Place;

/// Which partition a lock is of.
#[derive(Debug)]
pub struct OfPartition(Partition);

/// The lock of one partition. Progress is written only with a check that its node exists, so a lock that was lost
/// without being noticed stops its former holder from writing. When it is given back, whatever was remembered of the
/// partition's progress is void (P7).
pub type PartitionLock = Lock<OfPartition>;

impl PartitionLock {
    /// A lock that nothing was done for yet.
    pub fn new<S: Session, C: Clock>(
        coordinator: &Coordinator<S, C>,
        partition: Partition,
    ) -> Self {
        let guid = coordinator.next_guid();
        let directory = coordinator.paths().partition(partition);
        let prefix = path::name::exclusive_place(guid);
        Self {
            of: OfPartition(partition),
            place: Place::new(directory, prefix, guid, Vec::new()),
        }
    }

    /// Which partition.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.of.0
    }
}
