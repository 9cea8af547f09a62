//! Describes topics, and creates the dead-letter topic.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;

use crate::client_config::{Role, create};
use crate::context::Context;
use crate::denial::without_right;
use crate::error::{log_error, log_error_of_code};
use crate::metadata_client::{ANSWER_TIMEOUT, MetadataClient, Replication};
use stitch_common::ports::LogError;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use stitch_config::Kafka;

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
    /// Its `max.message.bytes`: the largest batch.
    pub max_message_bytes: Option<i64>,
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
    let Some(replication) = replication(kafka, metadata, topic).await? else {
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
        // The client drops the error of a single topic: without the right to see its settings it has none.
        Some(Ok(settings)) if settings.entries.is_empty() => {
            Err(without_right(&format!("{doing}: the brokers show none")))
        }
        Some(Ok(settings)) => Ok(Some(description(replication, &settings))),
        Some(Err(code)) => Err(log_error_of_code(&doing, code)),
        None => Err(LogError::Unavailable(format!(
            "{doing}: the answer is empty"
        ))),
    }
}

/// How a topic is spread over the brokers. An answer about one topic says nothing about what may be asked of another.
pub(super) async fn replication(
    kafka: &Kafka,
    metadata: &Arc<MetadataClient>,
    topic: &str,
) -> Result<Option<Replication>, LogError> {
    let question = if topic == kafka.topic {
        "replicas"
    } else {
        "replicas of the dead-letter topic"
    };
    let named = topic.to_owned();
    let asked = metadata.query(question, move |client| client.replication(&named));
    asked.await
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
        max_message_bytes: number("max.message.bytes"),
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
) -> Result<TopicCreation, ServerFailure> {
    let rejected = kafka.dead_letter_topic();
    if replication(kafka, metadata, &rejected).await?.is_some() {
        return Ok(TopicCreation::Existed);
    }
    let replicas = replication(kafka, metadata, &kafka.topic)
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
    let topic = NewDeadLetterTopic {
        name: rejected,
        replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
    };
    let named = topic.clone();
    let created = administer(kafka, move |admin, runtime| {
        runtime
            .block_on(admin.create_topics([&named.request()], &options()))
            .map_err(|error| log_error(&operation, &error))
    })
    .await?;
    match created.into_iter().next() {
        Some(Ok(_name)) => Ok(TopicCreation::Created),
        // Another process created it first.
        Some(Err((_name, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(TopicCreation::Existed),
        Some(Err((_name, code))) => Err(topic.refused(log_error_of_code(&doing, code), code)),
        None => Err(LogError::Unavailable(format!("{doing}: the answer is empty")).into()),
    }
}

/// The dead-letter topic as it is requested.
#[derive(Clone, Debug)]
struct NewDeadLetterTopic {
    name: String,
    replicas: i32,
}

impl NewDeadLetterTopic {
    const PROPERTIES: [(&str, &str); 5] = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("max.message.bytes", DEAD_LETTER_BYTES_MAX),
        ("message.timestamp.type", "LogAppendTime"),
    ];

    fn request(&self) -> NewTopic<'_> {
        let topic = NewTopic::new(&self.name, 1, TopicReplication::Fixed(self.replicas));
        let properties = Self::PROPERTIES.iter();
        properties.fold(topic, |topic, (name, value)| topic.set(name, value))
    }

    /// The error of brokers that refuse the topic. They do not say which property it is that a policy of theirs refuses.
    fn refused(&self, error: LogError, code: RDKafkaErrorCode) -> ServerFailure {
        if !matches!(
            code,
            RDKafkaErrorCode::PolicyViolation
                | RDKafkaErrorCode::InvalidConfig
                | RDKafkaErrorCode::InvalidReplicationFactor
        ) {
            return error.into();
        }
        let (name, replicas) = (&self.name, self.replicas);
        let wanted = Self::PROPERTIES.map(|(name, value)| format!("{name}={value}"));
        let message = format!(
            "{error}: with 1 partition, {replicas} replicas, {}",
            wanted.join(", ")
        );
        let options = wanted.map(|property| format!("--config {property}"));
        let help = format!(
            "a policy of the brokers (create.topic.policy.class.name), or a limit of theirs, refuses one of these, most \
             often max.message.bytes: create the topic by hand with what they allow, then run this again: \
             kafka-topics.sh --create --topic {name} --partitions 1 --replication-factor {replicas} {}; \
             max.message.bytes must exceed that of the event topic by 64 KiB at least, or records that are copied \
             uncompressed may not fit",
            options.join(" ")
        );
        UserError::new(message, help).into()
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
    let kafka = kafka.clone();
    let runtime = tokio::runtime::Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        let doing = "creating the client that administers topics";
        let admin = create(&kafka, Role::Admin, Context, doing)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_a_policy_refuses_is_named_with_its_properties_and_the_command_to_create_it() {
        let topic = NewDeadLetterTopic {
            name: "events.rejected".to_owned(),
            replicas: 3,
        };
        let code = RDKafkaErrorCode::PolicyViolation;
        let refused: UserError = topic
            .refused(log_error_of_code("creating it", code), code)
            .into();
        assert!(refused.message.contains("max.message.bytes=67108864"));
        for part in [
            "kafka-topics.sh --create --topic events.rejected --partitions 1 --replication-factor 3",
            "--config max.message.bytes=67108864",
            "--config retention.ms=-1",
        ] {
            assert!(refused.help.contains(part), "{}", refused.help);
        }
        let code = RDKafkaErrorCode::TopicAuthorizationFailed;
        let refused: UserError = topic
            .refused(log_error_of_code("creating it", code), code)
            .into();
        assert!(
            !refused.help.contains("kafka-topics.sh"),
            "{}",
            refused.help
        );
    }
}
