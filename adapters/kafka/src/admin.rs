//! Describes topics, and creates the dead-letter topic.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;

use crate::client_config::{Role, client_config};
use crate::context::Context;
use crate::error::{log_error, log_error_of_code};
use crate::metadata_client::{ANSWER_TIMEOUT, MetadataClient, Replication};
use stitch_common::config::Kafka;
use stitch_common::ports::LogError;

/// The largest record of the dead-letter topic. Larger than any event topic's, because a record that came compressed is
/// copied uncompressed, with additional headers. One that does not fit could never be acknowledged.
const DEAD_LETTER_BYTES_MAX: &str = "67108864";

/// The properties of a topic that counting and restoring depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Number of partitions.
    pub partitions: usize,
    /// How many replicas the partition with the fewest has.
    pub replication: usize,
    /// Its `cleanup.policy`: a compacted or truncated log cannot be counted again.
    pub cleanup_policy: String,
    /// Its `retention.ms`; -1: unlimited.
    pub retention_ms: Option<i64>,
    /// Its `retention.bytes`; -1: unlimited.
    pub retention_bytes: Option<i64>,
    /// Its `min.insync.replicas`.
    pub min_insync_replicas: Option<i64>,
}

/// The outcome of creating a topic if it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCreation {
    /// It was missing, and has been created.
    Created,
    /// It existed.
    Existed,
}

/// Describes a topic; `None` if there is none of that name.
pub(super) async fn describe(
    kafka: &Kafka,
    metadata: &Arc<MetadataClient>,
    topic: &str,
) -> Result<Option<TopicDescription>, LogError> {
    let named = topic.to_owned();
    let Some(replication) = metadata
        .query(move |client| client.replication(&named))
        .await?
    else {
        return Ok(None);
    };
    let doing = format!("asking for the settings of the topic {topic}");
    let named = topic.to_owned();
    let operation = doing.clone();
    let settings = administer(kafka, move |admin, runtime| {
        let topic = [ResourceSpecifier::Topic(&named)];
        runtime
            .block_on(admin.describe_configs(&topic, &options()))
            .map_err(|error| log_error(&operation, &error))
    })
    .await?;
    match settings.into_iter().next() {
        Some(Ok(settings)) => Ok(Some(description(replication, &settings))),
        Some(Err(code)) => Err(log_error_of_code(&doing, code)),
        None => Err(LogError::Unavailable(format!(
            "{doing}: the answer is empty"
        ))),
    }
}

fn description(replication: Replication, settings: &ConfigResource) -> TopicDescription {
    let text = |name: &str| settings.get(name).and_then(|entry| entry.value.clone());
    let number = |name: &str| text(name).and_then(|value| value.parse().ok());
    TopicDescription {
        partitions: replication.partitions,
        replication: replication.replicas,
        cleanup_policy: text("cleanup.policy").unwrap_or_default(),
        retention_ms: number("retention.ms"),
        retention_bytes: number("retention.bytes"),
        min_insync_replicas: number("min.insync.replicas"),
    }
}

/// Creates the dead-letter topic if it is missing: one partition, as many replicas as the event topic has.
///
/// It has no retention limit: a rejected record counts nowhere until an operator has examined it, and the topic cannot
/// become larger than the event topic, which has to keep every record too. Its records have the broker's time: brokers
/// refuse records whose producer's clock is more than an hour ahead of their own.
pub(super) async fn create_dead_letter_topic(
    kafka: &Kafka,
    metadata: &Arc<MetadataClient>,
) -> Result<TopicCreation, LogError> {
    let rejected = kafka.dead_letter_topic();
    let named = rejected.clone();
    if metadata
        .query(move |client| client.replication(&named))
        .await?
        .is_some()
    {
        return Ok(TopicCreation::Existed);
    }
    let events = kafka.topic.clone();
    let replicas = metadata
        .query(move |client| client.replication(&events))
        .await?
        .ok_or_else(|| {
            let topic = &kafka.topic;
            LogError::Refused(format!(
                "there is no topic {topic}; create the event topic first"
            ))
        })?
        .replicas;
    let doing = format!("creating the topic {rejected}");
    let operation = doing.clone();
    let replicas = i32::try_from(replicas).unwrap_or(i32::MAX);
    let created = administer(kafka, move |admin, runtime| {
        let topic = NewTopic::new(&rejected, 1, TopicReplication::Fixed(replicas))
            .set("cleanup.policy", "delete")
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("max.message.bytes", DEAD_LETTER_BYTES_MAX)
            .set("message.timestamp.type", "LogAppendTime");
        runtime
            .block_on(admin.create_topics([&topic], &options()))
            .map_err(|error| log_error(&operation, &error))
    })
    .await?;
    match created.into_iter().next() {
        Some(Ok(_name)) => Ok(TopicCreation::Created),
        // Another process created it first.
        Some(Err((_name, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(TopicCreation::Existed),
        Some(Err((_name, code))) => Err(log_error_of_code(&doing, code)),
        None => Err(LogError::Unavailable(format!(
            "{doing}: the answer is empty"
        ))),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER_TIMEOUT))
        .operation_timeout(Some(ANSWER_TIMEOUT))
}

/// How long the brokers' work and its answer may take together.
const WORK_TIMEOUT: Duration = Duration::from_secs(25);

/// Runs `work` with its own client on a thread that may block: creating and closing that client blocks too.
async fn administer<T: Send + 'static>(
    kafka: &Kafka,
    work: impl FnOnce(&AdminClient<Context>, &tokio::runtime::Handle) -> Result<T, LogError>
    + Send
    + 'static,
) -> Result<T, LogError> {
    let config = client_config(&kafka.client, Role::Admin);
    let runtime = tokio::runtime::Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        let admin = config
            .create_with_context(Context)
            .map_err(|error| log_error("creating the client that administers topics", &error))?;
        work(&admin, &runtime)
    });
    match tokio::time::timeout(WORK_TIMEOUT, thread).await {
        Ok(Ok(result)) => result,
        Ok(Err(ended)) => Err(LogError::Unavailable(format!(
            "administering topics: {ended}"
        ))),
        Err(_elapsed) => Err(LogError::Unavailable(format!(
            "administering topics: no answer in {WORK_TIMEOUT:?}"
        ))),
    }
}
