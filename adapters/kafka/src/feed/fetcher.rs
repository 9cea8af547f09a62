//! The thread that polls Kafka's client for a feed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, TopicPartitionList};

use super::ready::{Command, Ready, Work};
use crate::asking::Asking;
use crate::client_config::{Role, client_config};
use crate::context::Context;
use crate::error::log_error;
use stitch_common::config::Kafka;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Bounds, FeedEvent, LogError, Record};

/// Records of one delivery at most, and their bytes: small enough for a bound on what lies ready, large enough that
/// nothing is paid for each record.
const DELIVERY_RECORDS_MAX: usize = 1000;
const DELIVERY_BYTES_MAX: usize = 128 << 10;

/// What a record takes beside key and value.
const RECORD_BYTES: usize = 96;

/// How long the first poll of a round may wait. Not zero: a poll ends at the first message for the log, and the records
/// behind it would wait for the next round.
const FIRST_POLL: Duration = Duration::from_millis(1);

/// The rest before partitions of which the client says that one is gone, but not which, are started again.
const SECOND_LOOK: Duration = Duration::from_millis(200);

/// Polls the client, on a thread of its own.
pub(super) struct Fetcher {
    consumer: BaseConsumer<Context>,
    topic: String,
    asking: Arc<Asking>,
    ready: Arc<Ready>,
    started: BTreeMap<Partition, Started>,
    batch: Batch,
}

/// A partition that is delivered.
#[derive(Clone, Copy, Debug)]
struct Started {
    epoch: AssignmentEpoch,
    /// Every record below was delivered.
    next: Offset,
    flow: Flow,
}

/// Whether a partition's records come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// The client has it.
    Flowing,
    /// Its next record is gone.
    Gone,
}

/// The records of the delivery that is being made.
#[derive(Default)]
struct Batch {
    of: Option<(Partition, AssignmentEpoch)>,
    records: Vec<Record>,
    bytes: usize,
}

