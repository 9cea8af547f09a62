//! Membership: partitions move only when they were given back.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use stitch_common::config::Kafka;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{EventLog, Group, GroupEvent, RevokeAck};
use stitch_kafka::{KafkaAck, KafkaGroup, KafkaLog};

use crate::support::{Topic, WAIT};

/// How long nothing may happen that must not.
const QUIET: Duration = Duration::from_secs(1);

type Event = GroupEvent<KafkaAck>;

async fn next(group: &mut KafkaGroup) -> Event {
    tokio::time::timeout(WAIT, group.next())
        .await
        .expect("the group says something")
}

/// What is assigned until it is `count` partitions, sorted. Nothing else may be said meanwhile.
async fn assigned(group: &mut KafkaGroup, count: usize) -> Vec<Partition> {
    let mut all = Vec::new();
    while all.len() < count {
        match next(group).await {
            GroupEvent::Assigned(partitions) => all.extend(partitions),
            other @ (Event::Revoked(..) | Event::Lost(_) | Event::Trouble(_)) => {
                panic!("{other:?}")
            }
        }
    }
    all.sort_unstable();
    all
}

async fn revoked(group: &mut KafkaGroup) -> (Vec<Partition>, KafkaAck) {
    match next(group).await {
        GroupEvent::Revoked(mut partitions, ack) => {
            partitions.sort_unstable();
            (partitions, ack)
        }
        other @ (Event::Assigned(_) | Event::Lost(_) | Event::Trouble(_)) => panic!("{other:?}"),
    }
}

fn all(count: i32) -> Vec<Partition> {
    (0..count).map(Partition).collect()
}

fn minus(all: &[Partition], some: &[Partition]) -> Vec<Partition> {
    all.iter()
        .copied()
        .filter(|partition| !some.contains(partition))
        .collect()
}

fn offsets(of: &[(i32, i64)]) -> BTreeMap<Partition, Offset> {
    of.iter()
        .map(|(partition, offset)| (Partition(*partition), Offset(*offset)))
        .collect()
}

#[tokio::test]
async fn partitions_move_to_another_member_only_after_they_were_given_back() {
    let topic = Topic::make(4).await;
    let mut first = topic.log.join().await.unwrap();
    assert_eq!(assigned(&mut first, 4).await, all(4));
    let mut second = topic.log.join().await.unwrap();
    let (moved, ack) = revoked(&mut first).await;
    assert_eq!(moved.len(), 2);
    let early = tokio::time::timeout(QUIET, second.next()).await;
    assert!(early.is_err(), "{early:?} before the acknowledgement");
    // What is answered can still be committed meanwhile.
    let answered: BTreeMap<Partition, Offset> = moved.iter().map(|p| (*p, Offset(0))).collect();
    first.commit(&Offsets(answered.clone())).await.unwrap();
    ack.done();
    assert_eq!(assigned(&mut second, 2).await, moved);
    assert_eq!(topic.log.committed().await.unwrap(), answered);
    // The first one has the others still, and was never told otherwise.
    second.leave().await;
    assert_eq!(assigned(&mut first, 2).await, moved);
}

#[tokio::test]
async fn partitions_that_are_not_given_back_in_time_are_lost() {
    let bounds = [
        ("session.timeout.ms", "4000"),
        ("heartbeat.interval.ms", "500"),
    ];
    let topic = Topic::make_with(2, &bounds).await;
    let mut first = topic.log.join().await.unwrap();
    assigned(&mut first, 2).await;
    let mut second = topic.log.join().await.unwrap();
    let (moved, ack) = revoked(&mut first).await;
    match next(&mut first).await {
        GroupEvent::Lost(lost) => assert_eq!(lost, moved),
        other @ (Event::Assigned(_) | Event::Revoked(..) | Event::Trouble(_)) => {
            panic!("{other:?}")
        }
    }
    assert_eq!(assigned(&mut second, 1).await, moved);
    ack.done();
}

#[tokio::test]
async fn a_dropped_acknowledgement_and_a_dropped_member_give_back_at_once() {
    // The session would last longer than the test waits.
    let topic = Topic::make_with(3, &[("session.timeout.ms", "60000")]).await;
    let mut first = topic.log.join().await.unwrap();
    assigned(&mut first, 3).await;
    let mut second = topic.log.join().await.unwrap();
    let (moved, ack) = revoked(&mut first).await;
    drop(ack);
    assert_eq!(assigned(&mut second, moved.len()).await, moved);
    drop(first);
    let rest = minus(&all(3), &moved);
    assert_eq!(assigned(&mut second, rest.len()).await, rest);
}

