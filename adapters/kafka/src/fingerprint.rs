//! Reads the first record of each partition, by which a recreated topic differs from its predecessor of the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message, TopicPartitionList};

use crate::client_config::{Role, create_consumer};
use crate::context::Context;
use crate::error::log_error;
use crate::metadata_client::ANSWER_TIMEOUT;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::config::Kafka;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Bounds, Fingerprint, LogError};

/// How long one poll waits for a record.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// How many partitions are read at once, which bounds the fetched batches in memory.
const PARTITIONS_AT_ONCE: usize = 8;

/// Reads the first record of each partition that has one. Blocks its thread.
pub(super) fn first_records(
    kafka: &Kafka,
    bounds: &BTreeMap<Partition, Bounds>,
) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
    let mut waiting = bounds
        .iter()
        .filter(|(_, bounds)| bounds.begin < bounds.end)
        .map(|(partition, bounds)| (*partition, bounds.begin))
        .peekable();
    if waiting.peek().is_none() {
        return Ok(BTreeMap::new());
    }
    let topic = &kafka.topic;
    let doing = format!("reading the first records of the topic {topic}");
    let mut reader = FirstRecordReader {
        consumer: create_consumer(kafka, Role::FirstRecords, Context, &doing)?,
        topic,
        open: BTreeSet::new(),
        fingerprints: BTreeMap::new(),
    };
    loop {
        while reader.open.len() < PARTITIONS_AT_ONCE
            && let Some((partition, begin)) = waiting.next()
        {
            reader
                .open(partition, begin)
                .map_err(|error| log_error(&doing, &error))?;
        }
        if reader.open.is_empty() {
            return Ok(reader.fingerprints);
        }
        reader.read_one(&doing)?;
    }
}

/// Waits for the first records of some partitions.
struct FirstRecordReader<'a> {
    consumer: BaseConsumer<Context>,
    topic: &'a str,
    open: BTreeSet<Partition>,
    fingerprints: BTreeMap<Partition, Fingerprint>,
}

impl FirstRecordReader<'_> {
    fn open(&mut self, partition: Partition, begin: Offset) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        let begin = rdkafka::Offset::Offset(begin.0);
        list.add_partition_offset(self.topic, partition.0, begin)?;
        self.consumer.incremental_assign(&list)?;
        self.open.insert(partition);
        Ok(())
    }

    /// Further records of it would only delay those of other partitions.
    fn close(&mut self, partition: Partition) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(self.topic, partition.0);
        self.open.remove(&partition);
        self.consumer.incremental_unassign(&list)
    }

    /// Waits until one more of the open partitions is finished.
    fn read_one(&mut self, doing: &str) -> Result<(), LogError> {
        let clock = SystemClock;
        let until = clock.now().plus(ANSWER_TIMEOUT);
        let mut last_error = None;
        while clock.now() < until {
            let finished = match self.consumer.poll(POLL_TIMEOUT) {
                None => continue,
                Some(Ok(message)) => {
                    let partition = Partition(message.partition());
                    if self.open.contains(&partition) {
                        self.fingerprints.insert(partition, fingerprint(&message));
                    }
                    partition
                }
                // Only markers and aborted records: it has no first record yet.
                Some(Err(KafkaError::PartitionEOF(partition))) => Partition(partition),
                Some(Err(error)) => {
                    last_error = Some(log_error(doing, &error));
                    continue;
                }
            };
            if self.open.contains(&finished) {
                return self
                    .close(finished)
                    .map_err(|error| log_error(doing, &error));
            }
        }
        Err(last_error.unwrap_or_else(|| {
            LogError::Unavailable(format!("{doing}: no answer in {ANSWER_TIMEOUT:?}"))
        }))
    }
}

fn fingerprint(message: &impl Message) -> Fingerprint {
    Fingerprint {
        offset: Offset(message.offset()),
        timestamp_ms: message.timestamp().to_millis(),
        checksum: checksum(message.key(), message.payload()),
    }
}

/// The CRC-32 of key and value, each preceded by its length, so that a byte cannot move from one to the other unseen.
fn checksum(key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for part in [key, value] {
        let length = part
            .and_then(|bytes| i64::try_from(bytes.len()).ok())
            .unwrap_or(-1);
        crc.update(&length.to_be_bytes());
        crc.update(part.unwrap_or_default());
    }
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_distinguish_null_from_empty_and_key_from_value() {
        let mut checksums = vec![
            checksum(None, None),
            checksum(Some(b""), None),
            checksum(None, Some(b"")),
            checksum(Some(b"ab"), Some(b"c")),
            checksum(Some(b"a"), Some(b"bc")),
            checksum(Some(b"c"), Some(b"ab")),
        ];
        let all = checksums.len();
        checksums.sort_unstable();
        checksums.dedup();
        assert_eq!(checksums.len(), all);
    }
}
