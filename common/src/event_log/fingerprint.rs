//! The first record of each partition, which tells a topic that was made anew from the old one of the same name.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, TopicPartitionList};

use super::asking::ANSWER_TIMEOUT;
use super::client_config::{Role, client_config};
use super::context::Context;
use super::error::log_error;
use crate::clock::{Clock, SystemClock};
use crate::config::Kafka;
use crate::offset::{Offset, Partition};
use crate::ports::{Bounds, Fingerprint, LogError};

/// How long one wait for a record lasts before the time left is looked at.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// Reads the first record of each partition that has one. Blocks its thread.
pub(super) fn first_records(
    kafka: &Kafka,
    bounds: &BTreeMap<Partition, Bounds>,
) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
    let doing = format!("reading the first records of the topic {}", kafka.topic);
    let mut missing: BTreeMap<Partition, Offset> = bounds
        .iter()
        .filter(|(_, bounds)| bounds.begin < bounds.end)
        .map(|(partition, bounds)| (*partition, bounds.begin))
        .collect();
    if missing.is_empty() {
        return Ok(BTreeMap::new());
    }
    let consumer: BaseConsumer<Context> = client_config(&kafka.client, Role::Sampling)
        .create_with_context(Context)
        .map_err(|error| log_error(&doing, &error))?;
    let mut list = TopicPartitionList::with_capacity(missing.len());
    for (partition, begin) in &missing {
        list.add_partition_offset(&kafka.topic, partition.0, rdkafka::Offset::Offset(begin.0))
            .map_err(|error| log_error(&doing, &error))?;
    }
    consumer
        .assign(&list)
        .map_err(|error| log_error(&doing, &error))?;

    let clock = SystemClock;
    let until = clock.now().plus(ANSWER_TIMEOUT);
    let mut found = BTreeMap::new();
    let mut trouble = None;
    while !missing.is_empty() {
        if clock.now() >= until {
            return Err(trouble.unwrap_or_else(|| {
                LogError::Unavailable(format!("{doing}: no answer in {ANSWER_TIMEOUT:?}"))
            }));
        }
        match consumer.poll(POLL_TIMEOUT) {
            None => {}
            Some(Ok(message)) => {
                let partition = Partition(message.partition());
                if missing.remove(&partition).is_some() {
                    found.insert(partition, fingerprint(&message));
                }
            }
            // Nothing but markers and aborted records: it has no first record yet.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                missing.remove(&Partition(partition));
            }
            Some(Err(error)) => trouble = Some(log_error(&doing, &error)),
        }
    }
    Ok(found)
}

fn fingerprint(message: &impl Message) -> Fingerprint {
    Fingerprint {
        offset: Offset(message.offset()),
        timestamp_ms: message.timestamp().to_millis(),
        checksum: checksum(message.key(), message.payload()),
    }
}

/// The CRC-32 of key and value; each with its length before it, so that no byte can change sides unseen.
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
    fn a_checksum_tells_null_from_empty_and_key_from_value() {
        let mut seen = vec![
            checksum(None, None),
            checksum(Some(b""), None),
            checksum(None, Some(b"")),
            checksum(Some(b"ab"), Some(b"c")),
            checksum(Some(b"a"), Some(b"bc")),
            checksum(Some(b"c"), Some(b"ab")),
        ];
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}