#[tokio::test]
async fn an_assignor_that_revokes_everything_is_served_too() {
    let topic = Topic::make_with(2, &[("partition.assignment.strategy", "range")]).await;
    let mut first = topic.log.join().await.unwrap();
    assert_eq!(assigned(&mut first, 2).await, all(2));
    let mut second = topic.log.join().await.unwrap();
    let (moved, ack) = revoked(&mut first).await;
    assert_eq!(moved, all(2));
    ack.done();
    let kept = assigned(&mut first, 1).await;
    assert_eq!(assigned(&mut second, 1).await, minus(&all(2), &kept));
}

#[tokio::test]
async fn a_group_whose_brokers_assign_is_served_too() {
    let topic = Topic::make_with(2, &[("group.protocol", "consumer")]).await;
    let mut first = topic.log.join().await.unwrap();
    assert_eq!(assigned(&mut first, 2).await, all(2));
    let mut second = topic.log.join().await.unwrap();
    let (moved, ack) = revoked(&mut first).await;
    let early = tokio::time::timeout(QUIET, second.next()).await;
    assert!(early.is_err(), "{early:?} before the acknowledgement");
    ack.done();
    assert_eq!(assigned(&mut second, 1).await, moved);
    second
        .commit(&Offsets(offsets(&[(moved[0].0, 0)])))
        .await
        .unwrap();
    second.leave().await;
    assert_eq!(assigned(&mut first, 1).await, moved);
}

#[tokio::test]
async fn what_is_committed_is_read_without_joining_and_nothing_is_committed_unasked() {
    let topic = Topic::make(3).await;
    topic.writer().write(0, 0..20);
    assert_eq!(topic.log.committed().await.unwrap(), BTreeMap::new());
    let mut group = topic.log.join().await.unwrap();
    assigned(&mut group, 3).await;
    group.commit(&Offsets::default()).await.unwrap();
    group.commit(&Offsets(offsets(&[(0, 7)]))).await.unwrap();
    assert_eq!(topic.log.committed().await.unwrap(), offsets(&[(0, 7)]));
    group
        .commit(&Offsets(offsets(&[(0, 20), (2, 0)])))
        .await
        .unwrap();
    group.leave().await;
    assert_eq!(
        topic.log.committed().await.unwrap(),
        offsets(&[(0, 20), (2, 0)])
    );
}

#[tokio::test]
async fn partitions_that_were_added_to_the_topic_are_dealt_out() {
    let soon = [("topic.metadata.refresh.interval.ms", "500")];
    let topic = Topic::make_with(1, &soon).await;
    let mut group = topic.log.join().await.unwrap();
    assert_eq!(assigned(&mut group, 1).await, all(1));
    topic.grow(3).await;
    assert_eq!(assigned(&mut group, 2).await, [Partition(1), Partition(2)]);
}

#[tokio::test]
async fn a_member_that_hears_nothing_for_a_session_has_lost_its_partitions() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 2, 1).unwrap();
    let client = [
        ("bootstrap.servers", cluster.bootstrap_servers()),
        ("group.id", "group".to_owned()),
        // Longer than these brokers, which are pretended ones, wait for more members.
        ("session.timeout.ms", "4000".to_owned()),
        ("heartbeat.interval.ms", "100".to_owned()),
    ];
    let client = client.map(|(name, value)| (name.to_owned(), value)).into();
    let log = KafkaLog::new(&Kafka {
        topic: "events".to_owned(),
        client,
    })
    .unwrap();
    let mut group = log.join().await.unwrap();
    assert_eq!(assigned(&mut group, 2).await, all(2));
    cluster.broker_down(1).unwrap();
    let lost = loop {
        match next(&mut group).await {
            GroupEvent::Lost(mut partitions) => {
                partitions.sort_unstable();
                break partitions;
            }
            GroupEvent::Trouble(_) => {}
            other @ (Event::Assigned(_) | Event::Revoked(..)) => panic!("{other:?}"),
        }
    };
    assert_eq!(lost, all(2));
    cluster.broker_up(1).unwrap();
    let again = loop {
        match next(&mut group).await {
            GroupEvent::Assigned(mut partitions) => {
                partitions.sort_unstable();
                break partitions;
            }
            GroupEvent::Trouble(_) => {}
            other @ (Event::Lost(_) | Event::Revoked(..)) => panic!("{other:?}"),
        }
    };
    assert_eq!(again, all(2));
}
