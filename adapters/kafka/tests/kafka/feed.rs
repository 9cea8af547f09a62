//! The feed: order, epochs, ends.

use std::collections::BTreeMap;

use rdkafka::mocking::MockCluster;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{
    AssignmentEpoch, EventLog, Feed, FeedEvent, LogError, Record, UnreadableReason,
};
use stitch_config::Kafka;

use crate::support::{Topic, next, numbers, offsets, until_end};

const ZERO: Partition = Partition(0);

#[tokio::test]
async fn a_feed_delivers_every_record_in_order_and_then_the_end() {
    let topic = Topic::make(2).await;
    let writer = topic.writer();
    writer.write(0, 0..5000);
    writer.write(1, 0..3000);
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(ZERO, Offset(0), AssignmentEpoch(1)).unwrap();
    let (records, end) = until_end(&mut feed, ZERO, AssignmentEpoch(1), Offset(5000)).await;
    assert_eq!(offsets(&records), (0..5000).collect::<Vec<_>>());
    assert_eq!(numbers(&records), (0..5000).collect::<Vec<_>>());
    let in_this_century = |ms| ms > 1_000_000_000_000;
    let has_time = |record: &Record| record.timestamp_ms.is_some_and(in_this_century);
    assert!(records.iter().all(has_time));
    assert_eq!(end, Offset(5000));

    feed.start(Partition(1), Offset(2990), AssignmentEpoch(2))
        .unwrap();
    let (records, end) = until_end(&mut feed, Partition(1), AssignmentEpoch(2), Offset(3000)).await;
    assert_eq!(offsets(&records), (2990..3000).collect::<Vec<_>>());
    assert_eq!(end, Offset(3000));
}

#[tokio::test]
async fn the_end_is_delivered_each_time_it_is_reached() {
    let topic = Topic::make(1).await;
    let writer = topic.writer();
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(ZERO, Offset(0), AssignmentEpoch(1)).unwrap();
    let (records, end) = until_end(&mut feed, ZERO, AssignmentEpoch(1), Offset(0)).await;
    assert!(records.is_empty());
    assert_eq!(end, Offset(0));
    for round in 0..5 {
        writer.write(0, round * 10..round * 10 + 10);
        let end_offset = Offset(round * 10 + 10);
        let (records, end) = until_end(&mut feed, ZERO, AssignmentEpoch(1), end_offset).await;
        assert_eq!(
            numbers(&records),
            (round * 10..round * 10 + 10).collect::<Vec<_>>()
        );
        assert_eq!(end, end_offset);
    }
}

#[tokio::test]
async fn after_a_restart_no_record_of_the_earlier_epoch_arrives() {
    let topic = Topic::make(2).await;
    let writer = topic.writer();
    writer.write(0, 0..20_000);
    writer.write(1, 0..20_000);
    let mut feed = topic.log.feed().await.unwrap();
    let mut epoch = 0;
    let mut chosen = 17_u64;
    let mut expected = BTreeMap::new();
    for round in 0..120 {
        for partition in [ZERO, Partition(1)] {
            if round % 3 != 0 && partition == ZERO {
                continue;
            }
            epoch += 1;
            chosen = chosen
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let from = i64::try_from((chosen >> 33) % 19_000).unwrap();
            feed.start(partition, Offset(from), AssignmentEpoch(epoch))
                .unwrap();
            expected.insert(partition, (AssignmentEpoch(epoch), from));
        }
        // Some records are read, so that the client is fetching and delivering at the next start.
        for _ in 0..round % 7 {
            if expected.values().any(|(_, next)| *next < 20_000) {
                check(next(&mut feed).await, &mut expected);
            }
        }
    }
    while expected.values().any(|(_, next)| *next < 20_000) {
        check(next(&mut feed).await, &mut expected);
    }
}

/// Records belong to the last epoch, begin at its first offset, and have no gaps.
fn check(event: FeedEvent, expected: &mut BTreeMap<Partition, (AssignmentEpoch, i64)>) {
    match event {
        FeedEvent::Records {
            partition,
            epoch,
            records,
        } => {
            let (last, next) = expected.get_mut(&partition).unwrap();
            assert_eq!(epoch, *last);
            for record in records {
                assert_eq!(record.offset.0, *next, "{partition} {epoch:?}");
                *next += 1;
            }
        }
        FeedEvent::EndReached {
            partition,
            epoch,
            end_offset,
        } => {
            assert_eq!((epoch, end_offset.0), expected[&partition]);
        }
        other @ (FeedEvent::Unreadable { .. } | FeedEvent::Trouble(_) | FeedEvent::Ended(_)) => {
            panic!("{other:?}")
        }
    }
}

#[tokio::test]
async fn the_end_behind_transactions_is_reached_though_their_markers_are_no_records() {
    let topic = Topic::make(1).await;
    let writer = topic.transactional_writer();
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(ZERO, Offset(0), AssignmentEpoch(1)).unwrap();
    let mut expected = Vec::new();
    for round in 0..6_i64 {
        writer.begin();
        writer.write(0, round * 10..round * 10 + 10);
        let aborted = round % 2 == 1;
        if aborted {
            writer.abort();
        } else {
            writer.commit();
            expected.extend(round * 10..round * 10 + 10);
        }
        let end_offset = Offset((round + 1) * 11);
        topic.end_reaches(0, end_offset).await;
        let (records, end) = until_end(&mut feed, ZERO, AssignmentEpoch(1), end_offset).await;
        assert_eq!(end, end_offset);
        let last = if aborted {
            vec![]
        } else {
            (round * 10..round * 10 + 10).collect()
        };
        assert_eq!(numbers(&records), last);
    }
    // From any offset, including those of markers and aborted records.
    for from in 0..=66 {
        let epoch = AssignmentEpoch(2 + u64::try_from(from).unwrap());
        feed.start(ZERO, Offset(from), epoch).unwrap();
        let (records, end) = until_end(&mut feed, ZERO, epoch, Offset(66)).await;
        assert_eq!(end, Offset(66));
        let read: Vec<i64> = expected
            .iter()
            .copied()
            .filter(|n| n + n / 10 >= from)
            .collect();
        assert_eq!(numbers(&records), read, "from {from}");
    }
}

