//! Group membership: partitions move only after their revocation is acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{EventLog, Group, GroupEvent, LogError, RevokeAck};
use stitch_config::Kafka;
use stitch_kafka::{KafkaAck, KafkaGroup, KafkaLog};

use crate::support::{Topic, WAIT};

/// How long a test waits for an event that must not come.
const QUIET: Duration = Duration::from_secs(1);

type Event = GroupEvent<KafkaAck>;

async fn next(group: &mut KafkaGroup) -> Event {
    tokio::time::timeout(WAIT, group.next())
        .await
        .expect("the group has an event")
}

/// The next `count` assigned partitions, sorted. No other event may come meanwhile.
async fn assigned(group: &mut KafkaGroup, count: usize) -> Vec<Partition> {
    let mut all = Vec::new();
    while all.len() < count {
        match next(group).await {
            GroupEvent::Assigned(partitions) => all.extend(partitions),
            other @ (Event::Revoked(..) | Event::Lost(_) | Event::Trouble(_) | Event::Ended(_)) => {
                panic!("{other:?}")
            }
        }
    }
    all.sort_unstable();
    all
}

/// Before the acknowledgement a new member learns at most that it has no partition yet.
async fn nothing_is_assigned(group: &mut KafkaGroup) {
    let early = async {
        loop {
            match group.next().await {
                GroupEvent::Assigned(partitions) if partitions.is_empty() => {}
                other @ (Event::Assigned(_)
                | Event::Revoked(..)
                | Event::Lost(_)
                | Event::Trouble(_)
                | Event::Ended(_)) => break other,
            }
        }
    };
    let early = tokio::time::timeout(QUIET, early).await;
    assert!(early.is_err(), "{early:?}");
}

