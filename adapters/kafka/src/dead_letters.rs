//! Copies rejected records to `<topic>.rejected`.

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::client_config::{Role, client_config};
use crate::context::Context;
use crate::error::log_error;
use stitch_common::config::Kafka;
use stitch_common::offset::Partition;
use stitch_common::ports::{DeadLetters, LogError, Record};

/// How long a record waits for room in the client's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a copy may take, whatever the user's `message.timeout.ms` says.
const PUT_TIMEOUT: Duration = Duration::from_secs(60);

/// The dead-letter topic: an idempotent producer with `acks=all`.
pub struct KafkaDeadLetters {
    producer: FutureProducer<Context>,
    topic: String,
}

impl KafkaDeadLetters {
    pub(super) fn new(kafka: &Kafka) -> Result<Self, LogError> {
        let producer = client_config(&kafka.client, Role::DeadLetters)
            .create_with_context(Context)
            .map_err(|error| {
                log_error("creating the client that copies rejected records", &error)
            })?;
        Ok(Self {
            producer,
            topic: kafka.dead_letter_topic(),
        })
    }
}

impl DeadLetters for KafkaDeadLetters {
    async fn put(
        &self,
        partition: Partition,
        record: &Record,
        reason: &str,
    ) -> Result<(), LogError> {
        let doing = format!("copying a rejected record to {}", self.topic);
        let copy: FutureRecord<'_, [u8], [u8]> = FutureRecord {
            topic: &self.topic,
            partition: None,
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: None,
            headers: Some(headers(partition, record, reason)),
        };
        let sent = self.producer.send(copy, Timeout::After(QUEUE_TIMEOUT));
        match tokio::time::timeout(PUT_TIMEOUT, sent).await {
            Ok(Ok(_delivery)) => Ok(()),
            Ok(Err((error, _copy))) => Err(log_error(&doing, &error)),
            Err(_elapsed) => Err(LogError::Unavailable(format!(
                "{doing}: no answer in {PUT_TIMEOUT:?}"
            ))),
        }
    }
}

fn headers(partition: Partition, record: &Record, reason: &str) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(3)
        .insert(Header {
            key: "stitch-reason",
            value: Some(reason),
        })
        .insert(Header {
            key: "stitch-partition",
            value: Some(&partition.to_string()),
        })
        .insert(Header {
            key: "stitch-offset",
            value: Some(&record.offset.to_string()),
        })
}
