//! What this client may do, found out by requests that change nothing. Kafka's client has no question for it, so each request
//! is one that a broker answers only after it has looked at the right:
//!
//! - a fetch at the end of a partition;
//! - joining the group with a session that is shorter than any broker takes;
//! - a record with a number of acknowledgements that no broker takes.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::KafkaLog;
use crate::client_config::{Role, create, create_consumer};
use crate::context::Context;
use crate::error::log_error;
use crate::feed::partition_queues::PartitionQueues;
use crate::metadata_client::ANSWER_TIMEOUT;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{EventLog, LogError};
use stitch_config::Kafka;

/// How long one poll waits.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// The pause between two polls that do not wait.
const POLL_PAUSE: Duration = Duration::from_millis(5);

impl KafkaLog {
    /// Whether this client may read the event topic (READ).
    ///
    /// # Errors
    /// [`LogError::Denied`] if not; else no answer.
    pub async fn may_read(&self) -> Result<(), LogError> {
        let partitions = self.partitions().await?;
        let first: Vec<_> = partitions.into_iter().take(1).collect();
        let bounds = self.bounds(&first).await?;
        let ends = bounds
            .into_iter()
            .map(|(partition, bounds)| (partition, bounds.end));
        let end: Vec<_> = ends.collect();
        self.probe(move |kafka| end.into_iter().try_for_each(|end| fetch(kafka, end)))
            .await
    }

    /// Whether this client may ask what the group has committed (DESCRIBE).
    ///
    /// # Errors
    /// As [`KafkaLog::may_read`].
    pub async fn may_ask_group(&self) -> Result<(), LogError> {
        // A member may ask. To others the client does not say that they may not, but waits for an answer.
        let denial = match self.may_join().await {
            Ok(()) => return Ok(()),
            Err(LogError::Denied(denial)) => denial,
            Err(error @ (LogError::Refused(_) | LogError::Unavailable(_))) => return Err(error),
        };
        let partitions = self.partitions().await?;
        match self.committed(&partitions).await {
            Ok(_) => Ok(()),
            Err(LogError::Unavailable(_) | LogError::Denied(_)) => Err(LogError::Denied(denial)),
            Err(error @ LogError::Refused(_)) => Err(error),
        }
    }

    /// Whether this client may be a member of the group (READ). It does not become one.
    ///
    /// # Errors
    /// As [`KafkaLog::may_read`].
    pub async fn may_join(&self) -> Result<(), LogError> {
        self.probe(join_in_vain).await
    }

    /// Whether this client may copy records to the dead-letter topic (WRITE). It copies none.
    ///
    /// # Errors
    /// As [`KafkaLog::may_read`].
    pub async fn may_copy(&self) -> Result<(), LogError> {
        let topic = self.kafka.dead_letter_topic();
        let doing = format!("writing to {topic}");
        let producer: FutureProducer<Context> =
            create(&self.kafka, Role::VainProducer, Context, &doing)?;
        let record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&topic);
        let sent = producer.send(record, Timeout::After(ANSWER_TIMEOUT));
        let result = match tokio::time::timeout(ANSWER_TIMEOUT * 2, sent).await {
            Ok(Ok(_delivery)) => Ok(()),
            Ok(Err((error, _))) if is(&error, RDKafkaErrorCode::InvalidRequiredAcks) => Ok(()),
            Ok(Err((error, _))) => Err(log_error(&doing, &error)),
            Err(_elapsed) => Err(no_answer(&doing)),
        };
        // Dropping a client that has sent something blocks.
        tokio::task::spawn_blocking(move || drop(producer))
            .await
            .ok();
        result.map_err(|error| self.metadata.named(error))
    }

    async fn probe(
        &self,
        probe: impl FnOnce(&Kafka) -> Result<(), LogError> + Send + 'static,
    ) -> Result<(), LogError> {
        let kafka = self.kafka.clone();
        let probed = tokio::task::spawn_blocking(move || probe(&kafka));
        let result = probed.await.unwrap_or_else(|ended| {
            Err(LogError::Unavailable(format!("the request ended: {ended}")))
        });
        result.map_err(|error| self.metadata.named(error))
    }
}

fn is(error: &KafkaError, code: RDKafkaErrorCode) -> bool {
    error.rdkafka_error_code() == Some(code)
}

/// Fetches from the end of a partition on, and waits for any answer. Blocks its thread.
fn fetch(kafka: &Kafka, (partition, end): (Partition, Offset)) -> Result<(), LogError> {
    let doing = format!("reading the topic {}", kafka.topic);
    let failed = |error: &KafkaError| log_error(&doing, error);
    let mut client = PartitionQueues::new(kafka, Role::SingleRecords, || {})?;
    client
        .assign(partition, end)
        .map_err(|error| failed(&error))?;
    let until = SystemClock.now().plus(ANSWER_TIMEOUT);
    let mut last = None;
    while SystemClock.now() < until {
        last = client.poll_client().last().map(failed).or(last);
        match client.poll(partition) {
            None => std::thread::sleep(POLL_PAUSE),
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            // The end was another one meanwhile.
            Some(Err(error)) if is(&error, RDKafkaErrorCode::OffsetOutOfRange) => return Ok(()),
            Some(Err(error)) => match failed(&error) {
                error @ (LogError::Refused(_) | LogError::Denied(_)) => return Err(error),
                error @ LogError::Unavailable(_) => last = Some(error),
            },
        }
    }
    Err(last.unwrap_or_else(|| no_answer(&doing)))
}

/// Asks to join the group in a way that is refused to everyone. Blocks its thread.
fn join_in_vain(kafka: &Kafka) -> Result<(), LogError> {
    let doing = format!("joining the group {}", kafka.group_id());
    let failed = |error: &KafkaError| log_error(&doing, error);
    let client: BaseConsumer<Context> = create_consumer(kafka, Role::VainMember, Context, &doing)?;
    client
        .subscribe(&[&kafka.topic])
        .map_err(|error| failed(&error))?;
    let until = SystemClock.now().plus(ANSWER_TIMEOUT);
    let mut last = None;
    while SystemClock.now() < until {
        match client.poll(POLL_TIMEOUT) {
            None | Some(Ok(_)) => {}
            Some(Err(error)) if is(&error, RDKafkaErrorCode::InvalidSessionTimeout) => {
                return Ok(());
            }
            Some(Err(error)) => match failed(&error) {
                error @ LogError::Denied(_) => return Err(error),
                error @ (LogError::Unavailable(_) | LogError::Refused(_)) => last = Some(error),
            },
        }
    }
    Err(last.unwrap_or_else(|| no_answer(&doing)))
}

fn no_answer(doing: &str) -> LogError {
    LogError::Unavailable(format!("{doing}: no answer in {ANSWER_TIMEOUT:?}"))
}
