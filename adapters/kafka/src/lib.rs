//! The Kafka adapter: implements the ports of [`stitch_common::ports`] to the event log. The only crate that depends on
//! librdkafka.
//!
//! Start with [`KafkaLog`], which implements [`EventLog`]. Each purpose has a client of its own:
//! - [`KafkaFeed`] reads records of assigned partitions from given offsets, and belongs to no group;
//! - [`KafkaGroup`] is a member of the consumer group: it receives assignments, commits offsets, and reads no records;
//! - [`KafkaDeadLetters`] copies rejected records to the dead-letter topic;
//! - `MetadataClient` asks the brokers for partitions, offsets and commits, and never fetches.
//!
//! `client_config` has every property that Stitch sets; `error` sorts the client's errors by what a caller can do, and `denial`
//! names the file or the user of those that are about trust; `rights` finds out what this client may do.
//!
//! Not here: what a record means, which process reads which partition, and where reading starts. The crates above the
//! ports decide that.

mod client_config;
mod context;
mod denial;
mod error;
mod patience;
#[cfg(test)]
mod refusal_tests;
mod repeats;
mod metadata_client;
mod fingerprint;
mod feed;
mod group;
mod dead_letters;
mod admin;
mod rights;

use std::collections::BTreeMap;
use std::sync::Arc;

use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{Bounds, EventLog, Fingerprint, LogError, LogIdentity};
use stitch_common::server_failure::ServerFailure;
use stitch_config::Kafka;

use self::metadata_client::MetadataClient;

pub use self::admin::{TopicCreation, TopicDescription};
pub use self::dead_letters::KafkaDeadLetters;
pub use self::denial::known_as;
pub use self::feed::KafkaFeed;
pub use self::group::{KafkaAck, KafkaGroup};

/// The event topic on real brokers. Clones share the metadata client.
#[derive(Clone)]
pub struct KafkaLog {
    kafka: Kafka,
    metadata: Arc<MetadataClient>,
}

impl KafkaLog {
    /// The event topic of this configuration. Connects at the first request.
    ///
    /// # Errors
    /// The client refused its configuration.
    pub fn new(kafka: &Kafka) -> Result<Self, LogError> {
        Ok(Self {
            kafka: kafka.clone(),
            metadata: Arc::new(MetadataClient::new(kafka)?),
        })
    }

    /// Describes a topic; `None` if there is none of that name.
    ///
    /// # Errors
    /// The brokers did not answer, or refused.
    pub async fn describe(&self, topic: &str) -> Result<Option<TopicDescription>, LogError> {
        let described = admin::describe(&self.kafka, &self.metadata, topic).await;
        let described = described.map_err(|error| self.metadata.named(error));
        let question = if topic == self.kafka.topic {
            "topic"
        } else {
            "dead-letter topic"
        };
        self.metadata.judge(question, described)
    }

    /// Creates every client that any program would create, and closes it again: a configuration that this accepts is
    /// refused to none of them.
    ///
    /// # Errors
    /// librdkafka refused a property, or a pair of them; the message names it, and no value.
    pub async fn try_clients(&self) -> Result<(), LogError> {
        let kafka = self.kafka.clone();
        let tried = tokio::task::spawn_blocking(move || client_config::try_every_role(&kafka));
        tried
            .await
            .map_err(|ended| LogError::Unavailable(format!("creating Kafka's clients: {ended}")))?
    }

    /// Creates the dead-letter topic if it is missing: one partition, as many replicas as the event topic has, nothing
    /// ever deleted.
    ///
    /// # Errors
    /// No answer, no permission, no event topic; or a policy of the brokers refuses its properties: then the help has the
    /// command that creates it by hand.
    pub async fn create_dead_letter_topic(&self) -> Result<TopicCreation, ServerFailure> {
        admin::create_dead_letter_topic(&self.kafka, &self.metadata).await
    }
}

impl EventLog for KafkaLog {
    type Feed = KafkaFeed;
    type Group = KafkaGroup;
    type DeadLetters = KafkaDeadLetters;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        self.metadata
            .query("partitions", MetadataClient::partitions)
            .await
    }

    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        let (of_begins, of_ends) = (partitions.to_vec(), partitions.to_vec());
        let (begins, ends) = tokio::try_join!(
            self.metadata
                .query("begins", move |client| client.begins(&of_begins)),
            self.metadata
                .query("ends", move |client| client.ends(&of_ends)),
        )?;
        Ok(metadata_client::pair(&begins, &ends))
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        let topic = self.kafka.topic.clone();
        let missing = || LogError::Refused(format!("there is no topic {topic}; create it"));
        let described = match self.describe(&topic).await {
            Ok(described) => Some(described.ok_or_else(missing)),
            // Whoever may see the topic, and not its settings.
            Err(LogError::Denied(_)) if self.partitions().await.is_ok() => None,
            Err(error) => return Err(error),
        };
        let described = described.transpose();
        let described = self.metadata.judge("identity", described)?;
        let cleanup_policy = described.map(|described| described.cleanup_policy);
        let cleanup_policy = cleanup_policy.unwrap_or_default();
        let kafka = self.kafka.clone();
        let (cluster, fingerprints) = self
            .metadata
            .query("first records", move |client| {
                let bounds = client.bounds(&client.partitions()?)?;
                Ok((
                    client.cluster()?,
                    fingerprint::records_from(&kafka, &bounds, &Offsets::default())?,
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

    async fn committed(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Offset>, LogError> {
        let partitions = partitions.to_vec();
        self.metadata
            .query("committed", move |client| client.committed(&partitions))
            .await
    }

    async fn records_from(
        &self,
        offsets: &Offsets,
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
        let (kafka, offsets) = (self.kafka.clone(), offsets.clone());
        self.metadata
            .query("records", move |client| {
                let partitions: Vec<_> = offsets.0.keys().copied().collect();
                fingerprint::records_from(&kafka, &client.bounds(&partitions)?, &offsets)
            })
            .await
    }

    async fn feed(&self) -> Result<KafkaFeed, LogError> {
        let partitions = self.partitions().await?.len();
        KafkaFeed::new(&self.kafka, partitions, &self.metadata)
    }

    async fn join(&self) -> Result<KafkaGroup, LogError> {
        KafkaGroup::new(&self.kafka)
    }

    async fn dead_letters(&self) -> Result<KafkaDeadLetters, LogError> {
        KafkaDeadLetters::new(&self.kafka)
    }
}
