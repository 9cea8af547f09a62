//! Metadata requests, each answered by the brokers at that moment.
//!
//! One client sends all of them. It never fetches, so no request queues behind a fetch on its connections, and it is
//! kept, so that no request waits for a new connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::sync::oneshot;

use crate::client_config::{Role, create_consumer};
use crate::context::LastErrorContext;
use crate::denial::Identity;
use crate::error::{explained, log_error, log_error_of_code};
use crate::patience::Patience;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, LogError};
use stitch_config::Kafka;

/// How long a request waits for its answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before a request is repeated because a partition's leader moves.
const LEADER_PAUSE: Duration = Duration::from_millis(50);

/// How many of the client's log messages are served after a request.
const MESSAGES_SERVED_MAX: usize = 1000;

/// How long the client's log messages are served after a request.
const SERVE_TIMEOUT: Duration = Duration::from_millis(5);

/// How long the client's reason for a failed request is waited for.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends metadata requests. Every function blocks its thread until the brokers have answered or [`ANSWER_TIMEOUT`] has passed.
pub(super) struct MetadataClient {
    consumer: BaseConsumer<LastErrorContext>,
    topic: String,
    identity: Identity,
    patience: Patience,
}

impl MetadataClient {
    /// A client for the event topic.
    pub(super) fn new(kafka: &Kafka) -> Result<Self, LogError> {
        let doing = "creating the metadata client";
        let context = LastErrorContext::default();
        Ok(Self {
            consumer: create_consumer(kafka, Role::Metadata, context, doing)?,
            topic: kafka.topic.clone(),
            identity: Identity::of(kafka),
            patience: Patience::default(),
        })
    }

    /// Runs `request` on a thread that may block. `question` names it: an answer to it was an answer before.
    pub(super) async fn query<T: Send + 'static>(
        self: &Arc<Self>,
        question: &'static str,
        request: impl FnOnce(&Self) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let client = Arc::clone(self);
        let (sender, answer) = oneshot::channel();
        let thread = tokio::task::spawn_blocking(move || {
            let result = request(&client).map_err(|error| client.explain(error));
            if result.is_ok() {
                client.consumer.context().clear();
            }
            // The caller may be gone.
            sender.send(result).ok();
            // Nothing else polls this client, and its log messages would pile up.
            client.serve_messages();
        });
        match answer.await {
            Ok(result) => self.judge(question, result),
            // The request panicked, or the runtime ends.
            Err(_dropped) => Err(match thread.await {
                Err(ended) => LogError::Unavailable(format!("the request ended: {ended}")),
                Ok(()) => LogError::Unavailable("the request ended".to_owned()),
            }),
        }
    }

    /// The result of `question`: whether a refusal is final depends on former answers.
    pub(super) fn judge<T>(
        &self,
        question: &'static str,
        result: Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.patience.judge(question, result, SystemClock.now())
    }

    /// The error of another client of the same configuration, with the user in it.
    pub(super) fn named(&self, error: LogError) -> LogError {
        self.identity.named(error)
    }

    /// Adds the last error that the client reported since its last answer. On a busy machine it comes after the request has
    /// failed: without it a wrong certificate would look like a broker that is away.
    fn explain(&self, error: LogError) -> LogError {
        let until = SystemClock.now().plus(REASON_TIMEOUT);
        self.serve_messages();
        while matches!(error, LogError::Unavailable(_))
            && self.consumer.context().last().is_none()
            && SystemClock.now() < until
        {
            self.serve_messages();
        }
        let last = self.consumer.context().last();
        explained(error, last, self.patience.was_answered(), &self.identity)
    }

    /// Ends when the time of a poll is over, even if more has to be served.
    fn serve_messages(&self) {
        for _ in 0..MESSAGES_SERVED_MAX {
            // A poll serves every log message that it meets in this time, and ends at an error.
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

    /// How a topic is spread over the brokers; `None` if there is none of that name.
    pub(super) fn replication(&self, topic: &str) -> Result<Option<Replication>, LogError> {
        let doing = format!("asking for the replicas of the topic {topic}");
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
            .map_err(|error| log_error(&doing, &error))?;
        let Some(topic) = metadata.topics().iter().find(|known| known.name() == topic) else {
            return Ok(None);
        };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(None),
            Some(code) => return Err(log_error_of_code(&doing, code)),
        }
        let replicas = topic
            .partitions()
            .iter()
            .map(|partition| partition.replicas().len())
            .min();
        Ok(Some(Replication {
            partitions: topic.partitions().len(),
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

    /// The offset behind the last record of each partition that a `read_committed` consumer can receive.
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

    /// One request to each leader, whatever the number of partitions. The client's own watermark offsets would cost a
    /// request for each partition, or come from an earlier answer.
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
                    // The client has dropped the leader that it knew, and looks up the new one.
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
        let mut ends = BTreeMap::new();
        if partitions.is_empty() {
            return Ok(ends);
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
            ends.insert(Partition(element.partition()), Offset(offset));
        }
        Ok(ends)
    }

    /// The offsets that the group has committed of these partitions, read without joining it.
    pub(super) fn committed(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Offset>, LogError> {
        let doing = "asking what the group has committed";
        let wanted = self.list(partitions);
        let answer = self
            .consumer
            .committed_offsets(wanted, ANSWER_TIMEOUT)
            .map_err(|error| log_error(doing, &error))?;
        let mut committed = BTreeMap::new();
        for element in answer.elements() {
            element.error().map_err(|error| log_error(doing, &error))?;
            // Any other value means that nothing was committed.
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

/// Whether a partition has, or just had, no leader that could answer; usually the next one does within a second.
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
    pub(super) partitions: usize,
    /// Those of the partition with the fewest.
    pub(super) replicas: usize,
}

/// Joins the begins and ends of the same partitions.
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