#[tokio::test]
async fn an_open_transaction_ends_the_log_before_its_first_record() {
    let topic = Topic::make(1).await;
    topic.writer().write(0, 0..5);
    let writer = topic.transactional_writer();
    writer.begin();
    writer.write(0, 5..8);
    topic.writer().write(0, 8..9);
    assert_eq!(topic.end(0).await, Offset(5));
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(ZERO, Offset(0), AssignmentEpoch(1)).unwrap();
    let (records, end) = until_end(&mut feed, ZERO, AssignmentEpoch(1), Offset(5)).await;
    assert_eq!((numbers(&records), end), ((0..5).collect(), Offset(5)));
    writer.abort();
    let (records, end) = until_end(&mut feed, ZERO, AssignmentEpoch(1), Offset(10)).await;
    assert_eq!((numbers(&records), end), (vec![8], Offset(10)));
    topic.end_reaches(0, Offset(10)).await;
}

#[tokio::test]
async fn an_offset_whose_records_are_deleted_is_gone_until_another_start() {
    let topic = Topic::make(2).await;
    topic.writer().write(0, 0..100);
    topic.writer().write(1, 0..10);
    topic.truncate(0, 60).await;
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(Partition(1), Offset(0), AssignmentEpoch(1))
        .unwrap();
    feed.start(ZERO, Offset(59), AssignmentEpoch(1)).unwrap();
    let mut other = Vec::new();
    loop {
        match next(&mut feed).await {
            FeedEvent::Unreadable { epoch, error } => {
                assert_eq!((error.partition, epoch), (ZERO, AssignmentEpoch(1)));
                assert_eq!(error.offset, Offset(59));
                assert_eq!(error.reason, UnreadableReason::Deleted);
                break;
            }
            FeedEvent::Records {
                partition: Partition(1),
                records,
                ..
            } => other.extend(records),
            FeedEvent::EndReached {
                partition: Partition(1),
                ..
            } => {}
            unexpected @ (FeedEvent::Records { .. }
            | FeedEvent::EndReached { .. }
            | FeedEvent::Trouble(_)
            | FeedEvent::Ended(_)) => panic!("{unexpected:?}"),
        }
    }
    feed.start(ZERO, Offset(60), AssignmentEpoch(2)).unwrap();
    let (records, _) = until_end(&mut feed, ZERO, AssignmentEpoch(2), Offset(100)).await;
    assert_eq!(numbers(&records), (60..100).collect::<Vec<_>>());
    feed.start(ZERO, Offset(101), AssignmentEpoch(3)).unwrap();
    let beyond = next(&mut feed).await;
    let FeedEvent::Unreadable { epoch, error } = beyond else {
        panic!("{beyond:?}");
    };
    assert_eq!((error.partition, epoch), (ZERO, AssignmentEpoch(3)));
    assert_eq!(error.offset, Offset(101));
    assert_eq!(error.reason, UnreadableReason::Truncated);
}

#[tokio::test]
async fn a_partition_that_was_added_to_the_topic_is_delivered() {
    let topic = Topic::make(1).await;
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(ZERO, Offset(0), AssignmentEpoch(1)).unwrap();
    until_end(&mut feed, ZERO, AssignmentEpoch(1), Offset(0)).await;
    topic.grow(3).await;
    topic.writer().write(2, 0..10);
    let partitions = topic.log.partitions().await.unwrap();
    assert_eq!(partitions, [ZERO, Partition(1), Partition(2)]);
    feed.start(Partition(2), Offset(0), AssignmentEpoch(2))
        .unwrap();
    let (records, _) = until_end(&mut feed, Partition(2), AssignmentEpoch(2), Offset(10)).await;
    assert_eq!(numbers(&records), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_feed_recovers_by_itself_when_its_brokers_come_back() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 1, 1).unwrap();
    let client = [
        ("bootstrap.servers", cluster.bootstrap_servers()),
        ("group.id", "group".to_owned()),
        ("reconnect.backoff.max.ms", "200".to_owned()),
    ];
    let client = client.map(|(name, value)| (name.to_owned(), value)).into();
    let topic = Topic::of(Kafka {
        topic: "events".to_owned(),
        client,
    });
    let writer = topic.writer();
    let mut feed = topic.log.feed().await.unwrap();
    feed.start(ZERO, Offset(0), AssignmentEpoch(1)).unwrap();
    let mut position = 0;
    for round in 1..=3 {
        writer.write(0, position..round * 1000);
        while position < round * 1000 {
            match next(&mut feed).await {
                FeedEvent::Records { records, .. } => {
                    let last = position + i64::try_from(records.len()).unwrap();
                    assert_eq!(offsets(&records), (position..last).collect::<Vec<_>>());
                    position = last;
                }
                FeedEvent::Trouble(error) => {
                    assert!(matches!(error, LogError::Unavailable(_)), "{error}");
                }
                FeedEvent::EndReached { end_offset, .. } => {
                    assert_eq!(end_offset, Offset(position))
                }
                other @ (FeedEvent::Unreadable { .. } | FeedEvent::Ended(_)) => {
                    panic!("{other:?}")
                }
            }
        }
        cluster.broker_down(1).unwrap();
        while !matches!(next(&mut feed).await, FeedEvent::Trouble(_)) {}
        cluster.broker_up(1).unwrap();
    }
}
