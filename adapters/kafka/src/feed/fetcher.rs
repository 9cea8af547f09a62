//! The thread that polls Kafka's client for a feed.
//!
//! A partition is read on only while nothing is wrong with it. After an error that concerns its records, the client reads
//! on at a place of its own choice (behind a wrong checksum even inside the batch), so the partition is taken from the
//! client at once, and restarts at the offset behind the last delivered record or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rdkafka::Message;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;

use super::feed_queue::{Command, FeedQueue, Work};
use super::partition_queues::PartitionQueues;
use crate::client_config::Role;
use crate::error::{ErrorScope, error_scope, log_error};
use crate::metadata_client::MetadataClient;
use crate::patience::LASTING;
use crate::repeats::Repeats;
use stitch_common::clock::{Clock, Moment, SystemClock};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, FeedEvent, LogError, Record, Unreadable, UnreadableReason,
};
use stitch_config::Kafka;

/// The most records and bytes in one delivery: small enough to bound the queue, large enough that the cost for each
/// record is negligible.
const DELIVERY_RECORDS_MAX: usize = 1000;
const DELIVERY_BYTES_MAX: usize = 128 << 10;

/// Memory of a record without key and value.
const RECORD_BYTES: usize = 96;

/// Polls the client, on a thread of its own.
pub(super) struct Fetcher {
    client: PartitionQueues,
    topic: String,
    metadata: Arc<MetadataClient>,
    queue: Arc<FeedQueue>,
    assignments: BTreeMap<Partition, Assignment>,
    /// The partitions that are served next, in turn.
    turns: VecDeque<Partition>,
    batch: Batch,
    repeats: Repeats,
}

/// A started partition that is assigned to the client.
#[derive(Clone, Debug)]
struct Assignment {
    epoch: AssignmentEpoch,
    /// Every record below this offset has been delivered.
    next: Offset,
    /// A refusal that may pass, until something of the partition arrives.
    refused: Option<Refusal>,
}

/// A refusal to read a partition that may pass, as brokers that restart give them.
#[derive(Clone, Debug)]
struct Refusal {
    since: Moment,
    reason: UnreadableReason,
    cause: String,
}

/// The records of the next delivery.
#[derive(Default)]
struct Batch {
    of: Option<(Partition, AssignmentEpoch)>,
    records: Vec<Record>,
    bytes: usize,
}

