//! Reads single records, by which a log differs from another one of the same name.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::error::{KafkaError, KafkaResult};

use crate::client_config::Role;
use crate::error::{ErrorScope, error_scope, log_error};
use crate::feed::partition_queues::PartitionQueues;
use crate::metadata_client::ANSWER_TIMEOUT;
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{Bounds, Fingerprint, LogError, Record, Unreadable};
use stitch_config::Kafka;

/// The pause between two polls of the partitions that are read.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// How many partitions are read at once, which bounds the fetched batches in memory.
const PARTITIONS_AT_ONCE: usize = 8;

/// Reads the first record that each partition has at or above its offset. Blocks its thread.
pub(super) fn records_from(
    kafka: &Kafka,
    bounds: &BTreeMap<Partition, Bounds>,
    offsets: &Offsets,
) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
    let mut waiting = bounds
        .iter()
        .map(|(partition, bounds)| (*partition, bounds.begin.max(offsets.of(*partition))))
        .filter(|(partition, from)| *from < bounds[partition].end)
        .peekable();
    if waiting.peek().is_none() {
        return Ok(BTreeMap::new());
    }
    let topic = &kafka.topic;
    let doing = format!("reading records of the topic {topic}");
    let mut reader = SingleRecordReader {
        client: PartitionQueues::new(kafka, Role::SingleRecords, || {})?,
        open: BTreeMap::new(),
        fingerprints: BTreeMap::new(),
    };
    loop {
        while reader.open.len() < PARTITIONS_AT_ONCE
            && let Some((partition, from)) = waiting.next()
        {
            reader
                .open(partition, from)
                .map_err(|error| log_error(&doing, &error))?;
        }
        if reader.open.is_empty() {
            return Ok(reader.fingerprints);
        }
        reader.read_one(&doing)?;
    }
}

/// Waits for a record of each of some partitions.
struct SingleRecordReader {
    client: PartitionQueues,
    /// From where on each partition is read.
    open: BTreeMap<Partition, Offset>,
    fingerprints: BTreeMap<Partition, Fingerprint>,
}

impl SingleRecordReader {
    fn open(&mut self, partition: Partition, from: Offset) -> KafkaResult<()> {
        self.open.insert(partition, from);
        self.client.assign(partition, from)
    }

    /// Further records of it would only delay those of other partitions.
    fn close(&mut self, partition: Partition) -> KafkaResult<()> {
        self.open.remove(&partition);
        self.client.unassign(partition)
    }

    /// Waits until one more of the open partitions is finished.
    fn read_one(&mut self, doing: &str) -> Result<(), LogError> {
        let clock = SystemClock;
        let until = clock.now().plus(ANSWER_TIMEOUT);
        let mut last_error = None;
        while clock.now() < until {
            for error in self.client.poll_client() {
                last_error = Some(log_error(doing, &error));
            }
            let open: Vec<_> = self.open.iter().map(|(p, from)| (*p, *from)).collect();
            for (partition, from) in open {
                match self.read(partition, from, doing) {
                    Ok(true) => {
                        return self
                            .close(partition)
                            .map_err(|error| log_error(doing, &error));
                    }
                    Ok(false) => {}
                    Err(error @ (LogError::Refused(_) | LogError::Denied(_))) => return Err(error),
                    Err(error) => last_error = Some(error),
                }
            }
            std::thread::sleep(POLL_PAUSE);
        }
        Err(last_error.unwrap_or_else(|| {
            LogError::Unavailable(format!("{doing}: no answer in {ANSWER_TIMEOUT:?}"))
        }))
    }

    /// Whether the record of `partition` has come, or it has none.
    fn read(&mut self, partition: Partition, from: Offset, doing: &str) -> Result<bool, LogError> {
        let error = match self.client.poll(partition) {
            None => return Ok(false),
            Some(Ok(message)) => {
                let first = fingerprint(&message);
                self.fingerprints.insert(partition, first);
                return Ok(true);
            }
            // Only markers and aborted records are there.
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(true),
            Some(Err(error)) => error,
        };
        match error_scope(&error) {
            ErrorScope::Records(reason) => {
                let cause = self.client.take_reason();
                let unreadable = Unreadable {
                    partition,
                    offset: from,
                    reason,
                    cause: cause.unwrap_or_else(|| error.to_string()),
                };
                Err(LogError::Refused(format!("{doing}: {unreadable}")))
            }
            ErrorScope::Position | ErrorScope::MayPass(_) | ErrorScope::Client => {
                Err(log_error(doing, &error))
            }
        }
    }
}

fn fingerprint(message: &impl Message) -> Fingerprint {
    Fingerprint::of(&Record {
        offset: Offset(message.offset()),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(Into::into),
        value: message.payload().map(Into::into),
    })
}
