//! Fingerprints of the topic: the first record of each partition is kept in ZooKeeper as soon as there is one, so that a
//! topic created again under the same name is recognized as another one (design, section 6).
//!
//! They are stored when a process joins. After that only a partition that had no record then can be missing, and its first
//! delivery shows it: nobody asks Kafka for it before. What is missing is stored while the partition is counted, and before the
//! process leaves. Now and then they are compared with what Kafka has: its client goes on at the old offset in a topic that was
//! created again and is longer than the old one was.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::{EventLog, Fingerprint, LogError, Session};
use stitch_protocol::NamespaceSession;
use stitch_protocol::namespace;
use tokio::sync::Notify;

/// The pause after Kafka was asked, answered or not.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Coordination(#[from] stitch_protocol::Error),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The first records that are stored, as far as this member knows.
#[derive(Debug)]
pub(crate) struct Fingerprints {
    stored: RefCell<BTreeMap<Partition, Fingerprint>>,
    /// The partitions that begin with another record than the stored one.
    recreated: RefCell<BTreeSet<Partition>>,
    /// The partitions that have delivered records, and whose first one is not stored.
    missing: RefCell<BTreeSet<Partition>>,
    found_missing: Notify,
}

impl Fingerprints {
    pub(crate) fn new(stored: BTreeMap<Partition, Fingerprint>) -> Self {
        Self {
            stored: RefCell::new(stored),
            recreated: RefCell::default(),
            missing: RefCell::default(),
            found_missing: Notify::new(),
        }
    }

    /// Records of this partition were delivered.
    pub(crate) fn on_records(&self, partition: Partition) {
        if !self.stored.borrow().contains_key(&partition) {
            self.missing.borrow_mut().insert(partition);
            self.found_missing.notify_one();
        }
    }

    /// Compares what Kafka has now with what is stored, and returns the partitions of a topic that was created again. A
    /// first record behind the stored one is no sign of that: records at the beginning were deleted.
    pub(crate) fn compare(&self, now: &BTreeMap<Partition, Fingerprint>) -> Vec<Partition> {
        let stored = self.stored.borrow();
        let is_other = |(partition, first): &(&Partition, &Fingerprint)| {
            stored
                .get(*partition)
                .is_some_and(|stored| stored != *first && first.offset <= stored.offset)
        };
        let (others, same): (Vec<_>, Vec<_>) = now.iter().partition(is_other);
        let mut recreated = self.recreated.borrow_mut();
        for (partition, _) in same {
            recreated.remove(partition);
        }
        let others: Vec<_> = others
            .into_iter()
            .map(|(partition, _)| *partition)
            .collect();
        recreated.extend(&others);
        others
    }

    /// Whether the partition is one of a topic that was created again, as of the last comparison.
    pub(crate) fn is_recreated(&self, partition: Partition) -> bool {
        self.recreated.borrow().contains(&partition)
    }

    /// The partitions for which that is so.
    pub(crate) fn recreated(&self) -> BTreeSet<Partition> {
        self.recreated.borrow().clone()
    }

    /// Stores what is missing until it is dropped: it runs alongside the counting.
    pub(crate) async fn record<S: Session, C: Clock, L: EventLog>(
        &self,
        session: &NamespaceSession<S, C>,
        log: &L,
    ) -> Infallible {
        loop {
            self.found_missing.notified().await;
            self.store_at_last(session, log).await;
            session.clock().sleep(PAUSE).await;
        }
    }

    /// Stores what is missing when the counting has ended, within this time: without it nobody would ever know that another
    /// topic of the same name is not the one that was counted.
    pub(crate) async fn record_last<S: Session, C: Clock, L: EventLog>(
        &self,
        session: &NamespaceSession<S, C>,
        log: &L,
        within: Duration,
    ) {
        if self.missing.borrow().is_empty() {
            return;
        }
        tokio::select! {
            biased;
            () = self.store_at_last(session, log) => {}
            () = session.clock().sleep(within) => {
                tracing::warn!(partitions = ?self.missing.borrow(), "first records not stored in time");
            }
        }
    }

    async fn store_at_last<S: Session, C: Clock, L: EventLog>(
        &self,
        session: &NamespaceSession<S, C>,
        log: &L,
    ) {
        while let Err(error) = self.store(session, log).await {
            tracing::debug!(%error, "first records not stored, retrying");
            session.clock().sleep(PAUSE).await;
        }
    }

    async fn store<S: Session, C: Clock, L: EventLog>(
        &self,
        session: &NamespaceSession<S, C>,
        log: &L,
    ) -> Result<(), Error> {
        let identity = log.identity().await?;
        namespace::remember_log(session, &identity).await?;
        let mut stored = self.stored.borrow_mut();
        for (partition, first) in identity.fingerprints {
            stored.entry(partition).or_insert(first);
            self.missing.borrow_mut().remove(&partition);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stitch_common::offset::Offset;

    use super::*;

    const P: Partition = Partition(3);

    fn first(offset: i64, checksum: u32) -> BTreeMap<Partition, Fingerprint> {
        let first = Fingerprint {
            offset: Offset(offset),
            timestamp_ms: Some(1),
            checksum,
        };
        BTreeMap::from([(P, first)])
    }

    #[test]
    fn another_first_record_is_another_topic_unless_the_stored_one_was_deleted() {
        let fingerprints = Fingerprints::new(first(5, 7));
        for (now, recreated) in [
            (first(5, 7), false),
            (first(5, 8), true),
            (first(0, 7), true),
            (first(5, 7), false),
            (first(9, 8), false),
            (BTreeMap::new(), false),
        ] {
            let found = fingerprints.compare(&now);
            assert_eq!(found, if recreated { vec![P] } else { vec![] }, "{now:?}");
            assert_eq!(fingerprints.is_recreated(P), recreated);
        }
        let unknown = Fingerprints::new(BTreeMap::new());
        assert_eq!(unknown.compare(&first(0, 1)), []);
    }
}
