//! Acknowledgements of revoked partitions: the group waits until they are released.

use std::collections::BTreeSet;

use stitch_common::offset::Partition;
use stitch_common::ports::RevokeAck;

/// The acknowledgements that are due, each once its partitions are released.
pub(super) struct RevokeAcks<Ack>(Vec<(BTreeSet<Partition>, Ack)>);

impl<Ack: RevokeAck> RevokeAcks<Ack> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn add(&mut self, partitions: BTreeSet<Partition>, ack: Ack) {
        self.0.push((partitions, ack));
    }

    /// Acknowledges each revocation of which no partition `is_owned` any more.
    pub(super) fn acknowledge(&mut self, is_owned: impl Fn(Partition) -> bool) {
        for (partitions, _) in &mut self.0 {
            partitions.retain(|partition| is_owned(*partition));
        }
        while let Some(index) = self.0.iter().position(|(owned, _)| owned.is_empty()) {
            let (_, ack) = self.0.swap_remove(index);
            ack.done();
        }
    }
}
