//! Copies rejected records to `<topic>.rejected`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::util::Timeout;

use crate::client_config::{Role, create};
use crate::context::Context;
use crate::denial::Identity;
use crate::error::{is_of_the_record, log_error, log_error_of_code};
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
    kafka: Kafka,
    producer: Mutex<FutureProducer<Context>>,
    topic: String,
    identity: Identity,
    patience: Patience,
}

impl KafkaDeadLetters {
    pub(super) fn new(kafka: &Kafka) -> Result<Self, LogError> {
        Ok(Self {
            producer: Mutex::new(producer(kafka)?),
            kafka: kafka.clone(),
            topic: kafka.dead_letter_topic(),
            identity: Identity::of(kafka),
            patience: Patience::default().answered(COPYING),
        })
    }

    /// The producer. One that has failed for good, as the client has it for an idempotent one without the right or whose
    /// topic has lost records, sends nothing any more: it is replaced, and the result is why it failed.
    fn usable_producer(&self, doing: &str) -> Result<FutureProducer<Context>, LogError> {
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((code, reason)) = current.client().fatal_error() else {
            return Ok(current.clone());
        };
        *current = producer(&self.kafka)?;
        Err(log_error_of_code(&format!("{doing}: {reason}"), code))
    }
}

fn producer(kafka: &Kafka) -> Result<FutureProducer<Context>, LogError> {
    let doing = "creating the client that copies rejected records";
    create(kafka, Role::DeadLetters, Context, doing)
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
        let producer = match self.usable_producer(&doing) {
            Ok(producer) => producer,
            Err(error) => {
                let result = Err(self.identity.named(error));
                return self.patience.judge(COPYING, result, SystemClock.now());
            }
        };
        let sent = producer.send(copy, Timeout::After(QUEUE_TIMEOUT));
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
