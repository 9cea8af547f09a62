//! Questions to the brokers, each answered by them at that moment.
//!
//! One client asks all of them. It never fetches, so no question waits behind a fetch on its connections, and it is
//! kept, so that none waits for a connection to be made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::sync::oneshot;

use crate::client_config::{Role, client_config};
use crate::context::Complaints;
use crate::error::{explained, log_error, log_error_of_code};
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::config::Kafka;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, LogError};

/// How long an answer is waited for.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before a partition whose leader moves is asked about again.
const LEADER_PAUSE: Duration = Duration::from_millis(50);

/// How many of the client's complaints are served behind a question.
const MESSAGES_SERVED_MAX: usize = 1000;

/// How long the client's messages are served behind a question.
const SERVE_TIMEOUT: Duration = Duration::from_millis(5);

/// Asks. Every function blocks its thread until the brokers have answered or [`ANSWER_TIMEOUT`] is over.
pub(super) struct Asking {
    consumer: BaseConsumer<Complaints>,
    topic: String,
}

impl Asking {
    /// A client that asks about the event topic.
    pub(super) fn new(kafka: &Kafka) -> Result<Self, LogError> {
        let consumer = client_config(&kafka.client, Role::Asking)
            .create_with_context(Complaints::default())
            .map_err(|error| log_error("making the client that asks", &error))?;
        Ok(Self {
            consumer,
            topic: kafka.topic.clone(),
        })
    }