/// Reports the end of the thread when dropped, panic included.
struct EndGuard(Arc<FeedQueue>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Fetcher {
    pub(super) fn new(
        kafka: &Kafka,
        partitions: usize,
        metadata: Arc<MetadataClient>,
        queue: Arc<FeedQueue>,
    ) -> Result<Self, LogError> {
        let notified = Arc::clone(&queue);
        let fetched = move || notified.notify_fetched();
        let client = PartitionQueues::new(kafka, Role::Feed { partitions }, fetched)?;
        Ok(Self {
            client,
            topic: kafka.topic.clone(),
            metadata,
            queue,
            assignments: BTreeMap::new(),
            turns: VecDeque::new(),
            batch: Batch::default(),
            repeats: Repeats::default(),
        })
    }

    /// Runs until the program closes the feed.
    pub(super) fn run(mut self) {
        let _guard = EndGuard(Arc::clone(&self.queue));
        let mut busy = true;
        while let Work::Go { commands, room } = self.queue.work(busy) {
            for command in &commands {
                self.handle(*command);
            }
            self.poll_client();
            // A full queue waits for the program.
            busy = !room || self.fetch();
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Start {
                partition,
                from,
                epoch,
            } => {
                self.unassign(partition);
                let assignment = Assignment {
                    epoch,
                    next: from,
                    refused: None,
                };
                self.assignments.insert(partition, assignment);
                if let Err(error) = self.client.assign(partition, from) {
                    let doing = format!("starting partition {partition}");
                    self.trouble(log_error(&doing, &error));
                }
            }
            Command::Stop { partition } => self.unassign(partition),
        }
    }

    /// Takes the partition from the client.
    fn unassign(&mut self, partition: Partition) {
        if self.assignments.remove(&partition).is_none() {
            return;
        }
        if let Err(error) = self.client.unassign(partition) {
            let doing = format!("stopping partition {partition}");
            self.trouble(log_error(&doing, &error));
        }
    }

    fn poll_client(&mut self) {
        for error in self.client.poll_client() {
            self.trouble(log_error("reading records", &error));
        }
        self.end_patience();
    }

    /// Takes one delivery of the partition whose turn it is. `false` if no partition has more.
    fn fetch(&mut self) -> bool {
        if self.turns.is_empty() {
            self.turns.extend(self.client.nonempty());
        }
        let Some(partition) = self.turns.pop_front() else {
            return false;
        };
        if self.fetch_of(partition) {
            self.client.put_back(partition);
        }
        true
    }

    /// Takes at most one delivery of `partition`. `false` if it has no more.
    fn fetch_of(&mut self, partition: Partition) -> bool {
        loop {
            let Some(polled) = self.client.poll(partition) else {
                self.deliver();
                return false;
            };
            let Some(assignment) = self.assignments.get_mut(&partition) else {
                continue;
            };
            match classify(assignment, polled) {
                Fetched::Stale => {}
                Fetched::Record(record) => {
                    self.batch.of = Some((partition, assignment.epoch));
                    if self.batch.push(record) {
                        self.deliver();
                        return true;
                    }
                }
                Fetched::End => {
                    self.deliver();
                    self.end_reached(partition);
                    return true;
                }
                Fetched::Error(error) => {
                    self.deliver();
                    self.handle_error(partition, &error);
                    return true;
                }
            }
        }
    }

    fn deliver(&mut self) {
        let Some((partition, epoch)) = self.batch.of.take() else {
            return;
        };
        let records = std::mem::take(&mut self.batch.records);
        let bytes = std::mem::take(&mut self.batch.bytes);
        self.queue.deliver(
            bytes,
            FeedEvent::Records {
                partition,
                epoch,
                records,
            },
        );
    }

    /// Every record up to the end has been delivered. The client's position also counts transaction markers, which it
    /// never delivers.
    fn end_reached(&mut self, partition: Partition) {
        let position = self.client.position(partition);
        let Some(assignment) = self.assignments.get_mut(&partition) else {
            return;
        };
        if let Some(position) = position {
            assignment.next = assignment.next.max(position);
        }
        let event = FeedEvent::EndReached {
            partition,
            epoch: assignment.epoch,
            end_offset: assignment.next,
        };
        self.queue.deliver(0, event);
    }

    fn handle_error(&mut self, partition: Partition, error: &KafkaError) {
        let reason = self.client.take_reason();
        let cause = reason.unwrap_or_else(|| error.to_string());
        match error_scope(error) {
            ErrorScope::Position => {
                let (reason, cause) = self.lost_position(partition, cause);
                self.report_unreadable(partition, reason, cause);
            }
            ErrorScope::Records(reason) => self.report_unreadable(partition, reason, cause),
            ErrorScope::MayPass(reason) => {
                let now = SystemClock.now();
                if let Some(assignment) = self.assignments.get_mut(&partition) {
                    let since = assignment
                        .refused
                        .as_ref()
                        .map_or(now, |refused| refused.since);
                    let refusal = Refusal {
                        since,
                        reason,
                        cause,
                    };
                    assignment.refused = Some(refusal);
                }
                let doing = format!("reading partition {partition}");
                self.trouble(LogError::Unavailable(format!("{doing}: {error}")));
            }
            ErrorScope::Client => {
                let doing = format!("reading partition {partition}");
                self.trouble(log_error(&doing, error));
            }
        }
    }

    /// Why the log has no record at the next offset. The client says only that it has none.
    fn lost_position(&self, partition: Partition, cause: String) -> (UnreadableReason, String) {
        let next = self
            .assignments
            .get(&partition)
            .map(|assignment| assignment.next);
        let bounds = self.metadata.bounds(&[partition]);
        let bounds = bounds
            .ok()
            .and_then(|bounds| bounds.get(&partition).copied());
        let Some(Bounds { begin, end }) = bounds else {
            return (UnreadableReason::Truncated, cause);
        };
        let topic = &self.topic;
        let cause = format!("in the topic {topic} it begins at {begin} and ends at {end}; {cause}");
        if next.is_some_and(|next| next < begin) {
            (UnreadableReason::Deleted, cause)
        } else {
            // Beyond the end; or within the log, but the client knows by the leader's epoch that the log was shorter once.
            (UnreadableReason::Truncated, cause)
        }
    }

    /// Nothing more of the partition is delivered before it is started again.
    fn report_unreadable(&mut self, partition: Partition, reason: UnreadableReason, cause: String) {
        let Some(Assignment { epoch, next, .. }) = self.assignments.get(&partition).cloned() else {
            return;
        };
        self.unassign(partition);
        let error = Unreadable {
            partition,
            offset: next,
            reason,
            cause,
        };
        self.queue
            .deliver(0, FeedEvent::Unreadable { epoch, error });
    }

    /// Reports the refusals that have lasted.
    fn end_patience(&mut self) {
        let now = SystemClock.now();
        let lasting = self
            .assignments
            .iter()
            .filter_map(|(partition, assignment)| {
                let refused = assignment.refused.as_ref()?;
                (now.since(refused.since) >= LASTING).then(|| (*partition, refused.clone()))
            });
        for (partition, Refusal { reason, cause, .. }) in lasting.collect::<Vec<_>>() {
            self.report_unreadable(partition, reason, cause);
        }
    }

    fn trouble(&mut self, error: LogError) {
        if self.repeats.is_due(&error, SystemClock.now()) {
            self.queue.deliver(0, FeedEvent::Trouble(error));
        }
    }
}

/// The result of a poll.
enum Fetched {
    /// A record below the next offset.
    Stale,
    Record(Record),
    End,
    Error(KafkaError),
}

/// Sorts a polled record by its assignment, and advances that assignment's next offset.
fn classify(assignment: &mut Assignment, polled: KafkaResult<BorrowedMessage<'_>>) -> Fetched {
    let message = match polled {
        Ok(message) => message,
        Err(KafkaError::PartitionEOF(_)) => {
            assignment.refused = None;
            return Fetched::End;
        }
        Err(error) => return Fetched::Error(error),
    };
    assignment.refused = None;
    let offset = Offset(message.offset());
    if offset < assignment.next {
        return Fetched::Stale;
    }
    assignment.next = offset.next();
    Fetched::Record(Record {
        offset,
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(Into::into),
        value: message.payload().map(Into::into),
    })
}

impl Batch {
    /// Adds a record; `true` if the delivery is large enough.
    fn push(&mut self, record: Record) -> bool {
        let key = record.key.as_ref().map_or(0, |key| key.len());
        let value = record.value.as_ref().map_or(0, |value| value.len());
        self.bytes = self
            .bytes
            .saturating_add(key)
            .saturating_add(value)
            .saturating_add(RECORD_BYTES);
        self.records.push(record);
        self.records.len() >= DELIVERY_RECORDS_MAX || self.bytes >= DELIVERY_BYTES_MAX
    }
}
