//! The locks of one member, held or waited for. [`Engine`](crate::engine::Engine) decides what to acquire and release;
//! this is the only owner of the guards.

use std::collections::BTreeMap;

use stitch_common::offset::Partition;
use stitch_common::range::RangeId;
use stitch_protocol::checkpoint_node::OwnedCheckpoint;
use stitch_protocol::partition_lock::PartitionLock;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::revocation::RevocationRequest;
use tokio_util::sync::CancellationToken;

/// Every lock of one member.
#[derive(Default)]
pub(crate) struct Locks {
    pub(crate) ranges: LockTable<RangeId, RangeLock>,
    /// Each with the checkpoint that may be written under it.
    pub(crate) partitions: LockTable<Partition, (PartitionLock, OwnedCheckpoint)>,
}

/// Locks by their key. A lock that is taken out, to write under it or to release it, has no entry meanwhile.
pub(crate) struct LockTable<K, L> {
    held: BTreeMap<K, L>,
    waits: BTreeMap<K, CancellationToken>,
}

impl Locks {
    /// The ranges held that any of `requests` asks for.
    pub(crate) fn revoked(&self, requests: &[RevocationRequest]) -> Vec<RangeId> {
        let is_revoked = |range: RangeId, lock: &RangeLock| {
            lock.sequence()
                .is_some_and(|held| requests.iter().any(|request| request.asks(range, held)))
        };
        let revoked = self
            .ranges
            .held
            .iter()
            .filter(|(range, lock)| is_revoked(**range, lock));
        revoked.map(|(range, _)| *range).collect()
    }

    /// Abandons every lock that is held: it ends with the session.
    pub(crate) fn abandon(self) {
        self.ranges.into_held().for_each(RangeLock::abandon);
        for (lock, _) in self.partitions.into_held() {
            lock.abandon();
        }
    }
}

impl<K, L> Default for LockTable<K, L> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            waits: BTreeMap::new(),
        }
    }
}

impl<K: Copy + Ord, L> LockTable<K, L> {
    /// Records a wait, and returns the token that cancels it.
    pub(crate) fn wait(&mut self, key: K) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.waits.insert(key, cancel.clone());
        cancel
    }

    /// Removes a wait, and returns whether the lock is still wanted.
    pub(crate) fn end_wait(&mut self, key: K) -> bool {
        let wait = self.waits.remove(&key);
        wait.is_some_and(|cancel| !cancel.is_cancelled())
    }

    pub(crate) fn hold(&mut self, key: K, lock: L) {
        self.held.insert(key, lock);
    }

    /// Takes a held lock out; a wait for it is cancelled instead.
    pub(crate) fn take_or_cancel(&mut self, key: K) -> Option<L> {
        if let Some(cancel) = self.waits.get(&key) {
            cancel.cancel();
            return None;
        }
        self.held.remove(&key)
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = K> {
        self.held.keys().copied()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waits.is_empty()
    }

    pub(crate) fn cancel_waits(&self) {
        self.waits.values().for_each(CancellationToken::cancel);
    }

    pub(crate) fn into_held(self) -> impl Iterator<Item = L> {
        self.held.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_waited_for_then_held_then_taken() {
        let mut locks = LockTable::<u8, &str>::default();
        let cancel = locks.wait(1);
        assert_eq!(locks.take_or_cancel(1), None);
        assert!(cancel.is_cancelled() && locks.is_waiting());
        assert!(!locks.end_wait(1), "it was cancelled");
        locks.wait(1);
        assert!(locks.end_wait(1) && !locks.is_waiting());
        locks.hold(1, "lock");
        assert_eq!(locks.held().collect::<Vec<_>>(), [1]);
        assert_eq!(locks.take_or_cancel(1), Some("lock"));
        assert_eq!(locks.held().count(), 0);
    }
}
