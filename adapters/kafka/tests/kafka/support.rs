//! A topic and a group for each test, and producers, which the product has only for rejected records.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, EventLog, Feed, FeedEvent, Record};
use stitch_config::Kafka;
use stitch_harness::feed::create_topic_with;
use stitch_kafka::{KafkaFeed, KafkaLog};

/// How long a test waits for an expected event.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// A topic and a group of one test.
pub(crate) struct Topic {
    pub(crate) kafka: Kafka,
    pub(crate) log: KafkaLog,
}

fn servers() -> String {
    std::env::var("STITCH_TEST_KAFKA").unwrap_or_else(|_| "127.0.0.1:9092".to_owned())
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", servers())
        .create()
        .unwrap()
}

impl Topic {
    /// Creates the topic.
    pub(crate) async fn make(partitions: i32) -> Self {
        Self::make_with(partitions, &[]).await
    }

    /// Makes the topic; the client has these properties too.
    pub(crate) async fn make_with(partitions: i32, properties: &[(&str, &str)]) -> Self {
        let name = format!("stitch-test-{}", uuid::Uuid::new_v4());
        create_topic_with(&servers(), &name, partitions, &[])
            .await
            .unwrap();
        let mut client = BTreeMap::from([
            ("bootstrap.servers".to_owned(), servers()),
            ("group.id".to_owned(), format!("{name}-group")),
        ]);
        for (property, value) in properties {
            client.insert((*property).to_owned(), (*value).to_owned());
        }
        Self::of(Kafka {
            topic: name,
            client: client.into(),
        })
    }

    /// A topic that exists.
    pub(crate) fn of(kafka: Kafka) -> Self {
        let log = KafkaLog::new(&kafka).unwrap();
        Self { kafka, log }
    }

    /// Adds partitions to the topic.
    pub(crate) async fn grow(&self, partitions: usize) {
        let grown = NewPartitions::new(&self.kafka.topic, partitions);
        let created = admin()
            .create_partitions([&grown], &AdminOptions::new())
            .await
            .unwrap();
        assert!(created.iter().all(Result::is_ok), "{created:?}");
    }

    /// Deletes the records below `offset`.
    pub(crate) async fn truncate(&self, partition: i32, offset: i64) {
        let mut list = rdkafka::TopicPartitionList::new();
        let offset = rdkafka::Offset::Offset(offset);
        list.add_partition_offset(&self.kafka.topic, partition, offset)
            .unwrap();
        admin()
            .delete_records(&list, &AdminOptions::new())
            .await
            .unwrap();
    }

    /// A writer outside of transactions.
    pub(crate) fn writer(&self) -> Writer {
        self.writer_with(&[])
    }

    /// A writer outside of transactions, with these properties.
    pub(crate) fn writer_with(&self, properties: &[(&str, &str)]) -> Writer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.kafka.client["bootstrap.servers"])
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "1000000");
        for (name, value) in properties {
            config.set(*name, *value);
        }
        Writer {
            producer: config.create().unwrap(),
            topic: self.kafka.topic.clone(),
        }
    }

    /// A writer in transactions.
    pub(crate) fn transactional_writer(&self) -> Writer {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", servers())
            .set("transactional.id", uuid::Uuid::new_v4().to_string())
            .create()
            .unwrap();
        producer.init_transactions(WAIT).unwrap();
        Writer {
            producer,
            topic: self.kafka.topic.clone(),
        }
    }

    /// The end of one partition.
    pub(crate) async fn end(&self, partition: i32) -> Offset {
        let partition = Partition(partition);
        self.log.bounds(&[partition]).await.unwrap()[&partition].end
    }
}

impl Topic {
    /// Waits until the end of one partition is `end_offset`: brokers write a transaction's marker after they have
    /// acknowledged its end.
    pub(crate) async fn end_reaches(&self, partition: i32, end_offset: Offset) {
        let reached = async {
            loop {
                let end = self.end(partition).await;
                assert!(end <= end_offset, "the end is {end}");
                if end == end_offset {
                    return;
                }
            }
        };
        tokio::time::timeout(WAIT, reached)
            .await
            .expect("the end is reached");
    }
}

/// Writes records whose value is a number.
pub(crate) struct Writer {
    pub(crate) producer: BaseProducer,
    topic: String,
}

impl Writer {
    /// Writes the numbers and waits until the brokers have them.
    pub(crate) fn write(&self, partition: i32, numbers: std::ops::Range<i64>) {
        for number in numbers {
            let value = number.to_string();
            let record = BaseRecord::<[u8], str>::to(&self.topic)
                .partition(partition)
                .payload(&value);
            self.producer.send(record).unwrap();
            self.producer.poll(Duration::ZERO);
        }
        self.flush();
    }

    /// Waits until the brokers have what was written.
    pub(crate) fn flush(&self) {
        self.producer.flush(WAIT).unwrap();
    }

    /// Begins a transaction.
    pub(crate) fn begin(&self) {
        self.producer.begin_transaction().unwrap();
    }

    /// Commits a transaction: its records are readable.
    pub(crate) fn commit(&self) {
        self.producer.commit_transaction(WAIT).unwrap();
    }

    /// Aborts a transaction: its records are skipped, their offsets remain.
    pub(crate) fn abort(&self) {
        self.producer.abort_transaction(WAIT).unwrap();
    }
}

/// The next delivery; a test that waits too long fails.
pub(crate) async fn next(feed: &mut KafkaFeed) -> FeedEvent {
    tokio::time::timeout(WAIT, feed.next())
        .await
        .expect("the feed has a delivery")
}

/// The records of a partition until its end is reached at or above `end_offset`, and that end.
pub(crate) async fn until_end(
    feed: &mut KafkaFeed,
    partition: Partition,
    epoch: AssignmentEpoch,
    end_offset: Offset,
) -> (Vec<Record>, Offset) {
    let mut all = Vec::new();
    loop {
        match next(feed).await {
            FeedEvent::Records {
                partition: of,
                epoch: delivered,
                records,
            } if of == partition => {
                assert_eq!(delivered, epoch);
                assert!(!records.is_empty());
                all.extend(records);
            }
            FeedEvent::EndReached {
                partition: of,
                epoch: delivered,
                end_offset: end,
            } if of == partition => {
                assert_eq!(delivered, epoch);
                if end >= end_offset {
                    return (all, end);
                }
            }
            FeedEvent::Unreadable { error, .. } => panic!("{error}"),
            FeedEvent::Trouble(error) | FeedEvent::Ended(error) => panic!("{error}"),
            FeedEvent::Records { .. } | FeedEvent::EndReached { .. } => {}
        }
    }
}

pub(crate) fn offsets(records: &[Record]) -> Vec<i64> {
    records.iter().map(|record| record.offset.0).collect()
}

/// The numbers in the records' values.
pub(crate) fn numbers(records: &[Record]) -> Vec<i64> {
    records
        .iter()
        .map(|record| {
            let value = record.value.as_deref().unwrap();
            std::str::from_utf8(value).unwrap().parse().unwrap()
        })
        .collect()
}
