//! The thread that polls Kafka's client for a feed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, TopicPartitionList};

use super::feed_queue::{Command, FeedQueue, Work};
use crate::client_config::{Role, client_config};
use crate::context::Context;
use crate::error::log_error;
use crate::metadata_client::MetadataClient;
use stitch_common::config::Kafka;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, FeedEvent, LogError, Record, Unreadable, UnreadableReason,
};

/// The most records and bytes in one delivery: small enough to bound the queue, large enough that the cost for each
/// record is negligible.
const DELIVERY_RECORDS_MAX: usize = 1000;
const DELIVERY_BYTES_MAX: usize = 128 << 10;

/// Memory of a record without key and value.
const RECORD_BYTES: usize = 96;

/// How long the first poll of a round may wait. Not zero: a poll ends at the first log message, and the records behind
/// it would wait for the next round.
const FIRST_POLL: Duration = Duration::from_millis(1);

/// The pause before all partitions are reassigned because the client reports one as unreadable, but not which.
const REASSIGN_PAUSE: Duration = Duration::from_millis(200);

/// Polls the client, on a thread of its own.
pub(super) struct Fetcher {
    consumer: BaseConsumer<Context>,
    topic: String,
    metadata: Arc<MetadataClient>,
    queue: Arc<FeedQueue>,
    assignments: BTreeMap<Partition, Assignment>,
    batch: Batch,
}

/// A started partition.
#[derive(Clone, Copy, Debug)]
struct Assignment {
    epoch: AssignmentEpoch,
    /// Every record below this offset has been delivered.
    next: Offset,
    flow: Flow,
}

