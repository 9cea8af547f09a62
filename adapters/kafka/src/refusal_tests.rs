//! Refusals that pass, as brokers give them that have not loaded all rights, and as no real one gives on request: answers of the
//! client's own cluster in memory.

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{DeadLetters, EventLog, Group, GroupEvent, LogError, Record};
use stitch_config::Kafka;
use tokio::time::timeout;

use crate::KafkaLog;
use crate::metadata_client::ANSWER_TIMEOUT;
use crate::patience::LASTING;

const P: Partition = Partition(0);

const NO_GROUP: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
const NO_CLUSTER: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
const MOVED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR;

/// A cluster, and the empty topic in it.
struct Scene {
    cluster: MockCluster<'static, DefaultProducerContext>,
    log: KafkaLog,
}

impl Scene {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let client = [
            ("bootstrap.servers", cluster.bootstrap_servers()),
            ("group.id", "group".to_owned()),
            ("session.timeout.ms", "6000".to_owned()),
            ("heartbeat.interval.ms", "100".to_owned()),
        ];
        let kafka = Kafka {
            topic: "events".to_owned(),
            client: client.map(|(name, value)| (name.to_owned(), value)).into(),
        };
        for topic in [&kafka.topic, &kafka.dead_letter_topic()] {
            cluster.create_topic(topic, 1, 1).unwrap();
        }
        let log = KafkaLog::new(&kafka).unwrap();
        Self { cluster, log }
    }

    fn refuse(&self, request: RDKafkaApiKey, errors: &[RDKafkaRespErr]) {
        self.cluster.request_errors(request, errors);
    }
}

/// The next event that is one of these.
async fn until<T>(mut next: impl AsyncFnMut() -> T, is_wanted: impl Fn(&T) -> bool) -> Option<T> {
    let wanted = async {
        loop {
            let event = next().await;
            if is_wanted(&event) {
                return event;
            }
        }
    };
    timeout(ANSWER_TIMEOUT + LASTING * 3, wanted).await.ok()
}

/// The coordinator moves to a broker that does not know the rights yet, and the group goes on as it was.
#[tokio::test]
async fn a_group_that_refuses_for_a_moment_is_not_left() {
    let scene = Scene::new();
    let mut group = scene.log.join().await.unwrap();
    let is_assigned = |event: &GroupEvent<_>| matches!(event, GroupEvent::Assigned(_));
    assert!(
        until(async || group.next().await, is_assigned)
            .await
            .is_some()
    );
    scene.refuse(RDKafkaApiKey::FindCoordinator, &[NO_GROUP]);
    scene.refuse(RDKafkaApiKey::Heartbeat, &[MOVED]);
    let is_refused =
        |event: &GroupEvent<_>| matches!(event, GroupEvent::Trouble(LogError::Denied(_)));
    assert!(
        until(async || group.next().await, is_refused)
            .await
            .is_some()
    );
    let is_ended = |event: &GroupEvent<_>| matches!(event, GroupEvent::Ended(_));
    assert!(until(async || group.next().await, is_ended).await.is_none());
}

#[tokio::test]
async fn a_group_that_refuses_for_long_is_left() {
    let scene = Scene::new();
    let mut group = scene.log.join().await.unwrap();
    let is_assigned = |event: &GroupEvent<_>| matches!(event, GroupEvent::Assigned(_));
    assert!(
        until(async || group.next().await, is_assigned)
            .await
            .is_some()
    );
    scene.refuse(RDKafkaApiKey::FindCoordinator, &[NO_GROUP; 1000]);
    scene.refuse(RDKafkaApiKey::Heartbeat, &[MOVED]);
    let is_ended = |event: &GroupEvent<_>| matches!(event, GroupEvent::Ended(LogError::Denied(_)));
    assert!(until(async || group.next().await, is_ended).await.is_some());
}

/// The client of an idempotent producer without the right to be one fails for good.
#[tokio::test]
async fn dead_letters_are_copied_once_the_right_is_granted() {
    let scene = Scene::new();
    scene.refuse(RDKafkaApiKey::InitProducerId, &[NO_CLUSTER]);
    let letters = scene.log.dead_letters().await.unwrap();
    let record = Record {
        offset: Offset(7),
        timestamp_ms: None,
        key: None,
        value: Some(b"bad".as_slice().into()),
    };
    let refused = letters
        .put(P, &record, "why")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("Cluster authorization failed"),
        "{refused}"
    );
    let copied = until(
        async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            letters.put(P, &record, "why").await
        },
        Result::is_ok,
    );
    assert!(copied.await.is_some());
}
