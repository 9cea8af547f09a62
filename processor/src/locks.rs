//! The locks of one member, held or waited for. [`Engine`](crate::engine::Engine) decides what to acquire and release;
//! this is the only owner of the guards.

use std::collections::BTreeMap;

use stitch_common::offset::Partition;
use stitch_common::range::RangeId;
use stitch_protocol::checkpoint_node::KnownCheckpoint;
use stitch_protocol::partition_lock::PartitionLock;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::revocation::RevocationRequest;
use tokio_util::sync::CancellationToken;

/// Every lock of one member.
#[derive(Default)]
pub(crate) struct Locks {
    pub(crate) ranges: LockTable<RangeId, RangeLock>,
    /// Each with the checkpoint that may be written under it.
    pub(crate) partitions: LockTable<Partition, (PartitionLock, KnownCheckpoint)>,
}

/// Locks by what they lock. A lock that is taken out, to write under it or to release it, has no entry meanwhile.
pub(crate) struct LockTable<K, L>(BTreeMap<K, Entry<L>>);

enum Entry<L> {
    Waiting(CancellationToken),
    Held(L),
}

impl Locks {
    /// The ranges held that any of `requests` asks for.
    pub(crate) fn revoked(&self, requests: &[RevocationRequest]) -> Vec<RangeId> {
        let is_revoked = |range: RangeId, lock: &RangeLock| {
            lock.sequence()
                .is_some_and(|held| requests.iter().any(|request| request.asks(range, held)))
        };
        self.ranges
            .held()
            .filter(|(range, lock)| is_revoked(*range, lock))
            .map(|(range, _)| range)
            .collect()
    }

    /// Abandons every lock that is held: it ends with the session.
    pub(crate) fn abandon(self) {
        self.ranges.into_held().for_each(RangeLock::abandon);
        let partitions = self.partitions.into_held();
        partitions.for_each(|(lock, _)| lock.abandon());
    }
}

impl<K, L> Default for LockTable<K, L> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Copy + Ord, L> LockTable<K, L> {
    /// Records a wait, and returns what cancels it.
    pub(crate) fn wait(&mut self, key: K) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.0.insert(key, Entry::Waiting(cancel.clone()));
        cancel
    }

    /// Whether the lock is waited for, and the wait was not cancelled.
    pub(crate) fn is_wanted(&self, key: K) -> bool {
        matches!(self.0.get(&key), Some(Entry::Waiting(cancel)) if !cancel.is_cancelled())
    }

    pub(crate) fn hold(&mut self, key: K, lock: L) {
        self.0.insert(key, Entry::Held(lock));
    }

    /// Takes a held lock out; a wait for it is cancelled instead.
    pub(crate) fn take_or_cancel(&mut self, key: K) -> Option<L> {
        match self.0.remove(&key)? {
            Entry::Held(lock) => Some(lock),
            Entry::Waiting(cancel) => {
                cancel.cancel();
                self.0.insert(key, Entry::Waiting(cancel));
                None
            }
        }
    }

    /// Removes a wait that has ended.
    pub(crate) fn remove(&mut self, key: K) {
        self.0.remove(&key);
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = (K, &L)> {
        self.0.iter().filter_map(|(key, entry)| match entry {
            Entry::Held(lock) => Some((*key, lock)),
            Entry::Waiting(_) => None,
        })
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waits().next().is_some()
    }

    pub(crate) fn cancel_waits(&self) {
        self.waits().for_each(CancellationToken::cancel);
    }

    pub(crate) fn into_held(self) -> impl Iterator<Item = L> {
        self.0.into_values().filter_map(|entry| match entry {
            Entry::Held(lock) => Some(lock),
            Entry::Waiting(_) => None,
        })
    }

    fn waits(&self) -> impl Iterator<Item = &CancellationToken> {
        self.0.values().filter_map(|entry| match entry {
            Entry::Waiting(cancel) => Some(cancel),
            Entry::Held(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_waited_for_then_held_then_taken() {
        let mut locks = LockTable::<u8, &str>::default();
        let cancel = locks.wait(1);
        assert!(locks.is_wanted(1) && locks.is_waiting());
        assert_eq!(locks.take_or_cancel(1), None);
        assert!(cancel.is_cancelled() && !locks.is_wanted(1) && locks.is_waiting());
        locks.hold(1, "lock");
        assert!(!locks.is_waiting());
        assert_eq!(locks.held().collect::<Vec<_>>(), [(1, &"lock")]);
        assert_eq!(locks.take_or_cancel(1), Some("lock"));
        assert_eq!(locks.held().count(), 0);
    }
}