async fn revoked(group: &mut KafkaGroup) -> (Vec<Partition>, KafkaAck) {
    loop {
        match next(group).await {
            GroupEvent::Revoked(mut partitions, ack) => {
                partitions.sort_unstable();
                return (partitions, ack);
            }
            Event::Assigned(partitions) if partitions.is_empty() => {}
            other @ (Event::Assigned(_) | Event::Lost(_) | Event::Trouble(_) | Event::Ended(_)) => {
                panic!("{other:?}")
            }
        }
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
async fn partitions_move_to_another_member_only_after_the_acknowledgement() {
    let topic = Topic::make(4).await;
    let mut first = topic.log.join().await.unwrap();
    assert_eq!(assigned(&mut first, 4).await, all(4));
    let mut second = topic.log.join().await.unwrap();
    let (moved, ack) = revoked(&mut first).await;
    assert_eq!(moved.len(), 2);
    nothing_is_assigned(&mut second).await;
    // Offsets can still be committed meanwhile.
    let offsets: BTreeMap<Partition, Offset> = moved.iter().map(|p| (*p, Offset(0))).collect();
    first.commit(&Offsets(offsets.clone())).await.unwrap();
    ack.done();
    assert_eq!(assigned(&mut second, 2).await, moved);
    assert_eq!(topic.log.committed(&all(4)).await.unwrap(), offsets);
    // The first member kept the others throughout.
    second.leave().await;
    assert_eq!(assigned(&mut first, 2).await, moved);
}

#[tokio::test]
async fn a_member_for_which_no_partition_is_left_learns_that_it_has_none() {
    let topic = Topic::make(1).await;
    let mut first = topic.log.join().await.unwrap();
    assert_eq!(assigned(&mut first, 1).await, all(1));
    let mut second = topic.log.join().await.unwrap();
    match next(&mut second).await {
        GroupEvent::Assigned(partitions) => assert_eq!(partitions, []),
        other @ (Event::Revoked(..) | Event::Lost(_) | Event::Trouble(_) | Event::Ended(_)) => {
            panic!("{other:?}")
        }
    }
}

#[tokio::test]
async fn partitions_that_are_not_acknowledged_in_time_are_lost() {
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
        other @ (Event::Assigned(_) | Event::Revoked(..) | Event::Trouble(_) | Event::Ended(_)) => {
            panic!("{other:?}")
        }
    }
    assert_eq!(assigned(&mut second, 1).await, moved);
    ack.done();
}

#[tokio::test]
async fn a_dropped_acknowledgement_and_a_dropped_member_release_at_once() {
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
async fn an_eager_assignor_is_supported() {
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
async fn the_consumer_protocol_of_kip_848_is_supported() {
    let topic = Topic::make_with(2, &[("group.protocol", "consumer")]).await;
    let mut first = topic.log.join().await.unwrap();
    assert_eq!(assigned(&mut first, 2).await, all(2));
    let mut second = topic.log.join().await.unwrap();
    let (moved, ack) = revoked(&mut first).await;
    nothing_is_assigned(&mut second).await;
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
async fn committed_offsets_are_read_without_joining_and_nothing_is_committed_automatically() {
    let topic = Topic::make(3).await;
    topic.writer().write(0, 0..20);
    assert_eq!(topic.log.committed(&all(3)).await.unwrap(), BTreeMap::new());
    let mut group = topic.log.join().await.unwrap();
    assigned(&mut group, 3).await;
    group.commit(&Offsets::default()).await.unwrap();
    group.commit(&Offsets(offsets(&[(0, 7)]))).await.unwrap();
    assert_eq!(
        topic.log.committed(&all(3)).await.unwrap(),
        offsets(&[(0, 7)])
    );
    group
        .commit(&Offsets(offsets(&[(0, 20), (2, 0)])))
        .await
        .unwrap();
    group.leave().await;
    assert_eq!(
        topic.log.committed(&all(3)).await.unwrap(),
        offsets(&[(0, 20), (2, 0)])
    );
}

#[tokio::test]
async fn partitions_that_were_added_to_the_topic_are_assigned() {
    let soon = [("topic.metadata.refresh.interval.ms", "500")];
    let topic = Topic::make_with(1, &soon).await;
    let mut group = topic.log.join().await.unwrap();
    assert_eq!(assigned(&mut group, 1).await, all(1));
    topic.grow(3).await;
    assert_eq!(assigned(&mut group, 2).await, [Partition(1), Partition(2)]);
}

/// The configuration refuses the property; a member that is expelled all the same has to say why, and does not join again.
#[tokio::test]
async fn a_member_whose_instance_id_another_one_took_ends_and_says_so() {
    for protocol in ["classic", "consumer"] {
        let instance = [
            ("group.instance.id", "the-one"),
            ("group.protocol", protocol),
        ];
        let topic = Topic::make_with(2, &instance).await;
        let mut first = topic.log.join().await.unwrap();
        assert_eq!(assigned(&mut first, 2).await, all(2));
        let mut second = topic.log.join().await.unwrap();
        // With the classic protocol the newcomer takes the other's place; with KIP-848 the newcomer is refused.
        let expelled = match protocol {
            "classic" => &mut first,
            _ => &mut second,
        };
        let error = loop {
            match next(expelled).await {
                GroupEvent::Ended(error) => break error,
                Event::Assigned(_) | Event::Revoked(..) | Event::Lost(_) | Event::Trouble(_) => {}
            }
        };
        // The id is free again once the member that has it leaves; one that was taken is not.
        let lasts = matches!(error, LogError::Refused(_));
        assert_eq!(lasts, protocol == "classic", "{protocol}: {error:?}");
        let says = error.to_string().to_lowercase();
        assert!(says.contains("instance"), "{protocol}: {error}");
    }
}

#[tokio::test]
async fn a_member_without_contact_for_a_session_loses_its_partitions() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 2, 1).unwrap();
    let client = [
        ("bootstrap.servers", cluster.bootstrap_servers()),
        ("group.id", "group".to_owned()),
        // Longer than the mock brokers wait for more members.
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
            other @ (Event::Assigned(_) | Event::Revoked(..) | Event::Ended(_)) => {
                panic!("{other:?}")
            }
        }
    };
    assert_eq!(lost, all(2));
    cluster.broker_up(1).unwrap();
    let reassigned = loop {
        match next(&mut group).await {
            GroupEvent::Assigned(mut partitions) => {
                partitions.sort_unstable();
                break partitions;
            }
            GroupEvent::Trouble(_) => {}
            other @ (Event::Lost(_) | Event::Revoked(..) | Event::Ended(_)) => panic!("{other:?}"),
        }
    };
    assert_eq!(reassigned, all(2));
}
