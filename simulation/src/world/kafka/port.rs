//! The port to Kafka of one process.

use std::collections::BTreeMap;

use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    Bounds, DeadLetters, EventLog, Fingerprint, LogError, LogIdentity, Record,
};
use stitch_testkit::kafka::Log;

use super::feed::SimFeed;
use super::group::SimGroup;
use crate::world::Handle;

impl Handle {
    /// Sends a request to the brokers.
    pub(super) async fn ask_brokers(&self) -> Result<(), LogError> {
        let world = &self.world;
        world.hop().await;
        if world.broker_answers() {
            let unauthorized = world.kafka.unauthorized.get();
            let refusal = || LogError::Refused("topic authorization failed".to_owned());
            return if unauthorized { Err(refusal()) } else { Ok(()) };
        }
        world.executor.until(world.now() + 50_000).await;
        Err(LogError::Unavailable("no broker answers".to_owned()))
    }
}

impl EventLog for Handle {
    type Feed = SimFeed;
    type Group = SimGroup;
    type DeadLetters = Self;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        self.ask_brokers().await?;
        let partitions = |log: &Log| log.partitions().collect();
        Ok(self.world.log_for(&self.process, partitions))
    }

    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        self.ask_brokers().await?;
        let bounds = |log: &Log| log.bounds(partitions);
        let bounds = self.world.log_for(&self.process, bounds);
        self.world.hop().await;
        Ok(bounds)
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        self.ask_brokers().await?;
        Ok(self.world.log_for(&self.process, Log::identity))
    }

    async fn committed(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Offset>, LogError> {
        self.ask_brokers().await?;
        let mut committed = self.world.kafka.committed.borrow().clone();
        committed.retain(|partition, _| partitions.contains(partition));
        self.world.hop().await;
        Ok(committed)
    }

    async fn records_from(
        &self,
        offsets: &Offsets,
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
        self.ask_brokers().await?;
        let records_from = |log: &Log| log.records_from(offsets);
        let found = self.world.log_for(&self.process, records_from);
        self.world.hop().await;
        Ok(found)
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
        self.world.hop().await;
        if self.world.kafka.refuses_dead_letters.get() {
            return Err(LogError::Refused("message size too large".to_owned()));
        }
        self.ask_brokers().await?;
        let copied = (partition.0, record.offset.0);
        self.world.kafka.dead_letters.borrow_mut().push(copied);
        self.world.hop().await;
        Ok(())
    }
}
