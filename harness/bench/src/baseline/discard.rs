//! The bare consumer: reads a topic up to its end, and keeps nothing. Its properties are those of the archiver's client.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::{Measured, own_cpu_seconds};

const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// The archiver's 16 MiB, which its partitions share.
const PREFETCH_KIB: usize = 16 << 10;

/// Reads the topic once.
pub(super) fn read(kafka: &str, topic: &str) -> Result<Measured> {
    let (started, cpu_before) = (Instant::now(), own_cpu_seconds()?);
    let metadata: BaseConsumer = stitch_harness::secure::kafka(kafka)?.create()?;
    let found = metadata.fetch_metadata(Some(topic), REPLY_TIMEOUT)?;
    let partitions = found.topics().first().context(topic.to_owned())?;
    let count = partitions.partitions().len();
    let mut assigned = TopicPartitionList::new();
    for partition in partitions.partitions() {
        assigned.add_partition_offset(topic, partition.id(), Offset::Offset(0))?;
    }
    let consumer: BaseConsumer = stitch_harness::secure::kafka(kafka)?
        .set("group.id", topic)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "50")
        .set(
            "queued.max.messages.kbytes",
            (PREFETCH_KIB / count.max(1)).to_string(),
        )
        .set("max.partition.fetch.bytes", (1 << 20).to_string())
        .set("fetch.max.bytes", (8 << 20).to_string())
        .create()?;
    consumer.assign(&assigned)?;
    let (mut records, mut bytes, mut ends) = (0_u32, 0, 0);
    while ends < count {
        match consumer.poll(REPLY_TIMEOUT) {
            Some(Ok(message)) => {
                records += 1;
                bytes += message.payload().map_or(0, <[u8]>::len);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Err(error)) => return Err(error.into()),
            None => bail!("{topic}: no record within {} s", REPLY_TIMEOUT.as_secs()),
        }
    }
    ensure!(bytes > 0, "{topic} has no values");
    Ok(Measured {
        events: f64::from(records),
        cells: 0.0,
        requests: 0.0,
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: own_cpu_seconds()? - cpu_before,
    })
}
