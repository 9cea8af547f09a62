//! Metadata requests, the dead-letter topic, and the speed of a feed.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage, Timestamp};
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::{ClientConfig, TopicPartitionList};
use stitch_common::clock::{Clock, SystemClock};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, DeadLetters, EventLog, Feed, FeedEvent, Fingerprint, LogError, Record,
};
use stitch_common::user_error::UserError;
use stitch_config::Kafka;
use stitch_kafka::{KafkaLog, TopicCreation};

use crate::support::{Topic, WAIT, next, until_end};

const ZERO: Partition = Partition(0);

fn bounds(of: &[(i32, i64, i64)]) -> BTreeMap<Partition, Bounds> {
    of.iter()
        .map(|(partition, begin, end)| {
            (
                Partition(*partition),
                Bounds {
                    begin: Offset(*begin),
                    end: Offset(*end),
                },
            )
        })
        .collect()
}

#[tokio::test]
async fn bounds_are_what_the_brokers_say_at_that_moment() {
    let topic = Topic::make(3).await;
    let partitions = topic.log.partitions().await.unwrap();
    assert_eq!(partitions, [ZERO, Partition(1), Partition(2)]);
    let asked = topic.log.bounds(&partitions).await.unwrap();
    assert_eq!(asked, bounds(&[(0, 0, 0), (1, 0, 0), (2, 0, 0)]));
    let writer = topic.writer();
    for round in 1..=50 {
        writer.write(1, round - 1..round);
        assert_eq!(topic.end(1).await, Offset(round));
    }
    writer.write(2, 0..10);
    topic.truncate(2, 4).await;
    let asked = topic.log.bounds(&partitions).await.unwrap();
    assert_eq!(asked, bounds(&[(0, 0, 0), (1, 0, 50), (2, 4, 10)]));
    assert_eq!(topic.log.bounds(&[]).await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn the_first_records_of_some_partitions_are_those_of_the_topics_identity() {
    let topic = Topic::make(3).await;
    let writer = topic.writer();
    writer.write(0, 0..3);
    writer.write(2, 0..3);
    let identity = topic.log.identity().await.unwrap();
    let asked = [Partition(1), Partition(2)];
    let first_records = topic.log.first_records(&asked).await.unwrap();
    let of_2 = identity.fingerprints[&Partition(2)].clone();
    assert_eq!(first_records, BTreeMap::from([(Partition(2), of_2)]));
    assert_eq!(topic.log.first_records(&[]).await.unwrap(), BTreeMap::new());
}

/// Records of a batch have one timestamp here, and differ in their values.
#[tokio::test]
async fn the_first_record_from_an_offset_on_is_the_one_that_a_feed_delivers() {
    let topic = Topic::make(2).await;
    let writer = topic.transactional_writer();
    writer.begin();
    writer.write(0, 0..10);
    writer.commit();
    writer.begin();
    writer.write(0, 10..20);
    writer.abort();
    writer.begin();
    writer.write(0, 20..30);
    writer.commit();
    topic.end_reaches(0, Offset(33)).await;
    topic.truncate(0, 4).await;
    let mut feed = topic.log.feed().await.unwrap();
    let epoch = AssignmentEpoch(1);
    feed.start(ZERO, Offset(4), epoch).unwrap();
    let (records, _) = until_end(&mut feed, ZERO, epoch, Offset(33)).await;
    for from in [0, 4, 7, 9, 10, 15, 22, 30, 31, 32, 33, 40] {
        let asked = Offsets(BTreeMap::from([
            (ZERO, Offset(from)),
            (Partition(1), Offset(0)),
        ]));
        let found = topic.log.records_from(&asked).await.unwrap();
        let delivered = records.iter().find(|record| record.offset >= Offset(from));
        let delivered = delivered.map(|record| (ZERO, Fingerprint::of(record)));
        assert_eq!(found, delivered.into_iter().collect(), "from {from}");
    }
}

#[tokio::test]
async fn every_partition_of_many_is_in_the_answer_and_the_time_it_takes_is_printed() {
    let topic = Topic::make(64).await;
    let partitions = topic.log.partitions().await.unwrap();
    topic.log.bounds(&partitions).await.unwrap();
    let clock = SystemClock;
    let mut times = Vec::new();
    for _ in 0..50 {
        let before = clock.now();
        assert_eq!(topic.log.bounds(&partitions).await.unwrap().len(), 64);
        times.push(clock.now().since(before));
    }
    times.sort_unstable();
    let report = format!(
        "bounds of 64 partitions: median {:?}, longest {:?}\n",
        times[25], times[49]
    );
    std::io::stderr().write_all(report.as_bytes()).unwrap();
}

#[tokio::test]
async fn first_records_are_read_although_producers_write_large_batches() {
    let topic = Topic::make(20).await;
    let writer = topic.writer();
    let value = [b'x'; 200];
    for number in 0..200_000 {
        let record = BaseRecord::<(), [u8]>::to(&topic.kafka.topic)
            .partition(number % 20)
            .payload(&value);
        writer
            .producer
            .send(record)
            .map_err(|(error, _)| error)
            .unwrap();
    }
    writer.flush();
    let identity = topic.log.identity().await.unwrap();
    let first_records: Vec<_> = identity
        .fingerprints
        .iter()
        .map(|(p, first)| (p.0, first.offset.0))
        .collect();
    assert_eq!(
        first_records,
        (0..20).map(|partition| (partition, 0)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_topic_that_is_missing_is_refused_by_name() {
    let topic = Topic::make(1).await;
    let mut kafka = topic.kafka.clone();
    kafka.topic.push_str("-missing");
    let log = KafkaLog::new(&kafka).unwrap();
    let refused = log.partitions().await.unwrap_err();
    assert!(
        matches!(&refused, LogError::Refused(why) if why.contains(&kafka.topic)),
        "{refused}"
    );
    assert_eq!(log.describe(&kafka.topic).await.unwrap(), None);
    let refused: UserError = log.create_dead_letter_topic().await.unwrap_err().into();
    assert!(refused.message.contains(&kafka.topic), "{refused}");
    assert!(matches!(log.identity().await, Err(LogError::Refused(_))));
}

#[tokio::test]
async fn silent_brokers_are_unavailable_within_a_bound() {
    let client = [("bootstrap.servers", "127.0.0.1:1"), ("group.id", "group")];
    let client = client
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let log = KafkaLog::new(&Kafka {
        topic: "events".to_owned(),
        client,
    })
    .unwrap();
    let asked = async {
        tokio::join!(
            log.partitions(),
            log.bounds(&[ZERO]),
            log.committed(&[ZERO])
        )
    };
    let (partitions, bounds, committed) = tokio::time::timeout(WAIT, asked).await.unwrap();
    for unanswered in [partitions.err(), bounds.err(), committed.err()] {
        // Names the broker and the reason.
        let named =
            matches!(&unanswered, Some(LogError::Unavailable(why)) if why.contains("127.0.0.1:1"));
        assert!(named, "{unanswered:?}");
    }
}

#[tokio::test]
async fn an_identity_lasts_as_long_as_its_first_records() {
    let topic = Topic::make(3).await;
    topic.writer().write(0, 0..10);
    let aborted = topic.transactional_writer();
    aborted.begin();
    aborted.write(1, 0..3);
    aborted.abort();
    topic.end_reaches(1, Offset(4)).await;
    let identity = topic.log.identity().await.unwrap();
    assert_eq!(identity.topic, topic.kafka.topic);
    assert_eq!(identity.cleanup_policy, "delete");
    assert!(!identity.cluster.is_empty());
    assert_eq!(
        identity.fingerprints.keys().copied().collect::<Vec<_>>(),
        [ZERO]
    );
    assert_eq!(identity.fingerprints[&ZERO].offset, Offset(0));
    assert!(identity.fingerprints[&ZERO].timestamp_ms.is_some());

    topic.writer().write(0, 10..20);
    assert_eq!(topic.log.identity().await.unwrap(), identity);
    topic.truncate(0, 5).await;
    let later = topic.log.identity().await.unwrap();
    assert_eq!(later.fingerprints[&ZERO].offset, Offset(5));
    assert_ne!(
        later.fingerprints[&ZERO].checksum,
        identity.fingerprints[&ZERO].checksum
    );
}

#[tokio::test]
async fn the_dead_letter_topic_is_created_once_and_keeps_everything() {
    let topic = Topic::make(3).await;
    let rejected = topic.kafka.dead_letter_topic();
    assert_eq!(topic.log.describe(&rejected).await.unwrap(), None);
    assert_eq!(
        topic.log.create_dead_letter_topic().await.unwrap(),
        TopicCreation::Created
    );
    assert_eq!(
        topic.log.create_dead_letter_topic().await.unwrap(),
        TopicCreation::Existed
    );
    let described = topic.log.describe(&rejected).await.unwrap().unwrap();
    assert_eq!((described.partitions, described.replication), (1, 1));
    assert_eq!(described.cleanup_policy, "delete");
    assert_eq!(
        (described.retention_ms, described.retention_bytes),
        (Some(-1), Some(-1))
    );
    let events = topic
        .log
        .describe(&topic.kafka.topic)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(events.partitions, 3);
}

fn bytes(of: &[u8]) -> Option<Arc<[u8]>> {
    Some(of.into())
}

#[tokio::test]
async fn rejected_records_are_copied_byte_for_byte_with_reason_and_offset() {
    let topic = Topic::make(2).await;
    topic.log.create_dead_letter_topic().await.unwrap();
    let dead_letters = topic.log.dead_letters().await.unwrap();
    let large = vec![7_u8; 3 << 20];
    let all = [
        (None, None),
        (bytes(b""), bytes(b"")),
        (bytes(b"key"), None),
        (None, bytes(b"\xff\x00\xfe no text")),
        (bytes(&[0, 255]), bytes(&large)),
    ];
    let mut offset = 40;
    for (key, value) in &all {
        offset += 1;
        let record = Record {
            offset: Offset(offset),
            timestamp_ms: None,
            key: key.clone(),
            value: value.clone(),
        };
        dead_letters
            .put(Partition(1), &record, "no \"time\", é")
            .await
            .unwrap();
    }
    let copies = read(&topic.kafka, &topic.kafka.dead_letter_topic(), all.len());
    for (at, (copy, (key, value))) in copies.iter().zip(&all).enumerate() {
        assert_eq!(copy.key(), key.as_deref(), "key {at}");
        assert_eq!(copy.payload(), value.as_deref(), "value {at}");
        // Otherwise brokers would refuse copies from a machine whose clock is far ahead.
        assert!(matches!(copy.timestamp(), Timestamp::LogAppendTime(_)));
        let headers: Vec<(String, Vec<u8>)> = copy
            .headers()
            .unwrap()
            .iter()
            .map(|header| (header.key.to_owned(), header.value.unwrap().to_vec()))
            .collect();
        let expected = [
            ("stitch-reason", "no \"time\", é".to_owned()),
            ("stitch-partition", "1".to_owned()),
            ("stitch-offset", (41 + at).to_string()),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.into_bytes()));
        assert_eq!(headers, expected, "headers {at}");
    }
}

#[tokio::test]
async fn a_rejected_record_without_a_dead_letter_topic_is_an_error() {
    let topic = Topic::make_with(1, &[("message.timeout.ms", "3000")]).await;
    let dead_letters = topic.log.dead_letters().await.unwrap();
    let record = Record {
        offset: Offset(0),
        timestamp_ms: None,
        key: None,
        value: None,
    };
    assert!(dead_letters.put(ZERO, &record, "null value").await.is_err());
}

/// The first records of a topic, read by an independent consumer.
fn read(kafka: &Kafka, topic: &str, count: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.client["bootstrap.servers"])
        .set("group.id", "none")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::Beginning)
        .unwrap();
    consumer.assign(&list).unwrap();
    let mut all = Vec::new();
    while all.len() < count {
        all.push(consumer.poll(WAIT).unwrap().unwrap().detach());
    }
    all
}

#[tokio::test]
async fn a_feed_keeps_up_with_many_small_records_and_buffers_few_of_them() {
    const EACH: i64 = 150_000;
    let topic = Topic::make(2).await;
    let writer = topic.writer();
    let value = [b'x'; 100];
    for number in 0..2 * EACH {
        let partition = i32::try_from(number % 2).unwrap();
        let record = BaseRecord::<[u8], [u8]>::to(&topic.kafka.topic);
        writer
            .producer
            .send(record.partition(partition).key(b"key").payload(&value))
            .unwrap();
        if number % 1000 == 0 {
            writer.producer.poll(Duration::ZERO);
        }
    }
    writer.producer.flush(WAIT).unwrap();

    let clock = SystemClock;
    let mut feed = topic.log.feed().await.unwrap();
    let before = clock.now();
    let mut positions = BTreeMap::new();
    for partition in [ZERO, Partition(1)] {
        feed.start(partition, Offset(0), AssignmentEpoch(1))
            .unwrap();
        positions.insert(partition, 0);
    }
    let mut deliveries = 0_u32;
    while positions.values().any(|position| *position < EACH) {
        if let FeedEvent::Records {
            partition, records, ..
        } = next(&mut feed).await
        {
            let position = positions.get_mut(&partition).unwrap();
            assert_eq!(records[0].offset.0, *position);
            assert!(records.len() <= 1000);
            *position += i64::try_from(records.len()).unwrap();
            deliveries += 1;
        }
    }
    let took = clock.now().since(before);
    let report = format!(
        "{} records in {took:?}, {deliveries} deliveries\n",
        2 * EACH
    );
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    // A tenth of the rate that even this build reaches on a busy machine.
    assert!(took < Duration::from_secs(15), "{report}");
    tokio::time::timeout(WAIT, feed.close())
        .await
        .expect("the feed's thread ends");
}
