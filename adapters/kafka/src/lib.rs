//! Kafka: the only importer of its client.
//!
//! Records come through a feed, which has nothing to do with the group; the group deals partitions out and is told
//! commits, and gives no records. Questions are asked by a third client, which never fetches.
//!
//! What is not here: what a record means, which partition is read by whom, and where reading starts. All of that is
//! decided above the ports.

mod client_config;
mod context;
mod error;
mod asking;
mod fingerprint;
mod feed;
mod group;
mod dead_letters;
mod admin;

use std::collections::BTreeMap;
use std::sync::Arc;

use stitch_common::config::Kafka;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, EventLog, LogError, LogIdentity};

use self::asking::Asking;

pub use self::admin::{Made, TopicDescription};
pub use self::dead_letters::KafkaDeadLetters;
pub use self::feed::KafkaFeed;
pub use self::group::{KafkaAck, KafkaGroup};

/// The event topic on real brokers. Clones share the client that asks.
#[derive(Clone)]
pub struct KafkaLog {
    kafka: Kafka,
    asking: Arc<Asking>,
}

impl KafkaLog {
    /// The event topic of this configuration. Connects when first asked.
    ///
    /// # Errors
    /// The client refused its configuration.
    pub fn new(kafka: &Kafka) -> Result<Self, LogError> {
        Ok(Self {
            kafka: kafka.clone(),
            asking: Arc::new(Asking::new(kafka)?),
        })
    }

    /// What a topic is like; `None` if there is none of that name.
    ///
    /// # Errors
    /// As told; may be repeated.
    pub async fn describe(&self, topic: &str) -> Result<Option<TopicDescription>, LogError> {
        admin::describe(&self.kafka, &self.asking, topic).await
    }

    /// Makes the topic of rejected records if it is missing: one partition, as many replicas as the event topic has,
    /// nothing ever deleted.
    ///
    /// # Errors
    /// No answer, no permission, or no event topic.
    pub async fn create_dead_letter_topic(&self) -> Result<Made, LogError> {
        admin::create_dead_letter_topic(&self.kafka, &self.asking).await
    }
}

impl EventLog for KafkaLog {
    type Feed = KafkaFeed;
    type Group = KafkaGroup;
    type DeadLetters = KafkaDeadLetters;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        self.asking.ask(Asking::partitions).await
    }

    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        let (of_begins, of_ends) = (partitions.to_vec(), partitions.to_vec());
        let (begins, ends) = tokio::try_join!(
            self.asking.ask(move |asking| asking.begins(&of_begins)),
            self.asking.ask(move |asking| asking.ends(&of_ends)),
        )?;
        Ok(asking::pair(&begins, &ends))
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        let topic = self.kafka.topic.clone();
        let described = self.describe(&topic).await?;
        let cleanup_policy = described
            .ok_or_else(|| LogError::Refused(format!("there is no topic {topic}; create it")))?
            .cleanup_policy;
        let kafka = self.kafka.clone();
        let (cluster, fingerprints) = self
            .asking
            .ask(move |asking| {
                let bounds = asking.bounds(&asking.partitions()?)?;
                Ok((
                    asking.cluster()?,
                    fingerprint::first_records(&kafka, &bounds)?,
                ))
            })
            .await?;
        Ok(LogIdentity {
            cluster,
            topic,
            cleanup_policy,
            fingerprints,
        })
    }

    async fn committed(&self) -> Result<BTreeMap<Partition, Offset>, LogError> {
        self.asking.ask(Asking::committed).await
    }

    async fn feed(&self) -> Result<KafkaFeed, LogError> {
        KafkaFeed::new(&self.kafka, &self.asking)
    }

    async fn join(&self) -> Result<KafkaGroup, LogError> {
        KafkaGroup::new(&self.kafka)
    }

    async fn dead_letters(&self) -> Result<KafkaDeadLetters, LogError> {
        KafkaDeadLetters::new(&self.kafka)
    }
}
