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
use stitch_common::clock::{Clock, Moment, SystemClock};
use stitch_common::offset::Partition;
use stitch_common::ports::{DeadLetters, LogError, Record};
use stitch_config::Kafka;

/// How long a record waits for room in the client's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a copy may take, whatever the user's `message.timeout.ms` says.
const PUT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a producer is kept that has failed for good.
const REPLACE_PAUSE: Duration = Duration::from_secs(10);

/// The one question to this client: the process counts, so Kafka has answered it before.
const COPYING: &str = "copying";

/// The dead-letter topic: an idempotent producer with `acks=all`.
pub struct KafkaDeadLetters {
    kafka: Kafka,
    producer: Mutex<Created>,
    topic: String,
    identity: Identity,
    patience: Patience,
}

impl KafkaDeadLetters {
    pub(super) fn new(kafka: &Kafka) -> Result<Self, LogError> {
        Ok(Self {
            producer: Mutex::new(Created::now(kafka)?),
            kafka: kafka.clone(),
            topic: kafka.dead_letter_topic(),
            identity: Identity::of(kafka),
            patience: Patience::default().answered(COPYING),
        })
    }

    /// The producer. One that has failed for good sends nothing any more: it is replaced, now and then.
    fn producer(&self, doing: &str) -> Result<FutureProducer<Context>, LogError> {
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = failure(&current.producer, doing) {
            if SystemClock.now().since(current.at) < REPLACE_PAUSE {
                return Err(failure);
            }
            *current = Created::now(&self.kafka)?;
        }
        Ok(current.producer.clone())
    }

    async fn send(&self, copy: FutureRecord<'_, [u8], [u8]>, doing: &str) -> Result<(), Uncopied> {
        let producer = self.producer(doing).map_err(Uncopied::Topic)?;
        let sent = producer.send(copy, Timeout::After(QUEUE_TIMEOUT));
        let error = match tokio::time::timeout(PUT_TIMEOUT, sent).await {
            Ok(Ok(_delivery)) => return Ok(()),
            Ok(Err((error, _copy))) if is_of_the_record(&error) => {
                return Err(Uncopied::Record(log_error(doing, &error)));
            }
            Ok(Err((error, _copy))) => {
                failure(&producer, doing).unwrap_or_else(|| log_error(doing, &error))
            }
            Err(_elapsed) => {
                LogError::Unavailable(format!("{doing}: no answer in {PUT_TIMEOUT:?}"))
            }
        };
        Err(Uncopied::Topic(error))
    }
}

/// Why a record was not copied.
enum Uncopied {
    /// The brokers refuse this one.
    Record(LogError),
    /// None can be copied now.
    Topic(LogError),
}

/// A producer, and when it was created.
struct Created {
    producer: FutureProducer<Context>,
    at: Moment,
}

impl Created {
    fn now(kafka: &Kafka) -> Result<Self, LogError> {
        let doing = "creating the client that copies rejected records";
        Ok(Self {
            producer: create(kafka, Role::DeadLetters, Context, doing)?,
            at: SystemClock.now(),
        })
    }
}

/// Why a producer has failed for good, as the client has it for an idempotent one that lacks the right, or whose topic has lost
/// records.
fn failure(producer: &FutureProducer<Context>, doing: &str) -> Option<LogError> {
    let (code, reason) = producer.client().fatal_error()?;
    Some(log_error_of_code(&format!("{doing}: {reason}"), code))
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
        let result = match self.send(copy, &doing).await {
            Err(Uncopied::Record(error)) => return Err(error),
            Err(Uncopied::Topic(error)) => Err(self.identity.named(error)),
            Ok(()) => Ok(()),
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
