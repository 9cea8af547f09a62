//! Consumer lag as users see it: the group's committed offsets against the ends of the log.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{sleep, timeout};

const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The lag of a group on a topic, read without being a member of the group.
pub struct Lag {
    consumer: std::sync::Arc<BaseConsumer>,
    topic: String,
}

impl Lag {
    pub fn new(kafka: &str, topic: &str, group: &str) -> Result<Self> {
        let consumer = crate::secure::kafka(kafka)?
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .create()?;
        Ok(Self {
            consumer: std::sync::Arc::new(consumer),
            topic: topic.to_owned(),
        })
    }

    /// The number of records that the group has not committed.
    pub async fn records(&self) -> Result<i64> {
        let consumer = std::sync::Arc::clone(&self.consumer);
        let topic = self.topic.clone();
        // The client blocks the thread.
        tokio::task::spawn_blocking(move || lag(&consumer, &topic)).await?
    }

    /// Waits until the lag is 0.
    pub async fn until_none(&self, bound: Duration) -> Result<()> {
        self.until_at_most(0, bound).await
    }

    /// Waits until the lag is at most `records_max`.
    pub async fn until_at_most(&self, records_max: i64, bound: Duration) -> Result<()> {
        let counted = async {
            loop {
                match self.records().await {
                    Ok(records) if records <= records_max => return Ok(()),
                    // A broker that others keep busy is asked again.
                    Err(error) if !is_late(&error) => return Err(error),
                    Ok(_) | Err(_) => sleep(POLL_INTERVAL).await,
                }
            }
        };
        match timeout(bound, counted).await {
            Ok(result) => result,
            Err(_) => bail!(
                "{} records are not counted after {} s",
                self.records().await?,
                bound.as_secs()
            ),
        }
    }
}

fn is_late(error: &anyhow::Error) -> bool {
    let error: Option<&KafkaError> = error.downcast_ref();
    let code = error.and_then(KafkaError::rdkafka_error_code);
    code == Some(RDKafkaErrorCode::OperationTimedOut)
}

fn lag(consumer: &BaseConsumer, topic: &str) -> Result<i64> {
    let metadata = consumer.fetch_metadata(Some(topic), REPLY_TIMEOUT)?;
    let metadata = metadata.topics().first().context("the topic's metadata")?;
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.partitions() {
        partitions.add_partition(topic, partition.id());
    }
    let committed = consumer.committed_offsets(partitions, REPLY_TIMEOUT)?;
    let mut records = 0;
    for partition in metadata.partitions() {
        let (start, end) = consumer.fetch_watermarks(topic, partition.id(), REPLY_TIMEOUT)?;
        let position = committed
            .find_partition(topic, partition.id())
            .and_then(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            })
            .unwrap_or(start);
        records += end - position;
    }
    Ok(records)
}
