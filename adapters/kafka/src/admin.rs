//! What the event topic and the topic of rejected records are like, and the making of the latter.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;

use crate::asking::{ANSWER_TIMEOUT, Asking, Replication};
use crate::client_config::{Role, client_config};
use crate::context::Context;
use crate::error::{log_error, log_error_of_code};
use stitch_common::config::Kafka;
use stitch_common::ports::LogError;

/// How large a record the topic of rejected records takes: larger than any event topic's, since a record that came
/// compressed is copied as it is, with headers beside it. One that does not fit could never be answered.
const REJECTED_BYTES_MAX: &str = "67108864";

/// What a topic is like, as far as counting and restoring depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// How many partitions it has.
    pub partitions: usize,
    /// How many replicas the partition with the fewest has.
    pub replication: usize,
    /// Its `cleanup.policy`: a log that is compacted or deleted from cannot be counted again.
    pub cleanup_policy: String,
    /// Its `retention.ms`; -1: records are kept for ever.
    pub retention_ms: Option<i64>,
    /// Its `retention.bytes`; -1: without a bound.
    pub retention_bytes: Option<i64>,
    /// Its `min.insync.replicas`.
    pub min_insync_replicas: Option<i64>,
}

/// Whether something had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was made now.
    Now,
    /// It was there before.
    Before,
}

/// What a topic is like; `None` if there is none of that name.
pub(super) async fn describe(
    kafka: &Kafka,
    asking: &Arc<Asking>,
    topic: &str,
) -> Result<Option<TopicDescription>, LogError> {
    let named = topic.to_owned();
    let Some(replication) = asking.ask(move |asking| asking.replication(&named)).await? else {
        return Ok(None);
    };
    let doing = format!("asking for the settings of the topic {topic}");
    let named = topic.to_owned();
    let told = doing.clone();
    let settings = administer(kafka, move |admin, runtime| {
        let asked = [ResourceSpecifier::Topic(&named)];
        runtime
            .block_on(admin.describe_configs(&asked, &options()))
            .map_err(|error| log_error(&told, &error))
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

/// Makes the topic of rejected records if it is missing: one partition, as many replicas as the event topic has.
///
/// Nothing is ever deleted from it by itself: a rejected record counts nowhere until a person has looked at it, and the
/// topic cannot become larger than the event topic, which has to keep everything too. Its records have the broker's time:
/// by the time of whoever writes, a broker refuses them as soon as that machine's clock is an hour ahead of its own.
pub(super) async fn create_dead_letter_topic(
    kafka: &Kafka,
    asking: &Arc<Asking>,
) -> Result<Made, LogError> {
    let rejected = kafka.dead_letter_topic();
    let named = rejected.clone();
    if asking
        .ask(move |asking| asking.replication(&named))
        .await?
        .is_some()
    {
        return Ok(Made::Before);
    }
    let events = kafka.topic.clone();
    let replicas = asking
        .ask(move |asking| asking.replication(&events))
        .await?
        .ok_or_else(|| {
            let topic = &kafka.topic;
            LogError::Refused(format!(
                "there is no topic {topic}; create the event topic first"
            ))
        })?
        .replicas;
    let doing = format!("creating the topic {rejected}");
    let told = doing.clone();
    let replicas = i32::try_from(replicas).unwrap_or(i32::MAX);
    let created = administer(kafka, move |admin, runtime| {
        let topic = NewTopic::new(&rejected, 1, TopicReplication::Fixed(replicas))
            .set("cleanup.policy", "delete")
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("max.message.bytes", REJECTED_BYTES_MAX)
            .set("message.timestamp.type", "LogAppendTime");
        runtime
            .block_on(admin.create_topics([&topic], &options()))
            .map_err(|error| log_error(&told, &error))
    })
    .await?;
    match created.into_iter().next() {
        Some(Ok(_name)) => Ok(Made::Now),
        // Another process was faster.
        Some(Err((_name, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(Made::Before),
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

/// Runs `work` with a client of its own on a thread that may block: making and closing that client blocks too.
async fn administer<T: Send + 'static>(
    kafka: &Kafka,
    work: impl FnOnce(&AdminClient<Context>, &tokio::runtime::Handle) -> Result<T, LogError>
    + Send
    + 'static,
) -> Result<T, LogError> {
    let config = client_config(&kafka.client, Role::Administering);
    let runtime = tokio::runtime::Handle::current();
    let worked = tokio::task::spawn_blocking(move || {
        let admin = config
            .create_with_context(Context)
            .map_err(|error| log_error("making the client that administers topics", &error))?;
        work(&admin, &runtime)
    });
    match tokio::time::timeout(WORK_TIMEOUT, worked).await {
        Ok(Ok(worked)) => worked,
        Ok(Err(ended)) => Err(LogError::Unavailable(format!(
            "administering topics: {ended}"
        ))),
        Err(_elapsed) => Err(LogError::Unavailable(format!(
            "administering topics: no answer in {WORK_TIMEOUT:?}"
        ))),
    }
}
