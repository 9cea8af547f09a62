//! The port to Kafka, as a process has it.

use std::collections::BTreeMap;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{
    Bounds, DeadLetters, EventLog, Fingerprint, LogError, LogIdentity, Record,
};

use super::feed::SimFeed;
use super::group::SimGroup;
use crate::world::{Handle, World};

/// What the log is, as far as it can be told; for the namespace's definition, too.
pub(crate) fn identity(world: &World) -> LogIdentity {
    let records = world.topic.records.borrow();
    let first = records.iter().enumerate().filter_map(|(partition, log)| {
        log.first()?;
        let fingerprint = Fingerprint {
            offset: Offset(0),
            timestamp_ms: Some(0),
            checksum: 7,
        };
        Some((number(partition), fingerprint))
    });
    LogIdentity {
        cluster: "kafka".to_owned(),
        topic: "events".to_owned(),
        cleanup_policy: "delete".to_owned(),
        fingerprints: first.collect(),
    }
}

pub(super) fn number(partition: usize) -> Partition {
    Partition(i32::try_from(partition).unwrap_or(i32::MAX))
}

pub(super) fn index(partition: Partition) -> usize {
    usize::try_from(partition.0).unwrap_or(usize::MAX)
}

impl Handle {
    /// One round trip to the brokers.
    pub(super) async fn ask_brokers(&self) -> Result<(), LogError> {
        let world = &self.world;
        world.executor.until(world.now() + world.net()).await;
        if world.broker_answers() {
            return Ok(());
        }
        world.executor.until(world.now() + 50_000).await;
        Err(LogError::Unavailable("no broker answers".to_owned()))
    }

    async fn back(&self) {
        let world = &self.world;
        world.executor.until(world.now() + world.net()).await;
    }
}

impl EventLog for Handle {
    type Feed = SimFeed;
    type Group = SimGroup;
    type DeadLetters = Self;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        self.ask_brokers().await?;
        let count = self.world.topic.records.borrow().len();
        Ok((0..count).map(number).collect())
    }

    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        self.ask_brokers().await?;
        let bounds = {
            let records = self.world.topic.records.borrow();
            let bounds = |partition: &Partition| {
                let log = records.get(index(*partition))?;
                let bounds = Bounds {
                    begin: Offset(0),
                    end: Offset(i64::try_from(log.len()).unwrap_or(i64::MAX)),
                };
                Some((*partition, bounds))
            };
            partitions.iter().filter_map(bounds).collect()
        };
        self.back().await;
        Ok(bounds)
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        self.ask_brokers().await?;
        Ok(identity(&self.world))
    }

    async fn committed(&self) -> Result<BTreeMap<Partition, Offset>, LogError> {
        self.ask_brokers().await?;
        let committed = {
            let committed = self.world.topic.committed.borrow();
            let told = committed.iter();
            told.map(|(partition, offset)| (Partition(*partition), Offset(*offset)))
                .collect()
        };
        self.back().await;
        Ok(committed)
    }

    async fn feed(&self) -> Result<SimFeed, LogError> {
        Ok(SimFeed::new(self.clone()))
    }

    async fn join(&self) -> Result<SimGroup, LogError> {
        Ok(SimGroup::join(self))
    }

    async fn dead_letters(&self) -> Result<Self, LogError> {
        Ok(self.clone())
    }
}

impl DeadLetters for Handle {
    async fn put(
        &self,
        partition: Partition,
        record: &Record,
        _reason: &str,
    ) -> Result<(), LogError> {
        self.ask_brokers().await?;
        let copied = (partition.0, record.offset.0);
        self.world.topic.dead_letters.borrow_mut().push(copied);
        self.back().await;
        Ok(())
    }
}
