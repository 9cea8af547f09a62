//! Kafka's client with a queue of its own for each partition: records and errors arrive on the queue of their partition,
//! in the order in which the client met them. On a queue that all share, an error would not say whose it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use crate::client_config::{Role, create_consumer};
use crate::context::FeedContext;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::LogError;
use stitch_config::Kafka;

/// How many log messages and errors of the client itself are served at once.
const MESSAGES_AT_ONCE_MAX: usize = 100;

/// The client, and its queues.
pub(crate) struct PartitionQueues {
    consumer: Arc<BaseConsumer<FeedContext>>,
    topic: String,
    /// Called whenever something was fetched, by the client's own threads.
    fetched: Arc<dyn Fn() + Send + Sync>,
    queues: BTreeMap<Partition, PartitionQueue<FeedContext>>,
    nonempty: Arc<Nonempty>,
}

/// The partitions whose queues have something that was not taken yet.
#[derive(Default)]
struct Nonempty(Mutex<BTreeSet<Partition>>);

impl Nonempty {
    fn insert(&self, partition: Partition) {
        let mut partitions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.insert(partition);
    }

    fn take(&self) -> BTreeSet<Partition> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PartitionQueues {
    /// A client without partitions. It calls `fetched` whenever it has fetched something.
    pub(crate) fn new(
        kafka: &Kafka,
        role: Role,
        fetched: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, LogError> {
        let doing = "creating the client that reads records";
        let mut consumer = create_consumer(kafka, role, FeedContext::default(), doing)?;
        let fetched: Arc<dyn Fn() + Send + Sync> = Arc::new(fetched);
        let notify = Arc::clone(&fetched);
        consumer.set_nonempty_callback(move || notify());
        Ok(Self {
            consumer: Arc::new(consumer),
            topic: kafka.topic.clone(),
            fetched,
            queues: BTreeMap::new(),
            nonempty: Arc::default(),
        })
    }

    /// Fetches `partition` from `from` on. One that was added to the topic recently is fetched about a second later, when
    /// the client refreshes its metadata.
    pub(crate) fn assign(&mut self, partition: Partition, from: Offset) -> KafkaResult<()> {
        let list = self.list(partition, Some(from))?;
        // Before the assignment, so that nothing arrives on the shared queue.
        self.open_queue(partition)?;
        self.consumer.incremental_assign(&list)
    }

    fn open_queue(&mut self, partition: Partition) -> KafkaResult<()> {
        let split = self
            .consumer
            .split_partition_queue(&self.topic, partition.0);
        let mut split = split.ok_or(KafkaError::Global(RDKafkaErrorCode::UnknownPartition))?;
        // An error that was queued before may have no version, by which the client would drop it.
        while split.poll(Duration::ZERO).is_some() {}
        self.consumer.context().take_reason();
        let (nonempty, fetched) = (Arc::clone(&self.nonempty), Arc::clone(&self.fetched));
        split.set_nonempty_callback(move || {
            nonempty.insert(partition);
            fetched();
        });
        self.queues.insert(partition, split);
        // What the client fetched for the assignment before may arrive until the callback is set. It would be dropped, but a queue
        // that is not empty calls nobody when more arrives: somebody has to look once.
        self.put_back(partition);
        Ok(())
    }

    /// Stops fetching `partition`. The client drops what it has fetched of it: nothing of this assignment is returned
    /// after it.
    pub(crate) fn unassign(&mut self, partition: Partition) -> KafkaResult<()> {
        // Dropped before the next one is made: the callback belongs to the client's queue, which is the same.
        if self.queues.remove(&partition).is_none() {
            return Ok(());
        }
        let list = self.list(partition, None)?;
        self.consumer.incremental_unassign(&list)
    }

    fn list(&self, partition: Partition, from: Option<Offset>) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(1);
        match from {
            Some(from) => {
                let from = rdkafka::Offset::Offset(from.0);
                list.add_partition_offset(&self.topic, partition.0, from)?;
            }
            None => {
                list.add_partition(&self.topic, partition.0);
            }
        }
        Ok(list)
    }

    /// The partitions that have something to be taken. One that is not emptied must be put back.
    pub(crate) fn nonempty(&self) -> BTreeSet<Partition> {
        self.nonempty.take()
    }

    /// `partition` still has something.
    pub(crate) fn put_back(&self, partition: Partition) {
        self.nonempty.insert(partition);
    }

    /// Takes the next record or error of `partition`.
    pub(crate) fn poll(&self, partition: Partition) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.queues.get(&partition)?.poll(Duration::ZERO)
    }

    /// Serves the log messages of the client, and returns the errors that concern no partition.
    pub(crate) fn poll_client(&self) -> Vec<KafkaError> {
        let mut errors = Vec::new();
        for _ in 0..MESSAGES_AT_ONCE_MAX {
            match self.consumer.poll(Duration::ZERO) {
                None => break,
                // Every partition has a queue of its own before it is assigned.
                Some(Ok(_)) => {}
                Some(Err(error)) => errors.push(error),
            }
        }
        errors
    }

    /// The client's words for the last error.
    pub(crate) fn take_reason(&self) -> Option<String> {
        self.consumer.context().take_reason()
    }

    /// The client's position, which counts transaction markers, too.
    pub(crate) fn position(&self, partition: Partition) -> Option<Offset> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition(3);

    /// Else a partition that is started again may stand still for ever.
    #[test]
    fn a_queue_is_looked_at_once_after_its_callback_is_set() {
        let client = [("bootstrap.servers", "127.0.0.1:1"), ("group.id", "group")];
        let client = client.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kafka = Kafka {
            topic: "events".to_owned(),
            client: client.into(),
        };
        let role = Role::Feed { partitions: 4 };
        let mut queues = PartitionQueues::new(&kafka, role, || {}).unwrap();
        assert_eq!(queues.nonempty(), BTreeSet::new());
        queues.open_queue(P).unwrap();
        assert_eq!(queues.nonempty(), [P].into());
    }
}