/// Whether a partition can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// It is assigned to the client.
    Flowing,
    /// Its next record no longer exists.
    Gone,
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
        metadata: Arc<MetadataClient>,
        queue: Arc<FeedQueue>,
    ) -> Result<Self, LogError> {
        let mut consumer: BaseConsumer<Context> = client_config(&kafka.client, Role::Feed)
            .create_with_context(Context)
            .map_err(|error| log_error("creating the client that reads records", &error))?;
        let notified = Arc::clone(&queue);
        consumer.set_nonempty_callback(move || notified.notify_fetched());
        Ok(Self {
            consumer,
            topic: kafka.topic.clone(),
            metadata,
            queue,
            assignments: BTreeMap::new(),
            batch: Batch::default(),
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
                self.assignments.insert(
                    partition,
                    Assignment {
                        epoch,
                        next: from,
                        flow: Flow::Flowing,
                    },
                );
                self.assign(partition, from);
            }
            Command::Stop { partition } => {
                self.unassign(partition);
                self.assignments.remove(&partition);
            }
        }
    }

    fn set_flow(&mut self, partition: Partition, flow: Flow) {
        if let Some(assignment) = self.assignments.get_mut(&partition) {
            assignment.flow = flow;
        }
    }

    /// Assigns the partition to the client, which fetches it from now on. One that was added to the topic recently is
    /// fetched about a second later, when the client refreshes its metadata.
    fn assign(&self, partition: Partition, from: Offset) {
        let mut list = TopicPartitionList::with_capacity(1);
        let assigned = list
            .add_partition_offset(&self.topic, partition.0, rdkafka::Offset::Offset(from.0))
            .and_then(|()| self.consumer.incremental_assign(&list));
        if let Err(error) = assigned {
            self.trouble(log_error(
                &format!("starting partition {partition}"),
                &error,
            ));
        }
    }

    /// Unassigns the partition, and the client drops the records it has fetched of it: records of one assignment are
    /// never delivered after it.
    fn unassign(&mut self, partition: Partition) {
        if self.batch.of.is_some_and(|(of, _)| of == partition) {
            self.deliver();
        }
        if self
            .assignments
            .get(&partition)
            .is_none_or(|assignment| assignment.flow != Flow::Flowing)
        {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition.0);
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            self.trouble(log_error(
                &format!("stopping partition {partition}"),
                &error,
            ));
        }
    }

    /// Takes the records that the client has, at most one delivery. `false` if it has no more.
    fn fetch(&mut self) -> bool {
        let mut wait = FIRST_POLL;
        loop {
            let fetched = match self.consumer.poll(wait) {
                None => Fetched::Nothing,
                Some(polled) => classify(&mut self.assignments, polled),
            };
            wait = Duration::ZERO;
            match fetched {
                Fetched::Nothing => {
                    self.deliver();
                    return false;
                }
                Fetched::Stale => {}
                Fetched::Record {
                    partition,
                    epoch,
                    record,
                } => {
                    if self.batch.of != Some((partition, epoch)) {
                        self.deliver();
                        self.batch.of = Some((partition, epoch));
                    }
                    if self.batch.push(record) {
                        self.deliver();
                        return true;
                    }
                }
                Fetched::End(partition) => {
                    self.deliver();
                    self.end_reached(partition);
                    return true;
                }
                Fetched::Error(error) => {
                    self.deliver();
                    self.handle_error(&error);
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
        let position = self.position(partition);
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

    fn position(&self, partition: Partition) -> Option<Offset> {
        let positions = self.consumer.position().ok()?;
        match positions.find_partition(&self.topic, partition.0)?.offset() {
            rdkafka::Offset::Offset(offset) => Some(Offset(offset)),
            rdkafka::Offset::Beginning
            | rdkafka::Offset::End
            | rdkafka::Offset::Stored
            | rdkafka::Offset::Invalid
            | rdkafka::Offset::OffsetTail(_) => None,
        }
    }

    fn handle_error(&mut self, error: &KafkaError) {
        let gone = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
        );
        if gone {
            self.find_gone();
        } else {
            self.trouble(log_error("reading records", error));
        }
    }

    /// The client reports that a partition cannot be read any further, but not which one: the brokers know.
    fn find_gone(&mut self) {
        let flowing: Vec<Partition> = self
            .assignments
            .iter()
            .filter(|(_, assignment)| assignment.flow == Flow::Flowing)
            .map(|(partition, _)| *partition)
            .collect();
        let gone = match self.metadata.bounds(&flowing) {
            Ok(bounds) => self.outside(&bounds),
            Err(error) => {
                self.trouble(error);
                Vec::new()
            }
        };
        for (partition, bounds) in &gone {
            self.report_gone(*partition, *bounds);
        }
        if gone.is_empty() {
            self.reassign(&flowing);
        }
    }

    /// The one that failed has stopped, and the others lose nothing by being reassigned at their next offset.
    fn reassign(&mut self, flowing: &[Partition]) {
        self.trouble(LogError::Unavailable(format!(
            "a partition of the topic {} could not be read, although every offset lies in the log; perhaps its log was \
             truncated by the election of a leader that had fallen behind",
            self.topic
        )));
        std::thread::sleep(REASSIGN_PAUSE);
        for partition in flowing {
            self.unassign(*partition);
            if let Some(assignment) = self.assignments.get(partition) {
                self.assign(*partition, assignment.next);
            }
        }
    }

    fn outside(&self, bounds: &BTreeMap<Partition, Bounds>) -> Vec<(Partition, Bounds)> {
        bounds
            .iter()
            .filter(|(partition, bounds)| {
                self.assignments.get(partition).is_some_and(|assignment| {
                    assignment.next < bounds.begin || assignment.next > bounds.end
                })
            })
            .map(|(partition, bounds)| (*partition, *bounds))
            .collect()
    }

    fn report_gone(&mut self, partition: Partition, bounds: Bounds) {
        self.unassign(partition);
        self.set_flow(partition, Flow::Gone);
        if let Some(Assignment { epoch, next, .. }) = self.assignments.get(&partition).copied() {
            let reason = if next < bounds.begin {
                UnreadableReason::Deleted
            } else {
                UnreadableReason::Truncated
            };
            let cause = format!(
                "it begins at {} and ends at {} in the topic {}",
                bounds.begin, bounds.end, self.topic
            );
            let error = Unreadable {
                partition,
                offset: next,
                reason,
                cause,
            };
            self.queue
                .deliver(0, FeedEvent::Unreadable { epoch, error });
        }
    }

    fn trouble(&self, error: LogError) {
        self.queue.deliver(0, FeedEvent::Trouble(error));
    }
}

/// The result of a poll.
enum Fetched {
    Nothing,
    /// A record of a partition that is not assigned, or below its next offset.
    Stale,
    Record {
        partition: Partition,
        epoch: AssignmentEpoch,
        record: Record,
    },
    End(Partition),
    Error(KafkaError),
}

/// Sorts a polled record by its assignment, and advances that assignment's next offset.
fn classify(
    assignments: &mut BTreeMap<Partition, Assignment>,
    polled: KafkaResult<BorrowedMessage<'_>>,
) -> Fetched {
    let message = match polled {
        Ok(message) => message,
        Err(KafkaError::PartitionEOF(partition)) => return Fetched::End(Partition(partition)),
        Err(error) => return Fetched::Error(error),
    };
    let partition = Partition(message.partition());
    let offset = Offset(message.offset());
    match assignments.get_mut(&partition) {
        Some(assignment) if assignment.flow == Flow::Flowing && offset >= assignment.next => {
            assignment.next = offset.next();
            let record = Record {
                offset,
                key: message.key().map(Into::into),
                value: message.payload().map(Into::into),
            };
            Fetched::Record {
                partition,
                epoch: assignment.epoch,
                record,
            }
        }
        Some(_) | None => Fetched::Stale,
    }
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
