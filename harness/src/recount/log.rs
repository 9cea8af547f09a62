//! Reads a topic from its first record to its end through a plain consumer.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::{Cells, Rules};

const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The sums of all records of the topic, and where each partition ended.
pub fn read(kafka: &str, topic: &str, rules: &Rules) -> Result<(Cells, Vec<(i32, i64)>)> {
    let mut cells = Cells::new();
    let ends = each(kafka, topic, |message| {
        rules.count(message.payload(), &mut cells);
    })?;
    // A missing cell is 0.
    cells.retain(|_, value| *value != 0);
    Ok((cells, ends))
}

/// Calls `visit` for each record of the topic, up to its current end, and returns where each partition ended.
pub fn each(
    kafka: &str,
    topic: &str,
    mut visit: impl FnMut(&rdkafka::message::BorrowedMessage<'_>),
) -> Result<Vec<(i32, i64)>> {
    let consumer: BaseConsumer = crate::secure::kafka(kafka)?
        .set("group.id", "stitch-recount")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), REPLY_TIMEOUT)?;
    let metadata = metadata.topics().first().context("the topic's metadata")?;
    let mut ends = Vec::new();
    for partition in metadata.partitions() {
        let (start, end) = consumer.fetch_watermarks(topic, partition.id(), REPLY_TIMEOUT)?;
        ends.push((partition.id(), end));
        if start == end {
            continue;
        }
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition.id(), Offset::Offset(start))?;
        consumer.assign(&assignment)?;
        loop {
            let result = consumer
                .poll(REPLY_TIMEOUT)
                .with_context(|| format!("{topic}: the broker sends nothing"))?;
            match result {
                Ok(message) if message.offset() < end => {
                    visit(&message);
                    if message.offset() + 1 == end {
                        break;
                    }
                }
                Ok(_) | Err(rdkafka::error::KafkaError::PartitionEOF(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(ends)
}