    /// Asks on a thread that may block.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Self) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let asking = Arc::clone(self);
        let (answers, answer) = oneshot::channel();
        let asked = tokio::task::spawn_blocking(move || {
            let answered = question(&asking).map_err(|error| asking.explain(error));
            if answered.is_ok() {
                asking.consumer.context().settle();
            }
            // Nobody may wait for it any more.
            answers.send(answered).ok();
            // Nobody else polls this client, and what it has to say for the log would pile up.
            asking.serve_messages();
        });
        match answer.await {
            Ok(answered) => answered,
            // The question panicked, or the runtime ends.
            Err(_dropped) => Err(match asked.await {
                Err(ended) => LogError::Unavailable(format!("the question ended: {ended}")),
                Ok(()) => LogError::Unavailable("the question ended".to_owned()),
            }),
        }
    }

    /// With what the client complained of since it was last answered.
    fn explain(&self, error: LogError) -> LogError {
        self.serve_messages();
        explained(error, self.consumer.context().last())
    }

    fn serve_messages(&self) {
        for _ in 0..MESSAGES_SERVED_MAX {
            // A poll serves every message for the log that it meets in this time, and ends at an error.
            if self.consumer.poll(SERVE_TIMEOUT).is_none() {
                return;
            }
        }
    }

    /// Every partition of the event topic.
    pub(super) fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        let doing = format!("asking for the partitions of the topic {}", self.topic);
        let metadata = self
            .consumer
            .fetch_metadata(Some(&self.topic), ANSWER_TIMEOUT)
            .map_err(|error| log_error(&doing, &error))?;
        let topic = metadata
            .topics()
            .iter()
            .find(|topic| topic.name() == self.topic)
            .ok_or_else(|| {
                LogError::Unavailable(format!("{doing}: the answer does not name it"))
            })?;
        if let Some(error) = topic.error() {
            return Err(log_error_of_code(&doing, RDKafkaErrorCode::from(error)));
        }
        let mut partitions: Vec<Partition> = topic
            .partitions()
            .iter()
            .map(|partition| Partition(partition.id()))
            .collect();
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// How many replicas each partition of the event topic has; the smallest number.
    pub(super) fn replication(&self, topic: &str) -> Result<Option<Replication>, LogError> {
        let doing = format!("asking for the replicas of the topic {topic}");
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
            .map_err(|error| log_error(&doing, &error))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(None),
            Some(code) => return Err(log_error_of_code(&doing, code)),
        }
        let replicas = found
            .partitions()
            .iter()
            .map(|partition| partition.replicas().len())
            .min();
        Ok(Some(Replication {
            partitions: found.partitions().len(),
            replicas: replicas.unwrap_or(0),
        }))
    }

    /// Kafka's id of the cluster.
    pub(super) fn cluster(&self) -> Result<String, LogError> {
        self.consumer
            .client()
            .fetch_cluster_id(ANSWER_TIMEOUT)
            .ok_or_else(|| {
                LogError::Unavailable("asking for the cluster's id: no answer".to_owned())
            })
    }

    /// The first offset of each partition that can be read.
    pub(super) fn begins(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Offset>, LogError> {
        self.ends_of(partitions, rdkafka::Offset::Beginning)
    }

    /// The offset behind the last record of each partition that a reader of committed records can be given.
    pub(super) fn ends(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Offset>, LogError> {
        self.ends_of(partitions, rdkafka::Offset::End)
    }

    /// Where each partition begins and ends.
    pub(super) fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        Ok(pair(&self.begins(partitions)?, &self.ends(partitions)?))
    }

    /// One request to each leader, whatever the number of partitions. The client's own offsets of first and last
    /// records would be a request for each partition, or kept from an earlier answer.
    fn ends_of(
        &self,
        partitions: &[Partition],
        which: rdkafka::Offset,
    ) -> Result<BTreeMap<Partition, Offset>, LogError> {
        let topic = &self.topic;
        let doing = format!("asking where the partitions of the topic {topic} begin and end");
        let clock = SystemClock;
        let until = clock.now().plus(ANSWER_TIMEOUT);
        loop {
            match self.ends_once(partitions, which) {
                Ok(ends) => return Ok(ends),
                Err(error) if leader_moves(&error) && clock.now() < until => {
                    // The client has forgotten the leader that it knew, and asks who it is now.
                    std::thread::sleep(LEADER_PAUSE);
                }
                Err(error) => return Err(log_error(&doing, &error)),
            }
        }
    }

    fn ends_once(
        &self,
        partitions: &[Partition],
        which: rdkafka::Offset,
    ) -> KafkaResult<BTreeMap<Partition, Offset>> {
        let mut found = BTreeMap::new();
        if partitions.is_empty() {
            return Ok(found);
        }
        let mut wanted = self.list(partitions);
        wanted.set_all_offsets(which)?;
        let answer = self.consumer.offsets_for_times(wanted, ANSWER_TIMEOUT)?;
        for element in answer.elements() {
            element.error()?;
            let rdkafka::Offset::Offset(offset) = element.offset() else {
                return Err(KafkaError::OffsetFetch(
                    RDKafkaErrorCode::OffsetNotAvailable,
                ));
            };
            found.insert(Partition(element.partition()), Offset(offset));
        }
        Ok(found)
    }

    /// What the group has committed. The client does not join it for that.
    pub(super) fn committed(&self) -> Result<BTreeMap<Partition, Offset>, LogError> {
        let doing = "asking what the group has committed";
        let wanted = self.list(&self.partitions()?);
        let answer = self
            .consumer
            .committed_offsets(wanted, ANSWER_TIMEOUT)
            .map_err(|error| log_error(doing, &error))?;
        let mut committed = BTreeMap::new();
        for element in answer.elements() {
            element.error().map_err(|error| log_error(doing, &error))?;
            // Any other offset says that nothing was committed.
            if let rdkafka::Offset::Offset(offset) = element.offset() {
                committed.insert(Partition(element.partition()), Offset(offset));
            }
        }
        Ok(committed)
    }

    fn list(&self, partitions: &[Partition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, partition.0);
        }
        list
    }
}

/// Whether a partition has, or just had, no leader that could answer: the next one will, as a rule within a second.
fn leader_moves(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::OffsetNotAvailable
        )
    )
}

/// How a topic is spread over the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replication {
    /// How many partitions it has.
    pub(super) partitions: usize,
    /// How many replicas the partition with the fewest has.
    pub(super) replicas: usize,
}

/// Begins and ends of the same partitions, together.
pub(super) fn pair(
    begins: &BTreeMap<Partition, Offset>,
    ends: &BTreeMap<Partition, Offset>,
) -> BTreeMap<Partition, Bounds> {
    begins
        .iter()
        .filter_map(|(partition, begin)| {
            let end = ends.get(partition)?;
            Some((
                *partition,
                Bounds {
                    begin: *begin,
                    end: *end,
                },
            ))
        })
        .collect()
}