/// Says that the thread has ended, in whatever way.
struct EndsWith(Arc<Ready>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Fetcher {
    pub(super) fn new(
        kafka: &Kafka,
        asking: Arc<Asking>,
        ready: Arc<Ready>,
    ) -> Result<Self, LogError> {
        let mut consumer: BaseConsumer<Context> = client_config(&kafka.client, Role::Feeding)
            .create_with_context(Context)
            .map_err(|error| log_error("making the client that reads records", &error))?;
        let told = Arc::clone(&ready);
        consumer.set_nonempty_callback(move || told.fetched());
        Ok(Self {
            consumer,
            topic: kafka.topic.clone(),
            asking,
            ready,
            started: BTreeMap::new(),
            batch: Batch::default(),
        })
    }

    /// Until the program lets go.
    pub(super) fn run(mut self) {
        let _ends = EndsWith(Arc::clone(&self.ready));
        let mut busy = true;
        while let Work::Go { commands, room } = self.ready.work(busy) {
            for command in &commands {
                self.obey(*command);
            }
            // Without room it is the program's turn.
            busy = !room || self.fetch();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start {
                partition,
                from,
                epoch,
            } => {
                self.take_away(partition);
                self.started.insert(
                    partition,
                    Started {
                        epoch,
                        next: from,
                        flow: Flow::Flowing,
                    },
                );
                self.give(partition, from);
            }
            Command::Stop { partition } => {
                self.take_away(partition);
                self.started.remove(&partition);
            }
        }
    }

    fn set_flow(&mut self, partition: Partition, flow: Flow) {
        if let Some(started) = self.started.get_mut(&partition) {
            started.flow = flow;
        }
    }

    /// The client fetches the partition from now on; one that was added to the topic since the client last looked, within
    /// a second or so, when it looks again.
    fn give(&self, partition: Partition, from: Offset) {
        let mut list = TopicPartitionList::with_capacity(1);
        let given = list
            .add_partition_offset(&self.topic, partition.0, rdkafka::Offset::Offset(from.0))
            .and_then(|()| self.consumer.incremental_assign(&list));
        if let Err(error) = given {
            self.trouble(log_error(
                &format!("starting partition {partition}"),
                &error,
            ));
        }
    }

    /// The client no longer has the partition, and drops what it has fetched of it: records of one assignment are never
    /// handed out after it.
    fn take_away(&mut self, partition: Partition) {
        if self.batch.of.is_some_and(|(of, _)| of == partition) {
            self.deliver();
        }
        if self
            .started
            .get(&partition)
            .is_none_or(|started| started.flow != Flow::Flowing)
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

    /// Takes what the client has, one delivery at most. `false` if it had nothing more.
    fn fetch(&mut self) -> bool {
        let mut wait = FIRST_POLL;
        loop {
            let fetched = match self.consumer.poll(wait) {
                None => Fetched::Nothing,
                Some(polled) => sort_out(&mut self.started, polled),
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
                    self.failed(&error);
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
        self.ready.deliver(
            bytes,
            FeedEvent::Records {
                partition,
                epoch,
                records,
            },
        );
    }

    /// Every record that the client had up to the end has been taken. Its position counts the markers of transactions
    /// too, which it hands out to nobody.
    fn end_reached(&mut self, partition: Partition) {
        let position = self.position(partition);
        let Some(started) = self.started.get_mut(&partition) else {
            return;
        };
        if let Some(position) = position {
            started.next = started.next.max(position);
        }
        let event = FeedEvent::EndReached {
            partition,
            epoch: started.epoch,
            end_offset: started.next,
        };
        self.ready.deliver(0, event);
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

    fn failed(&mut self, error: &KafkaError) {
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

    /// The client says that a partition cannot be read on, but not which one: the brokers tell.
    fn find_gone(&mut self) {
        let flowing: Vec<Partition> = self
            .started
            .iter()
            .filter(|(_, started)| started.flow == Flow::Flowing)
            .map(|(partition, _)| *partition)
            .collect();
        let gone = match self.asking.bounds(&flowing) {
            Ok(bounds) => self.out_of(&bounds),
            Err(error) => {
                self.trouble(error);
                Vec::new()
            }
        };
        for (partition, bounds) in &gone {
            self.give_up(*partition, *bounds);
        }
        if gone.is_empty() {
            self.look_again(&flowing);
        }
    }

    /// The one that failed stands still, and the others lose nothing by a new start from where they are.
    fn look_again(&mut self, flowing: &[Partition]) {
        self.trouble(LogError::Unavailable(format!(
            "a partition of the topic {} could not be read on, though every place lies in the log; perhaps its log was \
             cut at an election of a leader that had fallen behind",
            self.topic
        )));
        std::thread::sleep(SECOND_LOOK);
        for partition in flowing {
            self.take_away(*partition);
            if let Some(started) = self.started.get(partition) {
                self.give(*partition, started.next);
            }
        }
    }

    fn out_of(&self, bounds: &BTreeMap<Partition, Bounds>) -> Vec<(Partition, Bounds)> {
        bounds
            .iter()
            .filter(|(partition, bounds)| {
                self.started
                    .get(partition)
                    .is_some_and(|started| started.next < bounds.begin || started.next > bounds.end)
            })
            .map(|(partition, bounds)| (*partition, *bounds))
            .collect()
    }

    fn give_up(&mut self, partition: Partition, bounds: Bounds) {
        self.take_away(partition);
        self.set_flow(partition, Flow::Gone);
        if let Some(Started { epoch, next, .. }) = self.started.get(&partition).copied() {
            let error = LogError::Refused(format!(
                "partition {partition} of the topic {} cannot be read from offset {next}: it begins at {} and ends at {}",
                self.topic, bounds.begin, bounds.end
            ));
            self.ready.deliver(
                0,
                FeedEvent::Gone {
                    partition,
                    epoch,
                    error,
                },
            );
        }
    }

    fn trouble(&self, error: LogError) {
        self.ready.deliver(0, FeedEvent::Trouble(error));
    }
}

/// What a poll gave.
enum Fetched {
    Nothing,
    /// Something of a partition that is not started, or below where it stands.
    Stale,
    Record {
        partition: Partition,
        epoch: AssignmentEpoch,
        record: Record,
    },
    End(Partition),
    Error(KafkaError),
}

/// Tells to whom belongs what a poll gave, and notes how far that partition has come.
fn sort_out(
    started: &mut BTreeMap<Partition, Started>,
    polled: KafkaResult<BorrowedMessage<'_>>,
) -> Fetched {
    let message = match polled {
        Ok(message) => message,
        Err(KafkaError::PartitionEOF(partition)) => return Fetched::End(Partition(partition)),
        Err(error) => return Fetched::Error(error),
    };
    let partition = Partition(message.partition());
    let offset = Offset(message.offset());
    match started.get_mut(&partition) {
        Some(started) if started.flow == Flow::Flowing && offset >= started.next => {
            started.next = offset.next();
            let record = Record {
                offset,
                key: message.key().map(Into::into),
                value: message.payload().map(Into::into),
            };
            Fetched::Record {
                partition,
                epoch: started.epoch,
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
