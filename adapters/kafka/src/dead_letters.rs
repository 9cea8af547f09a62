//! Copies rejected records to `<topic>.rejected`.

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::client_config::{Role, create};
use crate::context::Context;
use crate::denial::Identity;
use crate::error::{is_of_the_record, log_error};
use crate::patience::Patience;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::offset::Partition;
use stitch_common::ports::{DeadLetters, LogError, Record};
use stitch_config::Kafka;

/// How long a record waits for room in the client's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a copy may take, whatever the user's `message.timeout.ms` says.
const PUT_TIMEOUT: Duration = Duration::from_secs(60);

/// The one question to this client: the process counts, so Kafka has answered it before.
const COPYING: &str = "copying";

/// The dead-letter topic: an idempotent producer with `acks=all`.
pub struct KafkaDeadLetters {
    producer: FutureProducer<Context>,
    topic: String,
    identity: Identity,
    patience: Patience,
}

impl KafkaDeadLetters {
    pub(super) fn new(kafka: &Kafka) -> Result<Self, LogError> {
        let doing = "creating the client that copies rejected records";
        Ok(Self {
            producer: create(kafka, Role::DeadLetters, Context, doing)?,
            topic: kafka.dead_letter_topic(),
            identity: Identity::of(kafka),
            patience: Patience::default().answered(COPYING),
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
        let result = match tokio::time::timeout(PUT_TIMEOUT, sent).await {
            Ok(Ok(_delivery)) => Ok(()),
            Ok(Err((error, _copy))) if is_of_the_record(&error) => {
                return Err(log_error(&doing, &error));
            }
            Ok(Err((error, _copy))) => Err(self.identity.named(log_error(&doing, &error))),
            Err(_elapsed) => Err(LogError::Unavailable(format!(
                "{doing}: no answer in {PUT_TIMEOUT:?}"
            ))),
        };
        self.patience.judge(COPYING, result, SystemClock.now())
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
