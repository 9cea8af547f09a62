//! What a feed does with a partition that cannot be read on: it names partition, offset and reason once, delivers nothing
//! behind it, and goes on with the other partitions.

use std::time::Duration;

use rdkafka::producer::BaseRecord;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{
    AssignmentEpoch, EventLog, Feed, FeedEvent, Unreadable, UnreadableReason,
};
use stitch_kafka::KafkaFeed;

use crate::segment::Segment;
use crate::support::{Topic, Writer, next, numbers, offsets, until_end};

const ZERO: Partition = Partition(0);
const ONE: Partition = Partition(1);
const FIRST: AssignmentEpoch = AssignmentEpoch(1);

/// How long nothing more may come of a partition that cannot be read.
const SILENCE: Duration = Duration::from_secs(2);

/// Writes three batches of ten records to partition 0; the second one is long.
fn three_batches(topic: &Topic) {
    // A flush ends the wait for more records, so each batch holds what was written before it.
    let writer = topic.writer_with(&[("linger.ms", "1000")]);
    writer.write(0, 0..10);
    long_batch(topic, &writer);
    writer.write(0, 20..30);
}

/// Writes a batch of ten records with long values to partition 0. Behind a wrong checksum, librdkafka reads on at a place
/// inside or near the batch, and ends the process if it meets the size of a message of an old format that is below 0; the
/// values here are no such message.
fn long_batch(topic: &Topic, writer: &Writer) {
    let value = "x".repeat(400);
    for _ in 0..10 {
        let record = BaseRecord::<[u8], str>::to(&topic.kafka.topic);
        writer
            .producer
            .send(record.partition(0).payload(&value))
            .unwrap();
    }
    writer.flush();
}

/// The offsets that are delivered of partition 0 until it cannot be read, and the error. Nothing comes after it.
async fn until_unreadable(feed: &mut KafkaFeed) -> (Vec<i64>, Unreadable) {
    let mut delivered = Vec::new();
    let error = loop {
        match next(feed).await {
            FeedEvent::Records {
                partition: ZERO,
                records,
                ..
            } => delivered.extend(offsets(&records)),
            FeedEvent::Unreadable { epoch, error } => {
                assert_eq!(epoch, FIRST);
                break error;
            }
            FeedEvent::Records { .. } | FeedEvent::EndReached { .. } => {}
            other @ (FeedEvent::Trouble(_) | FeedEvent::Ended(_)) => panic!("{other:?}"),
        }
    };
    while let Ok(event) = tokio::time::timeout(SILENCE, feed.next()).await {
        let of_another = matches!(
            event,
            FeedEvent::Records { partition: ONE, .. }
                | FeedEvent::EndReached { partition: ONE, .. }
        );
        assert!(of_another, "{event:?}");
    }
    (delivered, error)
}

/// The same from the start of partition 0, which then cannot be read from offset 10 on.
async fn unreadable_at_ten(topic: &Topic) -> Unreadable {
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(ZERO, Offset(0), FIRST).unwrap();
    let (delivered, error) = until_unreadable(&mut feed).await;
    assert_eq!(delivered, (0..10).collect::<Vec<_>>());
    assert_eq!((error.partition, error.offset), (ZERO, Offset(10)));
    error
}

#[tokio::test]
async fn a_damaged_batch_stops_its_partition_at_the_last_good_offset_and_no_other() {
    let topic = Topic::make(2).await;
    three_batches(&topic);
    let mut segment = Segment::read(&topic);
    let second = segment.batches()[1];
    segment.damage(second);
    segment.write();
    topic.writer().write(1, 0..10);
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(ZERO, Offset(0), FIRST).unwrap();
    feed.start(ONE, Offset(10), FIRST).unwrap();
    let (delivered, error) = until_unreadable(&mut feed).await;
    assert_eq!(delivered, (0..10).collect::<Vec<_>>());
    assert_eq!((error.partition, error.offset), (ZERO, Offset(10)));
    assert_eq!(error.reason, UnreadableReason::Damaged);
    assert!(error.cause.contains("CRC32C"), "{error}");
    topic.writer().write(1, 10..20);
    let (records, _) = until_end(&mut feed, ONE, FIRST, Offset(20)).await;
    assert_eq!(numbers(&records), (10..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_damaged_first_batch_is_named_when_the_log_is_identified() {
    let topic = Topic::make(2).await;
    long_batch(&topic, &topic.writer_with(&[("linger.ms", "1000")]));
    topic.writer().write(1, 0..10);
    let mut segment = Segment::read(&topic);
    segment.damage(0);
    segment.write();
    let refused = topic.log.identity().await.unwrap_err().to_string();
    let named = "partition 0 cannot be read from offset 0 on";
    assert!(
        refused.contains(named) && refused.contains("CRC32C"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_damaged_batch_is_read_once_it_is_whole_again() {
    let topic = Topic::make(1).await;
    three_batches(&topic);
    let mut segment = Segment::read(&topic);
    let second = segment.batches()[1];
    segment.damage(second);
    segment.write();
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(ZERO, Offset(0), FIRST).unwrap();
    until_unreadable(&mut feed).await;
    segment.damage(second);
    segment.write();
    let epoch = AssignmentEpoch(2);
    feed.start(ZERO, Offset(10), epoch).unwrap();
    let (records, end) = until_end(&mut feed, ZERO, epoch, Offset(30)).await;
    assert_eq!(offsets(&records), (10..30).collect::<Vec<_>>());
    assert_eq!(end, Offset(30));
}

#[tokio::test]
async fn bytes_behind_a_wrong_checksum_that_look_like_a_batch_pass_over_no_record() {
    let topic = Topic::make(1).await;
    three_batches(&topic);
    let mut segment = Segment::read(&topic);
    let (second, third) = (segment.batches()[1], segment.batches()[2]);
    let forged = segment.forge(second, 10);
    assert!((second + 100..third - 100).contains(&forged), "{forged}");
    segment.write();
    let error = unreadable_at_ten(&topic).await;
    assert_eq!(error.reason, UnreadableReason::Damaged);
}

#[tokio::test]
async fn a_codec_that_cannot_be_decoded_is_named() {
    let topic = Topic::make(1).await;
    three_batches(&topic);
    let mut segment = Segment::read(&topic);
    let second = segment.batches()[1];
    segment.set_codec(second, 5);
    segment.write();
    let error = unreadable_at_ten(&topic).await;
    assert_eq!(error.reason, UnreadableReason::Undecodable);
    assert!(error.cause.contains("codec 0x5"), "{error}");
}

#[tokio::test]
async fn a_batch_that_cannot_be_decompressed_is_damaged() {
    let topic = Topic::make(1).await;
    three_batches(&topic);
    let mut segment = Segment::read(&topic);
    let second = segment.batches()[1];
    segment.set_codec(second, 4);
    segment.write();
    let error = unreadable_at_ten(&topic).await;
    assert_eq!(error.reason, UnreadableReason::Damaged);
}

#[tokio::test]
async fn every_codec_of_kafka_is_decoded() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = Topic::make(1).await;
        topic
            .writer_with(&[("compression.type", codec)])
            .write(0, 0..1000);
        let mut feed = topic.log.feed().await.unwrap();
        feed.start(ZERO, Offset(0), FIRST).unwrap();
        let (records, _) = until_end(&mut feed, ZERO, FIRST, Offset(1000)).await;
        assert_eq!(numbers(&records), (0..1000).collect::<Vec<_>>(), "{codec}");
    }
}
